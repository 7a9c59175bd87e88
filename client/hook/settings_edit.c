/*
 * settings_edit.c: our lines put into the text of a settings file, and taken out of it. See settings.h.
 *
 * A line is put behind the last one of its list, in the manner of that list: indented as its first item, or behind it when they
 * stand in one row. Taking it out takes what stands between it and the item before. So one undoes the other.
 */
#include "common/compat.h"
#include "client/hook/settings.h"

#include "common/mem.h"

/* ---- taking out ---- */

/* An item of a list or an object, its key included. */
struct place_of {
    const char *start;
    const char *end;
    const char *previous_end; /* of the item before; NULL: it is the first */
    const char *next_start;   /* NULL: it is the last */
};

static const char *item_start(const struct json_item *item)
{
    return item->key.len ? item->key.at : item->value.at;
}

/* The place of the item whose value begins at `value`. */
static struct place_of locate(struct json_span container, const char *value)
{
    struct place_of p = {0};
    const char *previous_end = NULL;
    struct json_iter it;
    struct json_item item;

    json_iter_init(&it, container);
    while (json_iter_next(&it, &item)) {
        if (p.start) {
            p.next_start = item_start(&item);
            break;
        }
        if (item.value.at == value) {
            p.start = item_start(&item);
            p.end = item.value.at + item.value.len;
            p.previous_end = previous_end;
        }
        previous_end = item.value.at + item.value.len;
    }
    return p;
}

static void cut(struct buf *text, const char *from, const char *to)
{
    size_t at = (size_t)(from - text->data), len = (size_t)(to - from);

    memmove(text->data + at, text->data + at + len, text->len - at - len);
    text->len -= len;
    text->data[text->len] = '\0';
}

static void cut_item(struct buf *text, struct json_span container, const char *value)
{
    struct place_of p = locate(container, value);

    if (p.previous_end)
        cut(text, p.previous_end, p.end);
    else if (p.next_start)
        cut(text, p.start, p.next_start);
    else /* the only one: nothing stays, white space neither */
        cut(text, container.at + 1, container.at + container.len - 1);
}

/* The containers around one of our handlers, from the outside: root, hooks, event, and for groups group, hooks. */
struct path {
    struct json_span at[6];
    size_t n;
};

static bool find_in_list(struct json_span list, struct path *path)
{
    struct json_iter it;
    struct json_item item;

    json_iter_init(&it, list);
    while (json_iter_next(&it, &item)) {
        if (settings_is_ours(item.value)) {
            path->at[path->n++] = item.value;
            return true;
        }
    }
    return false;
}

static bool find_in_groups(struct json_span list, struct path *path)
{
    struct json_iter it;
    struct json_item group, hooks;

    json_iter_init(&it, list);
    while (json_iter_next(&it, &group)) {
        if (group.type != JSON_OBJECT || !json_find(group.value, "hooks", &hooks) ||
            hooks.type != JSON_ARRAY)
            continue;
        size_t n = path->n;
        path->at[path->n++] = group.value;
        path->at[path->n++] = hooks.value;
        if (find_in_list(hooks.value, path))
            return true;
        path->n = n;
    }
    return false;
}

static bool find_ours(const struct settings_place *place, struct json_span root, struct path *path)
{
    struct json_iter it;
    struct json_item hooks, event;

    *path = (struct path){.at = {root}, .n = 1};
    if (!json_find(root, "hooks", &hooks) || hooks.type != JSON_OBJECT)
        return false;
    path->at[path->n++] = hooks.value;
    json_iter_init(&it, hooks.value);
    while (json_iter_next(&it, &event)) {
        if (event.type != JSON_ARRAY)
            continue;
        path->at[path->n++] = event.value;
        if (place->is_flat ? find_in_list(event.value, path) : find_in_groups(event.value, path))
            return true;
        path->n--;
    }
    return false;
}

