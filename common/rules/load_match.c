/*
 * load_match.c: the `match` part of a rule. See rules_int.h.
 */
#include "common/compat.h"
#include "common/rules/load_int.h"

#include "common/mem.h"

enum { PATTERN_MAX = 4096, MATCH_DEPTH_MAX = 8 };

/* ---- patterns ---- */

static void add_regex(struct rules *rules, struct rules_regex *regex)
{
    if (rules->nregexes == rules->regexes_cap) {
        rules->regexes_cap = rules->regexes_cap ? 2 * rules->regexes_cap : 32;
        rules->regexes = mem_realloc(rules->regexes,
                                     rules->regexes_cap * sizeof(struct rules_regex *));
    }
    rules->regexes[rules->nregexes++] = regex;
}

bool load_regex(struct loader *l, const struct yaml_node *node, struct rules_regex *ret)
{
    char problem[256];
    const char *text = load_text(l, node, PATTERN_MAX);
    if (!text)
        return false;
    if (rules_regex_compile(l->rules, text, strlen(text), l->options->want_jit, ret, problem,
                            sizeof problem)) {
        load_error(l, node, "%s", problem);
        return false;
    }
    add_regex(l->rules, ret);
    return true;
}

static void load_regexes(struct loader *l, const struct yaml_node *node, struct rules_regexes *ret)
{
    bool is_list = node->type == YAML_IS_LIST;
    size_t n = is_list ? 0 : 1;
    for (const struct yaml_node *c = is_list ? node->child : NULL; c; c = c->next)
        n++;
    if (n == 0)
        load_error(l, node, "an empty list");
    ret->at = arena_alloc(&l->rules->arena, (n + 1) * sizeof *ret->at);
    for (const struct yaml_node *c = is_list ? node->child : node; c; c = is_list ? c->next : NULL)
        ret->n += load_regex(l, c, &ret->at[ret->n]);
}

/* ---- texts ---- */

static void load_paths(struct loader *l, const struct yaml_node *node, struct rules_strings *ret)
{
    load_expanded(l, node, ret);
    for (size_t i = 0; i < ret->n; i++) {
        const char *path = ret->at[i];
        bool is_home = path[0] == '~' && (path[1] == '\0' || path[1] == '/');
        if (path[0] != '/' && !is_home && strncmp(path, "**", 2) != 0)
            load_error(l, node, "%.64s never matches: expected a path that begins with /, ~/ or **",
                       path);
        else if (strlen(path) > 1 && path[strlen(path) - 1] == '/')
            load_error(l, node, "%.64s never matches: expected no / at the end", path);
    }
}

/* A list of texts in the match, by its key. */
struct text_key {
    const char *key;
    size_t offset; /* in struct rules_match */
    bool are_paths;
    bool is_of_command;
};

#define MATCH_KEY(name, member, paths, command)                                                    \
    {                                                                                              \
        name, offsetof(struct rules_match, member), paths, command                                 \
    }

static const struct text_key TEXT_KEYS[] = {
    MATCH_KEY("command", command.names, false, true),
    MATCH_KEY("subcommand", command.subcommands, false, true),
    MATCH_KEY("flags", command.flags, false, true),
    MATCH_KEY("args", command.args, false, true),
    MATCH_KEY("path", command.paths, true, true),
    MATCH_KEY("redirect", command.redirects, true, true),
    MATCH_KEY("via", command.via, false, true),
    MATCH_KEY("fed_by", command.fed_by, false, true),
    MATCH_KEY("env", command.env, false, true),
    MATCH_KEY("writes", writes, true, false),
    MATCH_KEY("reads", reads, true, false),
    MATCH_KEY("file", files, true, false),
    MATCH_KEY("field", fields, false, false),
};

