/*
 * rfc3339.c: see rfc3339.h. Used by fields; owns nothing and knows no time zone.
 */
#include "common/compat.h"
#include "common/rfc3339.h"

#include "common/civil.h"

#define END_MS INT64_C(253402300800000) /* 10000-01-01T00:00:00Z */

struct cursor {
    const char *at;
    const char *end;
};

static bool take_char(struct cursor *c, const char *any_of)
{
    if (c->at == c->end || !*c->at || !strchr(any_of, *c->at))
        return false;
    c->at++;
    return true;
}

/* Exactly `digits` digits, as a number of at most `max`. */
static bool take_number(struct cursor *c, int digits, int max, int *ret_number)
{
    int n = 0;
    for (int i = 0; i < digits; i++) {
        if (c->at == c->end || *c->at < '0' || *c->at > '9')
            return false;
        n = n * 10 + (*c->at++ - '0');
    }
    *ret_number = n;
    return n <= max;
}

static bool take_date(struct cursor *c, int64_t *ret_days)
{
    int year, month, day;
    if (!take_number(c, 4, 9999, &year) || !take_char(c, "-") || !take_number(c, 2, 12, &month) ||
        !take_char(c, "-") || !take_number(c, 2, 31, &day))
        return false;
    if (year < 1 || month < 1 || day < 1 || day > civil_days_in_month(year, month))
        return false;
    *ret_days = civil_to_days(year, month, day);
    return true;
}

/* Seconds of the day; 60 in the last place is for the caller to judge. */
static bool take_time(struct cursor *c, int *ret_minutes, int *ret_seconds)
{
    int hour, minute;
    if (!take_number(c, 2, 23, &hour) || !take_char(c, ":") || !take_number(c, 2, 59, &minute) ||
        !take_char(c, ":") || !take_number(c, 2, 60, ret_seconds))
        return false;
    *ret_minutes = hour * 60 + minute;
    return true;
}

static bool take_fraction(struct cursor *c, int *ret_ms)
{
    *ret_ms = 0;
    if (!take_char(c, "."))
        return true;
    const char *start = c->at;
    for (int unit = 100; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++, unit /= 10)
        *ret_ms += (*c->at - '0') * unit;
    return c->at > start;
}

/* Minutes east of UTC. */
static bool take_offset(struct cursor *c, int *ret_minutes)
{
    int hour, minute;
    *ret_minutes = 0;
    if (take_char(c, "Zz"))
        return true;
    bool is_west = c->at < c->end && *c->at == '-';
    if (!take_char(c, "+-") || !take_number(c, 2, 23, &hour) || !take_char(c, ":") ||
        !take_number(c, 2, 59, &minute))
        return false;
    *ret_minutes = (hour * 60 + minute) * (is_west ? -1 : 1);
    return true;
}

int rfc3339_parse(const char *s, size_t len, int64_t *ret_ms)
{
    struct cursor c = {s, len ? s + len : s};
    int64_t days;
    int minutes, seconds, ms, offset;
    if (!take_date(&c, &days) || !take_char(&c, "Tt") || !take_time(&c, &minutes, &seconds) ||
        !take_fraction(&c, &ms) || !take_offset(&c, &offset) || c.at != c.end)
        return -1;
    int64_t utc_minutes = days * 1440 + minutes - offset;
    if (seconds == 60) {
        if (utc_minutes < 0 || utc_minutes % 1440 != 1439)
            return -1;
        seconds = 59;
        ms = 999;
    }
    int64_t value = (utc_minutes * 60 + seconds) * 1000 + ms;
    if (value < 0 || value >= END_MS)
        return -1;
    *ret_ms = value;
    return 0;
}
