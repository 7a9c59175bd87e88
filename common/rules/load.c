/*
 * load.c: groups and rules from YAML. See rules_int.h and claudebench-rules(5).
 *
 * Everything that is wrong is reported with file, line and column; a rule set is used only when there was nothing.
 */
#include "common/compat.h"
#include "common/rules/load_int.h"

#include "common/nearest.h"
#include "common/utf8.h"

enum { TEXT_MAX = 4096, MESSAGE_MAX = 500, LIST_MAX = 1000, PRIORITY_MAX = 1000 };

static const char *const ACTION_WORDS[] = {"warn", "allow", "modify", "ask", "deny", NULL};
static const char *const SEVERITY_WORDS[] = {"low", "medium", "high", "critical", NULL};
static const char *const EVENT_WORDS[] = {"pre_tool", "post_tool", "user_prompt", NULL};

/* ---- complaints ---- */

void load_error(struct loader *l, const struct yaml_node *node, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    options_errors_add(l->errs, l->file, node ? node->line : 0, node ? node->col : 0,
                       l->where ? l->where : "", "%s", buf_peek(&text));
    buf_done(&text);
}

static void report_yaml(void *arg, int line, int col, const char *text)
{
    struct loader *l = arg;
    options_errors_add(l->errs, l->file, line, col, "", "%s", text);
}

static const char *escaped(struct loader *l, const char *text, size_t len)
{
    struct buf out = BUF_INIT;
    utf8_put_escaped(&out, text, len < 64 ? len : 64, '"');
    const char *shown = arena_strndup(&l->rules->arena, buf_peek(&out), out.len);
    buf_done(&out);
    return shown;
}

static const char *candidate(size_t i, const void *arg)
{
    return ((const char *const *)arg)[i];
}

static void complain_word(struct loader *l, const struct yaml_node *place, const char *what,
                          const char *word, size_t len, const char *const *known)
{
    const char *shown = escaped(l, word, len);
    const char *nearest = nearest_name(shown, candidate, known);
    struct buf all CB_CLEANUP(buf_done) = BUF_INIT;

    if (nearest) {
        load_error(l, place, "%s \"%s\" (did you mean %s?)", what, shown, nearest);
        return;
    }
    for (size_t i = 0; known[i]; i++)
        buf_printf(&all, "%s%s", i == 0 ? "" : known[i + 1] ? ", " : " or ", known[i]);
    load_error(l, place, "%s \"%s\" (expected %s)", what, shown, buf_peek(&all));
}

/* ---- parts ---- */

static bool is_listed(const char *const *words, const char *word, size_t len)
{
    for (; *words; words++) {
        if (strlen(*words) == len && memcmp(*words, word, len) == 0)
            return true;
    }
    return false;
}

bool load_keys(struct loader *l, const struct yaml_node *map, const char *const *known)
{
    bool is_good = true;
    if (map->type != YAML_IS_MAP) {
        if (map->type != YAML_IS_BAD)
            load_error(l, map, "expected a mapping");
        return false;
    }
    for (const struct yaml_node *n = map->child; n; n = n->next) {
        if (is_listed(known, n->key, n->key_len))
            continue;
        struct yaml_node place = {.line = n->key_line, .col = n->key_col};
        complain_word(l, &place, "unknown key", n->key, n->key_len, known);
        is_good = false;
    }
    return is_good;
}

const struct yaml_node *load_get(const struct yaml_node *map, const char *key)
{
    for (const struct yaml_node *n = map->child; n; n = n->next) {
        if (strlen(key) == n->key_len && memcmp(n->key, key, n->key_len) == 0)
            return n;
    }
    return NULL;
}

const char *load_text(struct loader *l, const struct yaml_node *node, size_t max)
{
    if (node->type == YAML_IS_BAD)
        return NULL;
    size_t len = node->len;
    while (node->type == YAML_IS_SCALAR && len && node->text[len - 1] == '\n')
        len--;
    if (node->type != YAML_IS_SCALAR || len == 0) {
        load_error(l, node, "expected a text");
        return NULL;
    }
    if (len > max || memchr(node->text, '\0', len)) {
        load_error(l, node, len > max ? "too long (expected at most %zu bytes)" : "NUL in a text",
                   max);
        return NULL;
    }
    return arena_strndup(&l->rules->arena, node->text, len);
}