static void load_text_keys(struct loader *l, const struct yaml_node *map, struct rules_match *match)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(TEXT_KEYS); i++) {
        const struct yaml_node *node = load_get(map, TEXT_KEYS[i].key);
        if (!node)
            continue;
        struct rules_strings *list = (struct rules_strings *)(void *)((char *)match +
                                                                      TEXT_KEYS[i].offset);
        if (TEXT_KEYS[i].are_paths)
            load_paths(l, node, list);
        else
            load_expanded(l, node, list);
        match->has_command |= TEXT_KEYS[i].is_of_command;
    }
}

/* "edits.*.new_string" is /edits/ * /new_string. */
static void spell_fields(struct loader *l, struct rules_strings *fields)
{
    for (size_t i = 0; i < fields->n; i++) {
        if (fields->at[i][0] == '/' || !strchr(fields->at[i], '.'))
            continue;
        char *pointer = arena_printf(&l->rules->arena, "/%s", fields->at[i]);
        for (char *at = pointer; *at; at++) {
            if (*at == '.')
                *at = '/';
        }
        fields->at[i] = pointer;
    }
}

/* ---- nodes ---- */

static struct rules_match *load_node(struct loader *l, const struct yaml_node *map, unsigned depth);

/* all, any, not: one match, or a list of them. */
static struct rules_match *load_nested(struct loader *l, const struct yaml_node *map,
                                       const char *key, unsigned depth)
{
    const struct yaml_node *node = load_get(map, key);
    struct rules_match *first = NULL, **tail = &first;

    if (!node)
        return NULL;
    if (depth == MATCH_DEPTH_MAX) {
        load_error(l, node, "nested too deep (expected at most %d levels)", MATCH_DEPTH_MAX);
        return NULL;
    }
    bool is_list = node->type == YAML_IS_LIST;
    if (is_list && !node->child)
        load_error(l, node, "an empty list");
    for (const struct yaml_node *c = is_list ? node->child : node; c;
         c = is_list ? c->next : NULL) {
        *tail = load_node(l, c, depth + 1);
        if (!*tail)
            break;
        tail = &(*tail)->next;
    }
    return first;
}

/* Something that is asked only one way: its opposite is written with not. */
static void load_flag(struct loader *l, const struct yaml_node *map, const char *key,
                      struct rules_match *match, bool *ret)
{
    const struct yaml_node *node = load_get(map, key);
    if (!node || !load_bool(l, node, ret))
        return;
    match->has_command = true;
    if (!*ret)
        load_error(l, node, "expected true (or use not)");
}

static struct rules_match *load_node(struct loader *l, const struct yaml_node *map, unsigned depth)
{
    static const char *const keys[] = {"command",    "subcommand",  "flags",      "args",   "path",
                                       "redirect",   "via",         "fed_by",     "env",    "line",
                                       "runs_input", "runs_itself", "or_unknown", "writes", "reads",
                                       "file",       "field",       "pattern",    "all",    "any",
                                       "not",        NULL};
    struct rules_match *match = arena_alloc(&l->rules->arena, sizeof *match);
    const struct yaml_node *node = NULL;

    if (!load_keys(l, map, keys))
        return NULL;
    load_text_keys(l, map, match);
    spell_fields(l, &match->fields);
    if ((node = load_get(map, "pattern")))
        load_regexes(l, node, &match->patterns);
    else if (match->fields.n)
        load_error(l, map, "field without pattern");
    if ((node = load_get(map, "line"))) {
        load_regexes(l, node, &match->command.lines);
        match->has_command = true;
    }
    load_flag(l, map, "runs_input", match, &match->command.has_runs_input);
    load_flag(l, map, "runs_itself", match, &match->command.has_runs_itself);
    if ((node = load_get(map, "or_unknown")) &&
        load_bool(l, node, &match->command.has_or_unknown) && !match->command.names.n)
        load_error(l, node, "or_unknown without command");
    match->all = load_nested(l, map, "all", depth);
    match->any = load_nested(l, map, "any", depth);
    match->none = load_nested(l, map, "not", depth);
    return match;
}

struct rules_match *load_match(struct loader *l, const struct yaml_node *node)
{
    return load_node(l, node, 0);
}
