/*
 * settings.c: whether a text is an agent's settings, and which of its lines are ours. See settings.h.
 */
#include "common/compat.h"
#include "client/hook/settings.h"

#include "common/mem.h"

/* ---- JSON as text ---- */

static int complain(struct cb_error *err, const char *text, size_t offset, const char *fmt, ...)
    CB_PRINTF(4, 5);
static int complain(struct cb_error *err, const char *text, size_t offset, const char *fmt, ...)
{
    char problem[160];
    int line = 1, col = 1;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(problem, sizeof problem, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < offset; i++) {
        col = text[i] == '\n' ? 1 : col + (((unsigned char)text[i] & 0xc0) != 0x80);
        line += text[i] == '\n';
    }
    return cb_error_set(err, 0, "%d:%d: %s", line, col, problem);
}

int settings_check(const char *text, size_t len, struct cb_error *err)
{
    struct json_error problem;
    struct json_span root;
    struct json_item hooks, event;
    struct json_iter it;
    enum json_type type;

    if (json_check(text, len, &root, &type, &problem) != 0)
        return complain(err, text, problem.offset, "not JSON: %s", problem.text);
    if (type != JSON_OBJECT)
        return complain(err, text, (size_t)(root.at - text), "expected an object");
    if (!json_find(root, "hooks", &hooks))
        return 0;
    if (hooks.type != JSON_OBJECT)
        return complain(err, text, (size_t)(hooks.value.at - text), "\"hooks\" is not an object");
    json_iter_init(&it, hooks.value);
    while (json_iter_next(&it, &event)) {
        if (event.type != JSON_ARRAY)
            return complain(err, text, (size_t)(event.value.at - text),
                            "the hooks of an event are not a list");
    }
    return 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Appends it without white space. */
static void put_minified(struct buf *out, const char *text, size_t len)
{
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        if (!in_string && is_space(text[i]))
            continue;
        if (text[i] == '"')
            in_string = !in_string;
        buf_putc(out, text[i]);
        if (in_string && text[i] == '\\' && i + 1 < len)
            buf_putc(out, text[++i]);
    }
}

bool settings_same(const char *a, size_t a_len, const char *b, size_t b_len)
{
    struct buf x CB_CLEANUP(buf_done) = BUF_INIT, y CB_CLEANUP(buf_done) = BUF_INIT;

    put_minified(&x, a, a_len);
    put_minified(&y, b, b_len);
    return x.len == y.len && memcmp(buf_peek(&x), buf_peek(&y), x.len) == 0;
}

/* ---- whose handler it is ---- */

static bool ends_with_program(const char *text, size_t len)
{
    static const char name[] = "claudebench";
    size_t n = sizeof name - 1;

    return len >= n && memcmp(text + len - n, name, n) == 0 &&
           (len == n || text[len - n - 1] == '/');
}

/* The first word of a shell's line, quoted in any way; returns what stands behind it. */
static const char *first_word(const char *line, struct buf *out)
{
    char quote = 0;

    for (; *line && (quote || (*line != ' ' && *line != '\t')); line++) {
        if (quote && *line == quote)
            quote = 0;
        else if (!quote && (*line == '\'' || *line == '"'))
            quote = *line;
        else if (!quote && *line == '\\' && line[1])
            buf_putc(out, *++line);
        else
            buf_putc(out, *line);
    }
    return line;
}

/* "/usr/bin/claudebench hook …". */
static bool is_our_line(const char *line)
{
    struct buf word CB_CLEANUP(buf_done) = BUF_INIT;
    const char *rest = first_word(line, &word);
    const char *hook = strstr(rest, " hook");

    return ends_with_program(buf_peek(&word), word.len) && hook &&
           (hook[5] == '\0' || hook[5] == ' ');
}

static bool has_hook_word(struct json_span args)
{
    struct json_iter it;
    struct json_item item;

    json_iter_init(&it, args);
    while (json_iter_next(&it, &item)) {
        if (item.type == JSON_STRING && json_string_equals(item.value, "hook"))
            return true;
    }
    return false;
}

bool settings_is_ours(struct json_span handler)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item command, args;

    if (json_type_of(handler) != JSON_OBJECT ||
        (!json_find(handler, "command", &command) && !json_find(handler, "bash", &command)) ||
        command.type != JSON_STRING)
        return false;
    json_decode_string(command.value, &text);
    if (json_find(handler, "args", &args) && args.type == JSON_ARRAY)
        return ends_with_program(buf_peek(&text), text.len) && has_hook_word(args.value);
    return is_our_line(buf_peek(&text));
}