bool load_texts(struct loader *l, const struct yaml_node *node, struct rules_strings *ret)
{
    size_t n = 0;
    bool is_good = true;
    bool is_list = node->type == YAML_IS_LIST;

    for (const struct yaml_node *c = is_list ? node->child : NULL; c; c = c->next)
        n++;
    if (is_list && (n == 0 || n > LIST_MAX)) {
        load_error(l, node, n ? "too long a list (expected at most %d)" : "an empty list",
                   LIST_MAX);
        return false;
    }
    ret->at = arena_alloc(&l->rules->arena, (n ? n : 1) * sizeof *ret->at);
    for (const struct yaml_node *c = is_list ? node->child : node; c;
         c = is_list ? c->next : NULL) {
        const char *text = load_text(l, c, TEXT_MAX);
        if (text)
            ret->at[ret->n++] = text;
        is_good &= text != NULL;
    }
    return is_good;
}

static const struct rules_list *find_list(const struct loader *l, const char *name)
{
    const struct rules_list *list = l->lists;
    while (list && strcmp(list->name, name) != 0)
        list = list->next;
    return list;
}

bool load_expanded(struct loader *l, const struct yaml_node *node, struct rules_strings *ret)
{
    struct rules_strings raw = {0};
    size_t n = 0;
    if (!load_texts(l, node, &raw))
        return false;
    for (size_t i = 0; i < raw.n; i++) {
        const struct rules_list *list = raw.at[i][0] == '@' ? find_list(l, raw.at[i] + 1) : NULL;
        if (raw.at[i][0] == '@' && !list)
            load_error(l, node, "there is no list %.64s in this file", raw.at[i] + 1);
        n += list ? list->items.n : 1;
    }
    ret->at = arena_alloc(&l->rules->arena, (n ? n : 1) * sizeof *ret->at);
    for (size_t i = 0; i < raw.n; i++) {
        const struct rules_list *list = raw.at[i][0] == '@' ? find_list(l, raw.at[i] + 1) : NULL;
        for (size_t k = 0; list && k < list->items.n; k++)
            ret->at[ret->n++] = list->items.at[k];
        if (raw.at[i][0] != '@')
            ret->at[ret->n++] = raw.at[i];
    }
    return true;
}

bool load_bool(struct loader *l, const struct yaml_node *node, bool *ret)
{
    bool is_true = node->type == YAML_IS_SCALAR && node->is_plain &&
                   strcmp(node->text, "true") == 0;
    bool is_false = node->type == YAML_IS_SCALAR && node->is_plain &&
                    strcmp(node->text, "false") == 0;
    if (!is_true && !is_false) {
        load_error(l, node, "expected true or false");
        return false;
    }
    *ret = is_true;
    return true;
}

int load_word(struct loader *l, const struct yaml_node *node, const char *const *words)
{
    const char *text = load_text(l, node, TEXT_MAX);
    for (int i = 0; text && words[i]; i++) {
        if (strcmp(words[i], text) == 0)
            return i;
    }
    if (text) {
        struct buf list = BUF_INIT;
        for (int i = 0; words[i]; i++)
            buf_printf(&list, "%s%s", i ? ", " : "", words[i]);
        load_error(l, node, "\"%s\" (expected one of %s)", escaped(l, text, strlen(text)),
                   buf_peek(&list));
        buf_done(&list);
    }
    return -1;
}

static bool load_priority(struct loader *l, const struct yaml_node *node, int *ret)
{
    const char *text = load_text(l, node, 16);
    char *end = NULL;
    long value = text ? strtol(text, &end, 10) : 0;
    if (!text)
        return false;
    if (*end || value < -PRIORITY_MAX || value > PRIORITY_MAX) {
        load_error(l, node, "expected a number from %d to %d", -PRIORITY_MAX, PRIORITY_MAX);
        return false;
    }
    *ret = (int)value;
    return true;
}

/* A name of a group or rule: it is part of an id that people type. */
static const char *load_name(struct loader *l, const struct yaml_node *map, const char *what)
{
    const struct yaml_node *node = load_get(map, "name");
    const char *text = node ? load_text(l, node, 64) : NULL;
    if (!node)
        load_error(l, map, "%s without a name", what);
    if (text && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(text)) {
        load_error(l, node, "expected a name of a-z, 0-9 and -");
        return NULL;
    }
    return text;
}

static void load_tools(struct loader *l, const struct yaml_node *node, struct rules_strings *ret)
{
    *ret = (struct rules_strings){0};
    if (!load_texts(l, node, ret))
        return;
    for (size_t i = 0; i < ret->n; i++) {
        if (!rules_is_tool_pattern(ret->at[i]))
            load_error(l, node, "unknown class of tools %s (expected @shell, @edit or @read)",
                       ret->at[i]);
    }
}

