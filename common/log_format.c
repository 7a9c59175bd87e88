/*
 * log_format.c: see log_format.h. Everything that comes from elsewhere passes put_text_value() or
 * put_json_string(): a value cannot end a line, forge a key or reach a terminal as a control
 * sequence.
 */
#include "common/compat.h"
#include "common/log_format.h"

#include "common/clock.h"
#include "common/utf8.h"

#include <math.h>

/* Length of a string field, cut to LOG_VALUE_MAX and not inside a character. */
static size_t shown_len(const struct log_field *field, size_t *full_len)
{
    size_t len = field->len == LOG_FIELD_WHOLE ? strlen(field->str) : field->len;

    *full_len = len;
    if (len <= LOG_VALUE_MAX)
        return len;
    len = LOG_VALUE_MAX;
    for (int i = 0; i < 3 && ((unsigned char)field->str[len] & 0xC0) == 0x80; i++)
        len--;
    return len;
}

/* ---- text ---- */

/* True when the value can stand without quotes. */
static bool is_bare(const char *s, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t cp = 0;
        size_t n = utf8_decode(s + at, len - at, &cp);
        if (n == 0 || cp == ' ' || cp == '"' || cp == '=' || cp == '\\' || utf8_is_control(cp))
            return false;
        at += n;
    }
    return len > 0;
}

static void put_text_value(const char *s, size_t len, size_t full_len, struct buf *out)
{
    if (len == full_len && is_bare(s, len)) {
        buf_append(out, s, len);
        return;
    }
    buf_putc(out, '"');
    utf8_put_escaped(out, s, len, '"');
    if (len < full_len)
        buf_printf(out, "… (%zu bytes)", full_len);
    buf_putc(out, '"');
}

static void put_real(double value, const char *not_finite, struct buf *out)
{
    if (isfinite(value))
        buf_printf(out, "%.6g", value);
    else
        buf_puts(out, not_finite);
}

static void put_text_field(const struct log_field *field, struct buf *out)
{
    size_t full_len = 0;

    buf_printf(out, " %s=", field->key);
    switch (field->type) {
    case LOG_FIELD_STR:
        if (field->str) {
            size_t len = shown_len(field, &full_len);
            put_text_value(field->str, len, full_len, out);
        } else {
            buf_putc(out, '-');
        }
        break;
    case LOG_FIELD_INT:
        buf_put_int(out, field->num);
        break;
    case LOG_FIELD_REAL:
        put_real(field->real, "-", out);
        break;
    case LOG_FIELD_SECRET:
        buf_puts(out, "***");
        break;
    case LOG_FIELD_END:
        break;
    }
}

void log_format_text(const struct log_line *line, struct buf *out)
{
    if (line->wall_ms >= 0) {
        char stamp[CLOCK_RFC3339_SIZE];
        clock_format_rfc3339(line->wall_ms, stamp);
        buf_printf(out, "%s %s %s[%d] ", stamp, log_level_name(log_event_level(line->event)),
                   line->program, line->pid);
    } else {
        buf_printf(out, "%s ", log_level_name(log_event_level(line->event)));
    }
    buf_printf(out, "event=%s", log_event_name(line->event));
    if (line->context[0]) {
        buf_puts(out, " context=");
        put_text_value(line->context, strlen(line->context), strlen(line->context), out);
    }
    for (const struct log_field *f = line->fields; f->type != LOG_FIELD_END; f++)
        put_text_field(f, out);
    if (line->suppressed)
        buf_printf(out, " suppressed=%" PRIu64, line->suppressed);
}

/* ---- JSON ---- */

static void put_json_character(uint32_t cp, const char *s, size_t n, struct buf *out)
{
    if (n == 0)
        buf_puts(out, "\\ufffd");
    else if (cp == '"' || cp == '\\')
        buf_printf(out, "\\%c", (char)cp);
    else if (utf8_is_control(cp))
        buf_printf(out, "\\u%04x", cp);
    else
        buf_append(out, s, n);
}

/* Also escapes what JSON would allow and a terminal would not (DEL, C1, direction marks). */
static void put_json_string(const char *s, size_t len, size_t full_len, struct buf *out)
{
    buf_putc(out, '"');
    for (size_t at = 0; at < len;) {
        uint32_t cp = 0;
        size_t n = utf8_decode(s + at, len - at, &cp);
        put_json_character(cp, s + at, n, out);
        at += n ? n : 1;
    }
    if (len < full_len)
        buf_printf(out, "… (%zu bytes)", full_len);
    buf_putc(out, '"');
}

static void put_json_member(const char *key, const char *value, struct buf *out)
{
    size_t len = strlen(value);

    buf_printf(out, "%s\"%s\":", out->len && out->data[out->len - 1] == '{' ? "" : ",", key);
    put_json_string(value, len, len, out);
}

static void put_json_field(const struct log_field *field, struct buf *out)
{
    size_t full_len = 0;

    buf_printf(out, ",\"%s\":", field->key);
    switch (field->type) {
    case LOG_FIELD_STR:
        if (field->str) {
            size_t len = shown_len(field, &full_len);
            put_json_string(field->str, len, full_len, out);
        } else {
            buf_puts(out, "null");
        }
        break;
    case LOG_FIELD_INT:
        buf_put_int(out, field->num);
        break;
    case LOG_FIELD_REAL:
        put_real(field->real, "null", out);
        break;
    case LOG_FIELD_SECRET:
        buf_puts(out, "\"***\"");
        break;
    case LOG_FIELD_END:
        break;
    }
}

void log_format_json(const struct log_line *line, struct buf *out)
{
    buf_putc(out, '{');
    if (line->wall_ms >= 0) {
        char stamp[CLOCK_RFC3339_SIZE];
        clock_format_rfc3339(line->wall_ms, stamp);
        put_json_member("time", stamp, out);
    }
    put_json_member("level", log_level_name(log_event_level(line->event)), out);
    if (line->wall_ms >= 0) {
        put_json_member("program", line->program, out);
        buf_printf(out, ",\"process\":%d", line->pid);
    }
    put_json_member("event", log_event_name(line->event), out);
    if (line->context[0])
        put_json_member("context", line->context, out);
    for (const struct log_field *f = line->fields; f->type != LOG_FIELD_END; f++)
        put_json_field(f, out);
    if (line->suppressed)
        buf_printf(out, ",\"suppressed\":%" PRIu64, line->suppressed);
    buf_putc(out, '}');
}
