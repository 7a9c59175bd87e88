/*
 * tz_rule.c: see tz_rule.h. Called by tz.c only; owns nothing.
 */
#include "common/compat.h"
#include "common/tz_rule.h"

#include "common/civil.h"

enum {
    OFFSET_HOURS = 24,
    TIME_HOURS = 167,
    DEFAULT_TIME_S = 2 * 3600,
    DEFAULT_SUMMER_S = 3600,
    /* A change is at most a week out of its own year, so these hold both neighbours. */
    YEARS_AROUND = 2
};

/* ---- parsing ---- */

struct cursor {
    const char *at, *end;
};

static bool take(struct cursor *c, char wanted)
{
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool is_digit(const struct cursor *c)
{
    return c->at < c->end && *c->at >= '0' && *c->at <= '9';
}

static bool take_number(struct cursor *c, int min, int max, int *ret_number)
{
    int n = 0;

    if (!is_digit(c))
        return false;
    while (is_digit(c)) {
        n = n * 10 + (*c->at++ - '0');
        if (n > max)
            return false;
    }
    *ret_number = n;
    return n >= min;
}

/* An abbreviation: three or more letters, or anything printable in < >. Its text is of no use here. */
static bool take_name(struct cursor *c)
{
    const char *start = c->at;

    if (take(c, '<')) {
        while (c->at < c->end && *c->at != '>' && *c->at > ' ' && *c->at <= '~')
            c->at++;
        return c->at - start >= 4 && take(c, '>');
    }
    while (c->at < c->end && ((*c->at >= 'A' && *c->at <= 'Z') || (*c->at >= 'a' && *c->at <= 'z')))
        c->at++;
    return c->at - start >= 3;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(struct cursor *c, int max_hours, int *ret_s)
{
    int hours, minutes = 0, seconds = 0;
    bool is_negative = take(c, '-');

    if (!is_negative)
        take(c, '+');
    if (!take_number(c, 0, max_hours, &hours))
        return false;
    if (take(c, ':') &&
        (!take_number(c, 0, 59, &minutes) || (take(c, ':') && !take_number(c, 0, 59, &seconds))))
        return false;
    int total = hours * 3600 + minutes * 60 + seconds;
    *ret_s = is_negative ? -total : total;
    return true;
}

static bool take_change(struct cursor *c, struct tz_change *ret)
{
    *ret = (struct tz_change){.kind = 'D', .time_s = DEFAULT_TIME_S};
    if (!take(c, ','))
        return false;
    if (take(c, 'M')) {
        ret->kind = 'M';
        if (!take_number(c, 1, 12, &ret->month) || !take(c, '.') ||
            !take_number(c, 1, 5, &ret->week) || !take(c, '.') || !take_number(c, 0, 6, &ret->day))
            return false;
    } else if (take(c, 'J')) {
        ret->kind = 'J';
        if (!take_number(c, 1, 365, &ret->day))
            return false;
    } else if (!take_number(c, 0, 365, &ret->day)) {
        return false;
    }
    return !take(c, '/') || take_time(c, TIME_HOURS, &ret->time_s);
}

int tz_rule_parse(const char *text, size_t len, struct tz_rule *ret_rule)
{
    struct cursor c = {text, text + len};
    struct tz_rule rule = {.has_summer = false};
    int west;

    if (!take_name(&c) || !take_time(&c, OFFSET_HOURS, &west))
        return -1;
    rule.standard = rule.summer = -west;
    if (c.at < c.end) {
        rule.has_summer = true;
        rule.summer += DEFAULT_SUMMER_S;
        if (!take_name(&c))
            return -1;
        if (c.at < c.end && *c.at != ',') {
            if (!take_time(&c, OFFSET_HOURS, &west))
                return -1;
            rule.summer = -west;
        }
        if (!take_change(&c, &rule.start) || !take_change(&c, &rule.end) || c.at != c.end)
            return -1;
    }
    *ret_rule = rule;
    return 0;
}

/* ---- what it says about a time ---- */

/* Local seconds of a change in a year. */
static int64_t change_in(const struct tz_change *c, int64_t year)
{
    int64_t day;

    if (c->kind == 'M') {
        int64_t first = civil_to_days(year, c->month, 1);
        int of_month = (c->day - civil_weekday(first) + 7) % 7 + (c->week - 1) * 7;
        if (of_month >= civil_days_in_month(year, c->month))
            of_month -= 7;
        day = first + of_month;
    } else {
        day = civil_to_days(year, 1, 1) + c->day;
        /* J60 is 1 March in every year. */
        if (c->kind == 'J' && (c->day < 60 || civil_days_in_month(year, 2) == 28))
            day--;
    }
    return day * CIVIL_DAY_S + c->time_s;
}

struct event {
    int64_t at;
    int32_t offset; /* from then on */
};

/* In order of time; of two at the same time the one of the later year comes last, so that summer time that lasts all
 * year does so. */
static void insert(struct event *events, size_t *len, struct event e)
{
    size_t i = (*len)++;

    for (; i > 0 && events[i - 1].at > e.at; i--)
        events[i] = events[i - 1];
    events[i] = e;
}

struct tz_span tz_rule_span_at(const struct tz_rule *rule, int64_t t)
{
    struct event events[2 * (2 * YEARS_AROUND + 1)];
    struct tz_span span = {INT64_MIN, INT64_MAX, rule->standard};
    size_t len = 0;

    if (!rule->has_summer)
        return span;
    int64_t year = civil_from_days(civil_day_of(t)).year;
    for (int64_t y = year - YEARS_AROUND; y <= year + YEARS_AROUND; y++) {
        insert(events, &len,
               (struct event){change_in(&rule->start, y) - rule->standard, rule->summer});
        insert(events, &len,
               (struct event){change_in(&rule->end, y) - rule->summer, rule->standard});
    }
    for (size_t i = 0; i < len; i++) {
        if (events[i].at > t) {
            span.to = events[i].at;
            break;
        }
        span.from = events[i].at;
        span.offset = events[i].offset;
    }
    return span;
}