static void load_events(struct loader *l, const struct yaml_node *node, unsigned *ret)
{
    *ret = 0;
    if (node->type != YAML_IS_LIST || !node->child) {
        load_error(l, node, "expected a list of events");
        return;
    }
    for (const struct yaml_node *c = node->child; c; c = c->next) {
        int i = load_word(l, c, EVENT_WORDS);
        if (i >= 0)
            *ret |= (unsigned)rules_event_by_name(EVENT_WORDS[i]);
    }
}

/* What groups and rules have in common. */
static void load_common(struct loader *l, const struct yaml_node *map, struct rule *rule)
{
    const struct yaml_node *node = NULL;
    int i = 0;

    if ((node = load_get(map, "action")) && (i = load_word(l, node, ACTION_WORDS)) >= 0)
        rule->action = (enum rules_action)(RULES_WARN + i);
    if ((node = load_get(map, "severity")) && (i = load_word(l, node, SEVERITY_WORDS)) >= 0)
        rule->severity = (enum rules_severity)i;
    if ((node = load_get(map, "priority")))
        load_priority(l, node, &rule->priority);
    if ((node = load_get(map, "tools")))
        load_tools(l, node, &rule->tools);
    if ((node = load_get(map, "events")))
        load_events(l, node, &rule->events);
}

/* ---- rules ---- */

static void check_rule(struct loader *l, const struct yaml_node *map, const struct rule *rule)
{
    const struct yaml_node *action = load_get(map, "action");
    const struct yaml_node *place = action ? action : map;
    const struct yaml_node *replacement = load_get(map, "replacement");

    if (rule->action == RULES_NONE)
        load_error(l, map, "a rule without an action");
    if (l->is_project && (rule->action == RULES_ALLOW || rule->action == RULES_MODIFY))
        load_error(l, place, "%s is not for a project's rules: they can only deny, ask and warn",
                   rules_action_name(rule->action));
    if (rule->action == RULES_MODIFY && !replacement)
        load_error(l, place, "modify without a replacement");
    if (rule->action != RULES_MODIFY && replacement)
        load_error(l, replacement, "a replacement is for modify only");
    if (rule->action == RULES_MODIFY && rule->events != RULES_PRE_TOOL)
        load_error(l, place, "modify is for the event pre_tool only");
    if (!rule->message)
        load_error(l, map, "a rule without a message");
    if (!load_get(map, "match"))
        load_error(l, map, "a rule without match");
    else if (rule->match && !load_get(map, "match")->child && rule->tools.n == 0)
        load_error(l, load_get(map, "match"), "an empty match needs tools, else it is every call");
}

static void add_rule(struct loader *l, struct rule *rule)
{
    struct rule **tail = &l->rules->list;
    for (; *tail; tail = &(*tail)->next) {
        if (strcmp((*tail)->id, rule->id) == 0) {
            struct yaml_node place = {.line = rule->line, .col = rule->col};
            load_error(l, &place, "there is a rule of this name (%s, line %d)", (*tail)->file,
                       (*tail)->line);
            return;
        }
    }
    if (l->rules->n == RULES_MAX) {
        struct yaml_node place = {.line = rule->line, .col = rule->col};
        load_error(l, &place, "too many rules (expected at most %d)", RULES_MAX);
        return;
    }
    rule->order = l->rules->n++;
    *tail = rule;
}

static void load_rule(struct loader *l, const struct yaml_node *map, const struct rule *group,
                      const char *group_name)
{
    static const char *const keys[] = {"name",   "description", "priority", "severity",
                                       "action", "tools",       "events",   "message",
                                       "match",  "replacement", "examples", NULL};
    struct rule *rule = arena_alloc(&l->rules->arena, sizeof *rule);
    const struct yaml_node *node = NULL;
    const char *name = NULL;

    if (map->type == YAML_IS_MAP)
        name = load_name(l, map, "a rule");
    l->where = arena_printf(&l->rules->arena, "%s/%s", group_name, name ? name : "?");
    if (!load_keys(l, map, keys))
        return;
    *rule = *group;
    rule->id = l->where;
    rule->line = map->line;
    rule->col = map->col;
    load_common(l, map, rule);
    if ((node = load_get(map, "message")))
        rule->message = load_text(l, node, MESSAGE_MAX);
    if ((node = load_get(map, "match")))
        rule->match = load_match(l, node);
    check_rule(l, map, rule);
    if ((node = load_get(map, "replacement")) && rule->match)
        rule->replacement = load_replacement(l, node, rule);
    if ((node = load_get(map, "examples")))
        load_examples(l, node, rule);
    if (name)
        add_rule(l, rule);
}

