/*
 * show.c: see show.h.
 */
#include "common/compat.h"
#include "client/show.h"

#include "client/session.h"

enum { NAME_COLUMNS = 15 };

void show_put_member(struct buf *out, struct json_span object, const char *name)
{
    struct json_item item;

    if (!json_find(object, name, &item) || item.type == JSON_NULL)
        return;
    if (item.type == JSON_STRING)
        json_decode_string(item.value, out);
    else
        buf_append(out, item.value.at, item.value.len);
}

int show_json(struct json_span value)
{
    struct buf out = BUF_INIT;

    session_put_json(&out, value, term_detect(STDOUT_FILENO));
    int status = cli_write(&out);
    buf_done(&out);
    return status;
}

int show_member(struct json_span object, const char *name)
{
    struct buf text = BUF_INIT, out = BUF_INIT;

    show_put_member(&text, object, name);
    term_put(&out, buf_peek(&text), text.len);
    buf_putc(&out, '\n');
    int status = cli_write(&out);
    buf_done(&text);
    buf_done(&out);
    return status;
}

int show_members(struct json_span object)
{
    return show_members_but(object, NULL);
}

int show_members_but(struct json_span object, const char *name)
{
    struct buf out = BUF_INIT, text = BUF_INIT;
    struct json_iter it;
    struct json_item item;

    json_iter_init(&it, object);
    while (json_iter_next(&it, &item)) {
        if (name && json_string_equals(item.key, name))
            continue;
        buf_reset(&text);
        json_decode_string(item.key, &text);
        buf_putc(&text, ':');
        size_t pad = text.len < NAME_COLUMNS ? NAME_COLUMNS - text.len : 1;
        term_put(&out, buf_peek(&text), text.len);
        buf_printf(&out, "%*s", (int)pad, "");
        buf_reset(&text);
        if (item.type == JSON_STRING)
            json_decode_string(item.value, &text);
        else
            buf_append(&text, item.value.at, item.value.len);
        term_put(&out, buf_peek(&text), text.len);
        buf_putc(&out, '\n');
    }
    int status = cli_write(&out);
    buf_done(&text);
    buf_done(&out);
    return status;
}
