/*
 * load_more.c: the replacement and the examples of a rule. See rules_int.h.
 */
#include "common/compat.h"
#include "common/rules/load_int.h"

enum { WITH_MAX = 4096 };

/* ---- YAML as JSON ---- */

static bool is_json_word(const struct yaml_node *node)
{
    struct json_span value;
    enum json_type type = JSON_NULL;
    return node->is_plain && json_check(node->text, node->len, &value, &type, NULL) == 0 &&
           type != JSON_STRING && type != JSON_ARRAY && type != JSON_OBJECT;
}

/* libyaml's depth is bounded, so is this. */
static void put_json(const struct yaml_node *node, struct buf *out)
{
    switch (node->type) {
    case YAML_IS_SCALAR:
        if (is_json_word(node))
            buf_append(out, node->text, node->len);
        else
            json_put_string(out, node->text, node->len);
        break;
    case YAML_IS_MAP:
    case YAML_IS_LIST:
        buf_putc(out, node->type == YAML_IS_MAP ? '{' : '[');
        for (const struct yaml_node *c = node->child; c; c = c->next) {
            if (node->type == YAML_IS_MAP)
                json_put_key(out, c->key);
            else
                json_put_comma(out);
            put_json(c, out);
        }
        buf_putc(out, node->type == YAML_IS_MAP ? '}' : ']');
        break;
    case YAML_IS_BAD:
        buf_puts(out, "null");
        break;
    }
}

static const char *keep(struct loader *l, struct buf *json)
{
    const char *text = arena_strndup(&l->rules->arena, buf_peek(json), json->len);
    buf_done(json);
    return text;
}

/* ---- replacements ---- */

/* $1 must be a group that the pattern has. */
static void check_with(struct loader *l, const struct yaml_node *node, const char *with,
                       const struct rules_regex *regex)
{
    uint32_t groups = 0;
    pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &groups);
    for (const char *at = strchr(with, '$'); at; at = strchr(at, '$')) {
        at++;
        if (*at == '$') {
            at++;
            continue;
        }
        const char *digits = *at == '{' ? at + 1 : at;
        size_t n = strspn(digits, "0123456789");
        long group = strtol(digits, NULL, 10);
        if (n == 0 || n > 2 || group > (long)groups || (*at == '{' && digits[n] != '}')) {
            load_error(l, node, "expected $0 to $%u, or $$ for a dollar sign", groups);
            return;
        }
    }
}

static void load_substitution(struct loader *l, const struct yaml_node *node,
                              const struct rule *rule, struct rules_replacement *r)
{
    r->kind = RULES_SUBSTITUTE;
    if (rule->match->patterns.n != 1) {
        load_error(l, node, "a text as replacement needs a match with one pattern");
        return;
    }
    r->regex = rule->match->patterns.at[0];
    r->fields = rule->match->fields;
    r->with = node->len ? load_text(l, node, WITH_MAX) : "";
    if (r->with)
        check_with(l, node, r->with, &r->regex);
}

static void load_pattern_replacement(struct loader *l, const struct yaml_node *map,
                                     struct rules_replacement *r)
{
    const struct yaml_node *with = load_get(map, "with"), *field = load_get(map, "field");
    r->kind = RULES_SUBSTITUTE;
    if (field)
        load_texts(l, field, &r->fields);
    if (!with || with->type != YAML_IS_SCALAR) {
        load_error(l, map, "pattern without with");
        return;
    }
    r->with = with->len ? load_text(l, with, WITH_MAX) : "";
    if (load_regex(l, load_get(map, "pattern"), &r->regex) && r->with)
        check_with(l, with, r->with, &r->regex);
}

static void load_set(struct loader *l, const struct yaml_node *node, struct rules_replacement *r)
{
    struct buf json = BUF_INIT;
    r->kind = RULES_SET;
    if (node->type != YAML_IS_MAP || !node->child || node->child->next) {
        load_error(l, node, "expected one field and its value");
        return;
    }
    r->field = arena_strndup(&l->rules->arena, node->child->key, node->child->key_len);
    put_json(node->child, &json);
    r->value = keep(l, &json);
}