static void load_group(struct loader *l, const struct yaml_node *map)
{
    static const char *const keys[] = {"name",  "description", "priority", "severity", "action",
                                       "tools", "events",      "rules",    NULL};
    struct rule group = {.file = l->file,
                         .severity = RULES_MEDIUM,
                         .events = RULES_PRE_TOOL,
                         .is_project = l->is_project};
    const char *name = NULL;

    l->where = NULL;
    if (!load_keys(l, map, keys))
        return;
    name = load_name(l, map, "a group");
    l->where = name;
    load_common(l, map, &group);
    const struct yaml_node *rules = load_get(map, "rules");
    if (!rules || rules->type != YAML_IS_LIST || !rules->child) {
        load_error(l, rules ? rules : map, "expected a list of rules");
        return;
    }
    for (const struct yaml_node *n = rules->child; n; n = n->next)
        load_rule(l, n, &group, name ? name : "?");
    l->where = NULL;
}

/* ---- a file ---- */

static void load_disabled(struct loader *l, const struct yaml_node *node)
{
    struct rules_strings ids = {0};
    if (l->is_project) {
        load_error(l, node,
                   "disable is not for a project's rules: they can only deny, ask and warn");
        return;
    }
    load_texts(l, node, &ids);
    for (size_t i = 0; i < ids.n; i++) {
        struct rules_disabled *d = arena_alloc(&l->rules->arena, sizeof *d);
        *d = (struct rules_disabled){.next = l->disabled,
                                     .id = ids.at[i],
                                     .file = l->file,
                                     .line = node->line,
                                     .col = node->col};
        l->disabled = d;
    }
}

static void load_lists(struct loader *l, const struct yaml_node *map)
{
    if (map->type != YAML_IS_MAP) {
        load_error(l, map, "expected a mapping of lists");
        return;
    }
    for (const struct yaml_node *n = map->child; n; n = n->next) {
        struct rules_list *list = arena_alloc(&l->rules->arena, sizeof *list);
        list->name = arena_strndup(&l->rules->arena, n->key, n->key_len);
        /* A list may name those in front of it. */
        load_expanded(l, n, &list->items);
        list->next = l->lists;
        l->lists = list;
    }
}

void load_file(struct loader *l, const char *text, size_t len)
{
    static const char *const keys[] = {"lists", "groups", "disable", NULL};
    struct arena arena = ARENA_INIT;
    struct yaml_node *root = NULL;
    const struct yaml_node *node = NULL;

    l->where = NULL;
    l->lists = NULL;
    yaml_load(text, len, &arena, &root, report_yaml, l);
    if (root && load_keys(l, root, keys)) {
        if ((node = load_get(root, "disable")))
            load_disabled(l, node);
        if ((node = load_get(root, "lists")))
            load_lists(l, node);
        node = load_get(root, "groups");
        if (node && node->type != YAML_IS_LIST && !yaml_is_null(node))
            load_error(l, node, "expected a list of groups");
        for (node = node && node->type == YAML_IS_LIST ? node->child : NULL; node;
             node = node->next)
            load_group(l, node);
    }
    arena_done(&arena);
}

/* ---- all files ---- */

static bool disable(struct rules *rules, const char *id)
{
    size_t len = strlen(id);
    bool is_found = false;
    for (struct rule *r = rules->list; r; r = r->next) {
        bool is_group = strncmp(r->id, id, len) == 0 && r->id[len] == '/';
        if (!r->is_project && (is_group || strcmp(r->id, id) == 0)) {
            r->is_disabled = true;
            is_found = true;
        }
    }
    return is_found;
}

static int compare_rules(const void *a, const void *b)
{
    const struct rule *x = *(const struct rule *const *)a, *y = *(const struct rule *const *)b;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

void load_finish(struct loader *l)
{
    struct rules *rules = l->rules;
    size_t i = 0;

    l->where = NULL;
    for (const struct rules_disabled *d = l->disabled; d; d = d->next) {
        struct yaml_node place = {.line = d->line, .col = d->col};
        l->file = d->file;
        if (!disable(rules, d->id))
            load_error(l, &place, "no rule or group %s to disable",
                       escaped(l, d->id, strlen(d->id)));
    }
    rules->sorted = arena_alloc(&rules->arena, (rules->n + 1) * sizeof(void *));
    for (struct rule *r = rules->list; r; r = r->next)
        rules->sorted[i++] = r;
    if (rules->n > 1)
        qsort(rules->sorted, rules->n, sizeof(void *), compare_rules);
}
