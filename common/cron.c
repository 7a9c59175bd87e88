/*
 * cron.c: see cron.h. Called by the worker (schedule.add checks an expression) and by the leader, which computes when a
 * schedule is due; owns nothing. No search is without bound: the calendar repeats itself within SEARCH_YEARS.
 */
#include "common/compat.h"
#include "common/cron.h"

#include "common/civil.h"

#include <strings.h>

enum {
    /* The same date on the same day of the week, across a century without a leap day. */
    SEARCH_YEARS = 41,
    OFFSET_MAX_S = 26 * 3600
};
#define END_S INT64_C(253402300800) /* 10000-01-01T00:00:00Z */

/* ---- parsing ---- */

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct {
    const char *name;
    int min, max;
    const char *const *names; /* of min and what follows it */
} fields[FIELDS] = {
    [MINUTE] = {"minute", 0, 59, NULL},
    [HOUR] = {"hour", 0, 23, NULL},
    [DAY] = {"day of the month", 1, 31, NULL},
    [MONTH] = {"month", 1, 12, month_names},
    [WEEKDAY] = {"day of the week", 0, 7, weekday_names},
};

struct parser {
    const char *text;
    const char *at;  /* what is read */
    const char *end; /* of the field */
    int field;
    struct cron *cron;
    struct cron_problem *problem;
};

