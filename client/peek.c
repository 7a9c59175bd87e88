/*
 * peek.c: see peek.h.
 */
#include "common/compat.h"
#include "client/peek.h"

#include "common/rfc3339.h"

#include <time.h>

/* ---- members ---- */

bool peek_find(struct json_span value, const char *path, struct json_item *ret)
{
    struct json_item item = {.value = value, .type = json_type_of(value)};
    char name[64];

    for (size_t len; *path; path += len + (path[len] == '.')) {
        len = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)len, path);
        if (item.type != JSON_OBJECT || !json_find(item.value, name, &item))
            return false;
    }
    if (item.type == JSON_NULL)
        return false;
    *ret = item;
    return true;
}

int64_t peek_int(struct json_span value, const char *path)
{
    double n = peek_number(value, path);

    if (n > (double)PEEK_INT_MAX)
        return PEEK_INT_MAX;
    return n < (double)-PEEK_INT_MAX ? -PEEK_INT_MAX : (int64_t)n;
}

double peek_number(struct json_span value, const char *path)
{
    struct json_item item;
    char text[40];

    if (!peek_find(value, path, &item) || item.type != JSON_NUMBER)
        return 0;
    snprintf(text, sizeof text, "%.*s", (int)item.value.len, item.value.at);
    return strtod(text, NULL);
}

bool peek_is_true(struct json_span value, const char *path)
{
    struct json_item item;

    return peek_find(value, path, &item) && item.type == JSON_BOOL && item.value.at[0] == 't';
}

void peek_put(struct json_span value, const char *path, struct buf *out)
{
    struct json_item item;

    if (!peek_find(value, path, &item) || (item.type == JSON_STRING && item.value.len <= 2))
        buf_puts(out, "-");
    else if (item.type == JSON_STRING)
        json_decode_string(item.value, out);
    else
        buf_append(out, item.value.at, item.value.len);
}

bool peek_is(struct json_span value, const char *path, const char *word)
{
    struct json_item item;

    return peek_find(value, path, &item) && item.type == JSON_STRING &&
           json_string_equals(item.value, word);
}

size_t peek_count(struct json_span value, const char *path)
{
    struct json_item item;

    if (!peek_find(value, path, &item) || (item.type != JSON_ARRAY && item.type != JSON_OBJECT))
        return 0;
    return json_count(item.value);
}

/* ---- numbers for people ---- */

static void put_age(struct buf *out, int64_t ms, bool is_short)
{
    static const struct {
        int64_t s;
        int64_t small; /* seconds of the smaller unit */
        const char *units[2][2];
    } steps[] = {
        {86400, 3600, {{" d ", " h"}, {"d", "h"}}},
        {3600, 60, {{" h ", " min"}, {"h", "m"}}},
        {60, 1, {{" min ", " s"}, {"m", "s"}}},
    };
    int64_t s = ms / 1000;

    for (size_t i = 0; i < CB_ARRAY_LEN(steps); i++) {
        if (s < steps[i].s)
            continue;
        buf_printf(out, "%" PRId64 "%s%" PRId64 "%s", s / steps[i].s, steps[i].units[is_short][0],
                   s % steps[i].s / steps[i].small, steps[i].units[is_short][1]);
        return;
    }
    if (ms < 1000)
        buf_printf(out, "%" PRId64 "%sms", ms, is_short ? "" : " ");
    else
        buf_printf(out, "%" PRId64 ".%" PRId64 "%ss", s, ms % 1000 / 100, is_short ? "" : " ");
}

void peek_put_age(struct buf *out, int64_t ms)
{
    put_age(out, ms, false);
}

void peek_put_short_age(struct buf *out, int64_t ms)
{
    put_age(out, ms, true);
}

void peek_put_bytes(struct buf *out, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes;
    size_t i = 0;

    for (; n >= 1024 && i + 1 < CB_ARRAY_LEN(units); i++)
        n /= 1024;
    buf_printf(out, i > 0 && n < 100 ? "%.1f %s" : "%.0f %s", n, units[i]);
}

void peek_put_rate(struct buf *out, double per_s)
{
    int digits = per_s >= 100 || per_s < 0.005 ? 0 : per_s >= 10 ? 1 : 2;

    buf_printf(out, "%.*f", digits, per_s);
}

void peek_put_local_time(struct buf *out, const char *at, size_t len)
{
    struct tm tm, today;
    char text[32];
    int64_t ms;
    time_t now = time(NULL), then;

    if (rfc3339_parse(at, len, &ms) != 0) {
        buf_append(out, at, len);
        return;
    }
    then = (time_t)(ms / 1000);
    localtime_r(&then, &tm);
    localtime_r(&now, &today);
    strftime(text, sizeof text,
             tm.tm_year != today.tm_year   ? "%Y-%m-%d %H:%M"
             : tm.tm_yday != today.tm_yday ? "%m-%d %H:%M:%S"
                                           : "%H:%M:%S",
             &tm);
    buf_puts(out, text);
}
