/*
 * json_put.c: the writer of json.h. Whatever the bytes, the result is valid JSON. Owns nothing.
 */
#include "common/compat.h"
#include "common/json.h"

#include "common/json_bytes.h"

static void put_escaped(struct buf *out, char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *known = c ? strchr(from, c) : NULL;
    if (!known) {
        buf_printf(out, "\\u%04x", (unsigned char)c);
        return;
    }
    buf_putc(out, '\\');
    buf_putc(out, to[known - from]);
}

/* One character that json_skip_plain() stopped at; returns its length in the input. */
static size_t put_special(struct buf *out, const char *at, const char *end)
{
    if ((unsigned char)*at < 0x80) {
        put_escaped(out, *at);
        return 1;
    }
    size_t len = json_utf8_len(at, end);
    if (len == 0) {
        buf_puts(out, "\xef\xbf\xbd");
        return 1;
    }
    buf_append(out, at, len);
    return len;
}

void json_put_string(struct buf *out, const char *s, size_t len)
{
    const char *end = len ? s + len : s;
    buf_reserve(out, len + 2);
    buf_putc(out, '"');
    while (s < end) {
        const char *special = json_skip_plain(s, end);
        buf_append(out, s, (size_t)(special - s));
        s = special;
        if (s < end)
            s += put_special(out, s, end);
    }
    buf_putc(out, '"');
}

void json_put_cstr(struct buf *out, const char *s)
{
    json_put_string(out, s, strlen(s));
}

void json_put_comma(struct buf *out)
{
    char last = out->len ? out->data[out->len - 1] : '{';
    if (last != '{' && last != '[' && last != ':')
        buf_putc(out, ',');
}

void json_put_key(struct buf *out, const char *key)
{
    json_put_comma(out);
    json_put_cstr(out, key);
    buf_putc(out, ':');
}

void json_put_text(struct buf *out, const char *key, const char *text)
{
    json_put_key(out, key);
    json_put_cstr(out, text);
}

void json_put_int(struct buf *out, const char *key, int64_t n)
{
    json_put_key(out, key);
    buf_put_int(out, n);
}