/* Which of the containers goes: the outermost that holds nothing but this. A group's other members are about its handlers. */
static size_t outermost(const struct settings_place *place, const struct path *path)
{
    size_t i = path->n - 1;

    while (i > 1) {
        bool is_group = !place->is_flat && i == 4;
        if (!is_group && json_count(path->at[i - 1]) != 1)
            break;
        i--;
    }
    return i;
}

void settings_strip(const struct settings_place *place, const char *text, size_t len,
                    struct buf *out)
{
    struct buf work = BUF_INIT;
    struct json_span root;
    struct path path;

    buf_append(&work, text, len);
    while (json_check(work.data, work.len, &root, NULL, NULL) == 0 &&
           find_ours(place, root, &path)) {
        size_t i = outermost(place, &path);
        cut_item(&work, path.at[i - 1], path.at[i].at);
    }
    buf_append(out, buf_peek(&work), work.len);
    buf_done(&work);
}

/* ---- putting in ---- */

struct style {
    const char *newline; /* NULL: all in one row */
    char indent[96];     /* of the items of this container */
    char unit[16];       /* one level more */
};

/* What one level of indentation is: what stands before the first member of the root. */
static void find_unit(struct json_span root, struct style *s)
{
    const char *newline = memchr(root.at, '\n', root.len);
    size_t n = 0;

    snprintf(s->unit, sizeof s->unit, "  ");
    if (!newline)
        return;
    while (newline + 1 + n < root.at + root.len &&
           (newline[1 + n] == ' ' || newline[1 + n] == '\t'))
        n++;
    if (n > 0 && n < sizeof s->unit)
        snprintf(s->unit, sizeof s->unit, "%.*s", (int)n, newline + 1);
}

/* The white space at the start of the line that `at` is in. */
static void indent_of_line(const char *text, const char *at, char out[64])
{
    const char *start = at;
    size_t n = 0;

    while (start > text && start[-1] != '\n')
        start--;
    while ((start[n] == ' ' || start[n] == '\t') && n < 40)
        n++;
    snprintf(out, 64, "%.*s", (int)n, start);
}

static struct style style_of(const char *text, struct json_span root, struct json_span container)
{
    struct style s = {.newline = NULL};
    struct json_iter it;
    struct json_item first;
    const char *newline = memchr(text, '\n', root.at + root.len - text);
    const char *nl = newline && newline > text && newline[-1] == '\r' ? "\r\n" : "\n";

    find_unit(root, &s);
    json_iter_init(&it, container);
    if (json_iter_next(&it, &first)) {
        const char *start = item_start(&first);
        if (memchr(container.at, '\n', (size_t)(start - container.at))) {
            s.newline = nl;
            indent_of_line(text, start, s.indent);
        }
        return s;
    }
    /* An empty one follows the file: in rows, unless it is one row. */
    if (newline || container.at == root.at) {
        char outer[64];
        s.newline = nl;
        indent_of_line(text, container.at, outer);
        snprintf(s.indent, sizeof s.indent, "%s%s", outer, s.unit);
    }
    return s;
}

static void put_break(struct buf *out, const struct style *s, int level)
{
    buf_puts(out, s->newline);
    buf_puts(out, s->indent);
    for (int i = 0; i < level; i++)
        buf_puts(out, s->unit);
}

/* JSON without white space, laid out in the style; lists of plain values stay in one row. */
static void put_pretty(struct buf *out, const struct style *s, const char *json, size_t len)
{
    int level = 0;
    bool in_string = false, in_row = false;

    for (size_t i = 0; i < len; i++) {
        char c = json[i];
        if (in_string || c == '"') {
            buf_putc(out, c);
            if (c == '\\')
                buf_putc(out, json[++i]);
            else if (c == '"')
                in_string = !in_string;
            continue;
        }
        bool opens = c == '{' || c == '[', closes = c == '}' || c == ']';
        if (closes && !in_row && s->newline)
            put_break(out, s, level - 1);
        level -= closes;
        buf_putc(out, c);
        level += opens;
        if (c == '[' && json[i + 1] != '{')
            in_row = true;
        else if (closes && in_row)
            in_row = false;
        else if ((opens || c == ',') && !in_row && s->newline)
            put_break(out, s, level);
        else if (c == ':' || c == ',')
            buf_putc(out, ' ');
    }
}