/* The item from `at` on, cut, without what a terminal cannot bear. */
static void put_got(struct cron_problem *problem, const char *at, const char *end)
{
    size_t n = 0, max = sizeof problem->got - 6;

    problem->got[n++] = '"';
    for (; at < end && n < max; at++)
        problem->got[n++] = *at;
    if (at < end)
        n += (size_t)snprintf(problem->got + n, 4, "...");
    problem->got[n++] = '"';
    problem->got[n] = '\0';
    for (char *p = problem->got; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

CB_PRINTF(3, 4)
static int refuse(struct parser *p, const char *at, const char *fmt, ...)
{
    struct cron_problem *problem = p->problem;
    va_list args;

    int n = snprintf(problem->expected, sizeof problem->expected,
                     "%s at byte %zu: ", fields[p->field].name, (size_t)(at - p->text) + 1);
    va_start(args, fmt);
    vsnprintf(problem->expected + n, sizeof problem->expected - (size_t)n, fmt, args);
    va_end(args);
    const char *end = at;
    while (end < p->end && *end != ',')
        end++;
    put_got(problem, at, end);
    return -1;
}

static int refuse_whole(struct cron_problem *problem, const char *text, const char *expected)
{
    snprintf(problem->expected, sizeof problem->expected, "%s", expected);
    put_got(problem, text, text + strlen(text));
    return -1;
}

static bool take(struct parser *p, char wanted)
{
    if (p->at == p->end || *p->at != wanted)
        return false;
    p->at++;
    return true;
}

static bool take_digits(struct parser *p, int *ret_number)
{
    const char *start = p->at;
    int n = 0;

    while (p->at < p->end && *p->at >= '0' && *p->at <= '9' && n < 10000)
        n = n * 10 + (*p->at++ - '0');
    *ret_number = n;
    return p->at > start;
}

static bool take_name(struct parser *p, int *ret_number)
{
    const char *const *names = fields[p->field].names;

    for (int i = 0; names && names[i]; i++) {
        if (p->end - p->at >= 3 && strncasecmp(p->at, names[i], 3) == 0) {
            p->at += 3;
            *ret_number = fields[p->field].min + i;
            return true;
        }
    }
    return false;
}

static int take_value(struct parser *p, int *ret_number)
{
    const char *start = p->at;
    int min = fields[p->field].min, max = fields[p->field].max;

    if ((!take_digits(p, ret_number) && !take_name(p, ret_number)) || *ret_number < min ||
        *ret_number > max)
        return refuse(p, start, "%d to %d%s", min, max,
                      fields[p->field].names ? " or a name of three letters" : "");
    return 0;
}

static void set_bits(struct parser *p, int low, int high, int step)
{
    struct cron *c = p->cron;

    for (int n = low; n <= high; n += step) {
        if (p->field == MINUTE)
            c->minutes |= UINT64_C(1) << n;
        else if (p->field == HOUR)
            c->hours |= 1u << n;
        else if (p->field == DAY)
            c->days |= 1u << n;
        else if (p->field == MONTH)
            c->months = (uint16_t)(c->months | 1u << n);
        else
            c->weekdays = (uint8_t)(c->weekdays | 1u << n % 7);
    }
}

/* "/n" behind a range; a step beyond it is a mistake, since only the first value would be left. */
static int take_step(struct parser *p, int low, int high)
{
    const char *start = p->at;
    int step = 1, max = high > low ? high - low : 1;

    if (take(p, '/') && (!take_digits(p, &step) || step < 1 || step > max))
        return refuse(p, start + 1, "a step of 1 to %d", max);
    set_bits(p, low, high, step);
    return 0;
}

/* Behind a day of the week: "#2" or "L". */
static bool take_nth(struct parser *p, int weekday, int *ret_status)
{
    const char *start = p->at;
    int n = 0;

    *ret_status = 0;
    if (p->field != WEEKDAY)
        return false;
    if (take(p, '#')) {
        if (!take_digits(p, &n) || n < 1 || n > 5)
            *ret_status = refuse(p, start + 1, "1 to 5, which of the month");
    } else if (!take(p, 'L') && !take(p, 'l')) {
        return false;
    }
    p->cron->nth[weekday % 7] = (uint8_t)(p->cron->nth[weekday % 7] | 1u << n % 8);
    return true;
}

static int take_range(struct parser *p)
{
    const char *start = p->at;
    int low, high, status;

    if (take_value(p, &low) != 0)
        return -1;
    if (take_nth(p, low, &status))
        return status;
    if (!take(p, '-')) {
        if (p->at < p->end && *p->at == '/')
            return refuse(p, start, "a range in front of the step, such as %d-%d/2", low,
                          fields[p->field].max);
        set_bits(p, low, low, 1);
        return 0;
    }
    if (take_value(p, &high) != 0)
        return -1;
    if (p->field == WEEKDAY && high == 0 && low > 0)
        high = 7; /* sat-sun */
    if (high < low)
        return refuse(p, start, "a range that ascends");
    return take_step(p, low, high);
}

static int take_item(struct parser *p)
{
    int min = fields[p->field].min, max = fields[p->field].max;

    if (take(p, '*'))
        return take_step(p, min, p->field == WEEKDAY ? 6 : max);
    if (p->field == DAY && (take(p, 'L') || take(p, 'l'))) {
        p->cron->is_last_day = true;
        return 0;
    }
    return take_range(p);
}

static int take_field(struct parser *p)
{
    for (;;) {
        if (p->at == p->end)
            return refuse(p, p->at, "a value");
        if (take_item(p) != 0)
            return -1;
        if (p->at == p->end)
            return 0;
        if (!take(p, ','))
            return refuse(p, p->at, "a comma or the end of the field");
    }
}

static const char *expand_shortcut(const char *text)
{
    static const struct {
        const char *name, *expression;
    } shortcuts[] = {
        {"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
        {"@weekly", "0 0 * * 0"},   {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
        {"@annually", "0 0 1 1 *"},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(shortcuts); i++)
        if (strcasecmp(text, shortcuts[i].name) == 0)
            return shortcuts[i].expression;
    return NULL;
}

static size_t blanks(const char *s)
{
    return strspn(s, " \t");
}

static int parse_fields(const char *text, struct cron *c, struct cron_problem *problem)
{
    bool is_star[FIELDS];
    struct parser p = {.text = text, .at = text + blanks(text), .cron = c, .problem = problem};

    for (p.field = 0; p.field < FIELDS; p.field++) {
        p.end = p.at + strcspn(p.at, " \t");
        is_star[p.field] = *p.at == '*';
        if (p.at == p.end)
            return refuse_whole(
                problem, text,
                "five fields: minute, hour, day of the month, month, day of the week");
        if (take_field(&p) != 0)
            return -1;
        p.at = p.end + blanks(p.end);
    }
    if (*p.at)
        return refuse_whole(
            problem, p.at,
            "nothing behind the five fields: minute, hour, day of the month, month, "
            "day of the week");
    c->is_either = !is_star[DAY] && !is_star[WEEKDAY];
    c->is_every = is_star[MINUTE] || is_star[HOUR];
    return 0;
}

/* ---- the calendar: local seconds, without a zone ---- */

static bool is_day(const struct cron *c, struct civil_date d, int weekday)
{
    int month_days = civil_days_in_month(d.year, d.month);
    unsigned nth = c->nth[weekday];
    bool by_month = (c->days >> d.day & 1) || (c->is_last_day && d.day == month_days);
    bool by_week = (c->weekdays >> weekday & 1) || (nth >> ((d.day - 1) / 7 + 1) & 1) ||
                   ((nth & 1) && d.day + 7 > month_days);

    return c->is_either ? by_month || by_week : by_month && by_week;
}

/* The first minute of the day from `minute` on, or -1. */
static int minute_of_day(const struct cron *c, int minute)
{
    for (int hour = minute / 60; hour < 24; hour++, minute = hour * 60) {
        uint64_t left = c->minutes >> minute % 60;
        if ((c->hours >> hour & 1) && left)
            return minute + __builtin_ctzll(left);
    }
    return -1;
}

/* The first local time from `from` on, or CRON_NEVER. */
static int64_t next_local(const struct cron *c, int64_t from)
{
    int64_t day = civil_day_of(from);
    int64_t last = day + SEARCH_YEARS * INT64_C(366);
    int minute = (int)((from - day * CIVIL_DAY_S + 59) / 60);
    struct civil_date d = civil_from_days(day);

    while (day < last) {
        if (!(c->months >> d.month & 1)) {
            day += civil_days_in_month(d.year, d.month) - d.day;
            d.day = civil_days_in_month(d.year, d.month);
        } else if (is_day(c, d, civil_weekday(day))) {
            int found = minute_of_day(c, minute);
            if (found >= 0)
                return day * CIVIL_DAY_S + found * 60;
        }
        minute = 0;
        day++;
        if (++d.day > civil_days_in_month(d.year, d.month)) {
            d.day = 1;
            d.year += d.month == 12;
            d.month = d.month % 12 + 1;
        }
    }
    return CRON_NEVER;
}

int cron_parse(const char *text, struct cron *ret_cron, struct cron_problem *problem)
{
    struct cron c = {0};
    const char *expression = text;

    if (strlen(text) > CRON_MAX)
        return refuse_whole(problem, text, "at most 200 bytes");
    if (text[0] == '@' && !(expression = expand_shortcut(text)))
        return refuse_whole(problem, text,
                            "@hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually");
    if (parse_fields(expression, &c, problem) != 0)
        return -1;
    if (next_local(&c, 0) == CRON_NEVER)
        return refuse_whole(problem, text, "a date that exists");
    *ret_cron = c;
    return 0;
}

/* ---- with a zone ---- */

/* The first moment at which the clock on the wall shows `local` or later: what comes twice counts the first time, what
 * is skipped counts at the end of the gap. */
static int64_t first_moment(const struct tz *tz, int64_t local)
{
    struct tz_span span = tz_span_at(tz, local - OFFSET_MAX_S);

    while (span.to != INT64_MAX && span.to + span.offset <= local)
        span = tz_span_at(tz, span.to);
    return local - span.offset > span.from ? local - span.offset : span.from;
}

/* The first local time that the clock on the wall has not shown until `after`. */
static int64_t not_yet_shown(const struct tz *tz, int64_t after)
{
    struct tz_span span = tz_span_at(tz, after);
    int64_t local = after + 1 + span.offset;
    /* Before that, no clock could have shown what this one shows. */
    int64_t oldest = after - 2 * OFFSET_MAX_S;

    while (span.from > oldest) {
        int64_t changed = span.from;
        span = tz_span_at(tz, changed - 1);
        if (changed + span.offset > local)
            local = changed + span.offset;
    }
    return local;
}

static int64_t next_fixed(const struct cron *c, const struct tz *tz, int64_t after)
{
    int64_t local = next_local(c, not_yet_shown(tz, after));
    return local == CRON_NEVER ? CRON_NEVER : first_moment(tz, local);
}

static int64_t next_shown(const struct cron *c, const struct tz *tz, int64_t after)
{
    int64_t from = after + 1;

    while (from < END_S) {
        struct tz_span span = tz_span_at(tz, from);
        int64_t local = next_local(c, from + span.offset);
        if (local == CRON_NEVER || local - span.offset < span.to)
            return local == CRON_NEVER ? CRON_NEVER : local - span.offset;
        from = span.to;
    }
    return CRON_NEVER;
}

int64_t cron_next(const struct cron *cron, const struct tz *tz, int64_t after_ms)
{
    int64_t after = after_ms / 1000 - (after_ms % 1000 < 0);

    if (after >= END_S || after < -END_S)
        return CRON_NEVER;
    int64_t next = cron->is_every ? next_shown(cron, tz, after) : next_fixed(cron, tz, after);
    return next >= END_S ? CRON_NEVER : next * 1000;
}