/* ---- walking ---- */

static void each_handler(const struct settings_place *place, const char *event,
                         struct json_span list, settings_handler_fn *fn, void *arg)
{
    struct json_iter it, inner;
    struct json_item item, hooks, handler;

    json_iter_init(&it, list);
    while (json_iter_next(&it, &item)) {
        if (place->is_flat) {
            fn(arg, event, item.value, settings_is_ours(item.value));
            continue;
        }
        if (item.type != JSON_OBJECT || !json_find(item.value, "hooks", &hooks) ||
            hooks.type != JSON_ARRAY)
            continue;
        json_iter_init(&inner, hooks.value);
        while (json_iter_next(&inner, &handler))
            fn(arg, event, handler.value, settings_is_ours(handler.value));
    }
}

void settings_each(const struct settings_place *place, struct json_span root, const char *event,
                   settings_handler_fn *fn, void *arg)
{
    struct json_iter it;
    struct json_item hooks, member;

    if (!json_find(root, "hooks", &hooks) || hooks.type != JSON_OBJECT)
        return;
    json_iter_init(&it, hooks.value);
    while (json_iter_next(&it, &member)) {
        struct buf name CB_CLEANUP(buf_done) = BUF_INIT;
        json_decode_string(member.key, &name);
        if (member.type == JSON_ARRAY && (!event || strcmp(event, buf_peek(&name)) == 0))
            each_handler(place, buf_peek(&name), member.value, fn, arg);
    }
}

/* The matcher of one group: absent, empty, * and .* are all tools. */
static bool is_narrow(struct json_span group, struct buf *out)
{
    struct json_item matcher;

    if (!json_find(group, "matcher", &matcher) || matcher.type != JSON_STRING)
        return false;
    json_decode_string(matcher.value, out);
    const char *text = buf_peek(out);
    return text[0] && strcmp(text, "*") != 0 && strcmp(text, ".*") != 0;
}

bool settings_find_narrow(const struct settings_place *place, struct json_span root,
                          const char *event, struct buf *out)
{
    struct json_iter it;
    struct json_item hooks, list, group;

    if (place->is_flat || !json_find(root, "hooks", &hooks) || hooks.type != JSON_OBJECT ||
        !json_find(hooks.value, event, &list) || list.type != JSON_ARRAY)
        return false;
    json_iter_init(&it, list.value);
    while (json_iter_next(&it, &group)) {
        bool has_ours = false;
        struct json_item handlers, handler;
        struct json_iter inner;
        if (group.type != JSON_OBJECT || !json_find(group.value, "hooks", &handlers) ||
            handlers.type != JSON_ARRAY)
            continue;
        json_iter_init(&inner, handlers.value);
        while (json_iter_next(&inner, &handler))
            has_ours |= settings_is_ours(handler.value);
        buf_reset(out);
        if (has_ours && is_narrow(group.value, out))
            return true;
    }
    return false;
}

struct wanted {
    struct buf json; /* the handler as it is to be */
    size_t nsame;
    size_t nours;
};

static void count_wanted(void *arg, const char *event, struct json_span handler, bool ours)
{
    struct wanted *w = arg;

    (void)event;
    w->nours += ours;
    w->nsame += ours && settings_same(handler.at, handler.len, w->json.data, w->json.len);
}

bool settings_has_all(const struct settings_place *place, const char *text, size_t len,
                      const char *const *argv)
{
    struct json_span root;
    struct wanted all = {.json = BUF_INIT};
    size_t nevents = 0, nsame = 0;

    if (json_check(text, len, &root, NULL, NULL) != 0)
        return false;
    for (const struct settings_event *e = place->events; e->name; e++) {
        struct wanted w = {.json = BUF_INIT};
        place->put_handler(e, argv, &w.json);
        settings_each(place, root, e->name, count_wanted, &w);
        nevents++;
        nsame += w.nsame == 1;
        buf_done(&w.json);
    }
    buf_putc(&all.json, ' ');
    settings_each(place, root, NULL, count_wanted, &all);
    buf_done(&all.json);
    return nsame == nevents && all.nours == nevents;
}