/* Appends an item to a container of the text: `json` with its key, if it needs one. */
static void append_item(struct buf *text, struct json_span root, struct json_span container,
                        const struct buf *json)
{
    struct style s = style_of(text->data, root, container);
    struct json_iter it;
    struct json_item item;
    const char *end = NULL;
    struct buf made = BUF_INIT;

    json_iter_init(&it, container);
    while (json_iter_next(&it, &item))
        end = item.value.at + item.value.len;
    const char *close = container.at + container.len - 1;
    size_t at = (size_t)((end ? end : container.at + 1) - text->data);
    size_t tail = end ? at : (size_t)(close - text->data); /* an empty one is filled anew */
    if (end)
        buf_puts(&made, s.newline ? "," : ", ");
    if (s.newline)
        put_break(&made, &s, 0);
    put_pretty(&made, &s, json->data, json->len);
    if (!end && s.newline) {
        char outer[64];
        indent_of_line(text->data, container.at, outer);
        buf_puts(&made, s.newline);
        buf_puts(&made, outer);
    }
    struct buf whole = BUF_INIT;
    buf_append(&whole, text->data, at);
    buf_append(&whole, made.data, made.len);
    buf_append(&whole, text->data + tail, text->len - tail);
    buf_done(text);
    *text = whole;
    buf_done(&made);
}

/* The handler of an event, with its group and what is missing around that. */
static void put_event(const struct settings_place *place, const struct settings_event *event,
                      const char *const *argv, bool with_list, struct buf *out)
{
    if (with_list) {
        json_put_cstr(out, event->name);
        buf_puts(out, ":[");
    }
    if (!place->is_flat) {
        buf_putc(out, '{');
        if (event->matcher)
            json_put_text(out, "matcher", event->matcher);
        json_put_key(out, "hooks");
        buf_putc(out, '[');
    }
    place->put_handler(event, argv, out);
    if (!place->is_flat)
        buf_puts(out, "]}");
    if (with_list)
        buf_putc(out, ']');
}

static void add_event(const struct settings_place *place, const struct settings_event *event,
                      const char *const *argv, struct buf *text)
{
    struct buf json = BUF_INIT;
    struct json_span root;
    struct json_item hooks, list;

    if (json_check(text->data, text->len, &root, NULL, NULL) != 0)
        return;
    if (!json_find(root, "hooks", &hooks)) {
        buf_puts(&json, "\"hooks\":{");
        put_event(place, event, argv, true, &json);
        buf_putc(&json, '}');
        append_item(text, root, root, &json);
    } else if (!json_find(hooks.value, event->name, &list)) {
        put_event(place, event, argv, true, &json);
        append_item(text, root, hooks.value, &json);
    } else {
        put_event(place, event, argv, false, &json);
        append_item(text, root, list.value, &json);
    }
    buf_done(&json);
}

void settings_add(const struct settings_place *place, const char *text, size_t len,
                  const char *const *argv, struct buf *out)
{
    struct buf work = BUF_INIT;
    struct json_span root;
    struct json_item version;

    buf_append(&work, text, len);
    if (place->has_version && json_check(work.data, work.len, &root, NULL, NULL) == 0 &&
        !json_find(root, "version", &version)) {
        struct buf json = BUF_INIT;
        buf_puts(&json, "\"version\":1");
        append_item(&work, root, root, &json);
        buf_done(&json);
    }
    for (const struct settings_event *e = place->events; e->name; e++)
        add_event(place, e, argv, &work);
    buf_append(out, buf_peek(&work), work.len);
    buf_done(&work);
}