struct rules_replacement *load_replacement(struct loader *l, const struct yaml_node *node,
                                           const struct rule *rule)
{
    static const char *const keys[] = {"pattern", "with", "field", "unwrap", "set", NULL};
    struct rules_replacement *r = arena_alloc(&l->rules->arena, sizeof *r);
    const struct yaml_node *set = NULL, *unwrap = NULL;
    bool is_unwrap = false;

    if (node->type == YAML_IS_SCALAR) {
        load_substitution(l, node, rule, r);
        return r;
    }
    if (!load_keys(l, node, keys))
        return r;
    set = load_get(node, "set");
    unwrap = load_get(node, "unwrap");
    if ((set != NULL) + (unwrap != NULL) + (load_get(node, "pattern") != NULL) != 1) {
        load_error(l, node, "expected a text, or one of pattern, unwrap and set");
    } else if (set) {
        load_set(l, set, r);
    } else if (unwrap) {
        r->kind = RULES_UNWRAP;
        if (load_bool(l, unwrap, &is_unwrap) && !is_unwrap)
            load_error(l, unwrap, "expected true");
        if (!rule->match->has_command)
            load_error(l, unwrap, "unwrap needs a match with command");
    } else {
        load_pattern_replacement(l, node, r);
    }
    return r;
}

/* ---- examples ---- */

static const char *input_of(struct loader *l, const char *member, const struct yaml_node *node)
{
    struct buf json = BUF_INIT;
    buf_putc(&json, '{');
    json_put_key(&json, member);
    json_put_string(&json, node->text, node->len);
    buf_putc(&json, '}');
    return keep(l, &json);
}

/* A text: a command, or for rules of prompts a prompt; a mapping: a whole input. */
static const char *load_input(struct loader *l, const struct yaml_node *node, unsigned event)
{
    struct buf json = BUF_INIT;
    if (node->type == YAML_IS_SCALAR)
        return input_of(l, event == RULES_USER_PROMPT ? "prompt" : "command", node);
    if (node->type != YAML_IS_MAP) {
        load_error(l, node, "expected a command or an input");
        return NULL;
    }
    put_json(node, &json);
    return keep(l, &json);
}

static unsigned first_event(unsigned events)
{
    return events & RULES_PRE_TOOL    ? RULES_PRE_TOOL
           : events & RULES_POST_TOOL ? RULES_POST_TOOL
                                      : RULES_USER_PROMPT;
}

static void load_example_map(struct loader *l, const struct yaml_node *map, struct rules_example *e)
{
    static const char *const keys[] = {"tool", "input", "command", "prompt",
                                       "cwd",  "event", "becomes", NULL};
    static const char *const events[] = {"pre_tool", "post_tool", "user_prompt", NULL};
    const struct yaml_node *node = NULL;
    int i = 0;

    if (!load_keys(l, map, keys))
        return;
    if ((node = load_get(map, "event")) && (i = load_word(l, node, events)) >= 0)
        e->event = (unsigned)rules_event_by_name(events[i]);
    if ((node = load_get(map, "tool")))
        e->tool = load_text(l, node, 256);
    if ((node = load_get(map, "cwd")))
        e->cwd = load_text(l, node, 4096);
    if ((node = load_get(map, "input")) || (node = load_get(map, "command")) ||
        (node = load_get(map, "prompt")))
        e->input = load_input(l, node, e->event);
    else
        load_error(l, map, "an example without input or command");
    if ((node = load_get(map, "becomes")))
        e->becomes = load_input(l, node, e->event);
}

static void load_example_list(struct loader *l, const struct yaml_node *list, bool is_match,
                              struct rule *rule)
{
    struct rules_example **tail = &rule->examples;
    if (list->type != YAML_IS_LIST) {
        load_error(l, list, "expected a list of examples");
        return;
    }
    while (*tail)
        tail = &(*tail)->next;
    for (const struct yaml_node *node = list->child; node; node = node->next) {
        struct rules_example *e = arena_alloc(&l->rules->arena, sizeof *e);
        *e = (struct rules_example){
            .line = node->line, .is_match = is_match, .event = first_event(rule->events)};
        e->tool = e->event == RULES_USER_PROMPT ? "" : "Bash";
        e->cwd = "/home/user/project";
        if (node->type == YAML_IS_MAP)
            load_example_map(l, node, e);
        else
            e->input = load_input(l, node, e->event);
        if (!e->input)
            continue;
        *tail = e;
        tail = &e->next;
    }
}

void load_examples(struct loader *l, const struct yaml_node *node, struct rule *rule)
{
    static const char *const keys[] = {"matches", "passes", NULL};
    const struct yaml_node *list = NULL;

    if (!load_keys(l, node, keys))
        return;
    if (!l->options->want_examples)
        return;
    if ((list = load_get(node, "matches")))
        load_example_list(l, list, true, rule);
    if ((list = load_get(node, "passes")))
        load_example_list(l, list, false, rule);
}
