/*
 * check_cron.c: common/cron: the grammar, known dates, changes of the clocks; and random expressions against an oracle
 * that looks at every minute of the year with the C library's idea of local time.
 */
#include "common/compat.h"
#include "common/cron.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/rfc3339.h"
#include "common/rnd.h"
#include "tests/unit/unit.h"

#include <time.h>

/* Without the system's zones (package tzdata) only the rest is tested; CI has them. */
static bool have_zones(void)
{
    bool is_there = access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == 0;

    ck_assert_msg(is_there || !getenv("CB_CI"), "tzdata is missing");
    return is_there;
}

static int64_t ms_of(const char *time)
{
    int64_t ms = -1;
    ck_assert_msg(rfc3339_parse(time, strlen(time), &ms) == 0, "%s", time);
    return ms;
}

/* The next times of an expression, against a list of times. */
static void check_times(const char *expression, const char *zone, const char *after,
                        const char *const *wanted)
{
    struct tz *tz CB_CLEANUP(tz_free_ptr) = NULL;
    struct cron_problem problem;
    struct cron cron;
    int64_t ms = ms_of(after);

    ck_assert_msg(cron_parse(expression, &cron, &problem) == 0, "%s: %s", expression,
                  problem.expected);
    ck_assert_int_eq(tz_load(NULL, zone, &tz, NULL), 0);
    for (; *wanted; wanted++) {
        char text[CLOCK_RFC3339_SIZE];
        int64_t next = cron_next(&cron, tz, ms);
        ck_assert_msg(next > ms && next != CRON_NEVER, "%s", expression);
        clock_format_rfc3339(next, text);
        ck_assert_msg(next == ms_of(*wanted), "%s in %s: %s, wanted %s", expression, zone, text,
                      *wanted);
        ms = next;
    }
}
#define TIMES(expression, zone, after, ...)                                                        \
    check_times(expression, zone, after, (const char *const[]){__VA_ARGS__, NULL})

START_TEST(known_times)
{
    TIMES("* * * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z",
          "2026-01-01T00:02:00Z");
    TIMES("* * * * *", "UTC", "2026-01-01T00:00:59.999Z", "2026-01-01T00:01:00Z");
    TIMES("* * * * *", "UTC", "2025-12-31T23:59:59.999Z", "2026-01-01T00:00:00Z");
    TIMES("*/15 * * * *", "UTC", "2026-01-01T00:31:00Z", "2026-01-01T00:45:00Z",
          "2026-01-01T01:00:00Z");
    TIMES("0 9-17/4 * * MON-FRI", "UTC", "2026-01-02T17:00:00Z", "2026-01-05T09:00:00Z",
          "2026-01-05T13:00:00Z", "2026-01-05T17:00:00Z", "2026-01-06T09:00:00Z");
    TIMES("5,10 3 * * *", "UTC", "2026-01-01T03:05:00Z", "2026-01-01T03:10:00Z",
          "2026-01-02T03:05:00Z");
    TIMES("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z",
          "2032-02-29T00:00:00Z");
    TIMES("0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z");
    TIMES("0 0 31 * *", "UTC", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z",
          "2026-05-31T00:00:00Z");
    TIMES("0 0 L * *", "UTC", "2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z",
          "2028-03-31T00:00:00Z", "2028-04-30T00:00:00Z");
    TIMES("0 0 15,l * *", "UTC", "2026-02-01T00:00:00Z", "2026-02-15T00:00:00Z",
          "2026-02-28T00:00:00Z");
    TIMES("0 12 * * fri#2", "UTC", "2026-01-01T00:00:00Z", "2026-01-09T12:00:00Z",
          "2026-02-13T12:00:00Z");
    TIMES("0 12 * * 5L", "UTC", "2026-01-01T00:00:00Z", "2026-01-30T12:00:00Z",
          "2026-02-27T12:00:00Z");
    TIMES("0 12 * * 7#1,wedl", "UTC", "2026-01-01T00:00:00Z", "2026-01-04T12:00:00Z",
          "2026-01-28T12:00:00Z", "2026-02-01T12:00:00Z");
    TIMES("0 0 * 2 1#5", "UTC", "2026-01-01T00:00:00Z", "2044-02-29T00:00:00Z");
    TIMES("0 0 * 2 1#5", "UTC", "2072-03-01T00:00:00Z", "2112-02-29T00:00:00Z");
    TIMES("0 0 1 1 *", "UTC", "2026-06-01T00:00:00Z", "2027-01-01T00:00:00Z");
    TIMES("59 23 31 12 *", "UTC", "2026-06-01T00:00:00Z", "2026-12-31T23:59:00Z");
    TIMES("  0\t4   8-14 *  *  ", "UTC", "2026-01-01T00:00:00Z", "2026-01-08T04:00:00Z");
}
END_TEST

START_TEST(either_day)
{
    TIMES("30 4 1,15 * 5", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T04:30:00Z",
          "2026-01-02T04:30:00Z", "2026-01-09T04:30:00Z", "2026-01-15T04:30:00Z",
          "2026-01-16T04:30:00Z");
    /* Not when one of them begins with a star: then both are needed. */
    TIMES("0 0 */7 * 4", "UTC", "2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z",
          "2026-01-15T00:00:00Z", "2026-01-22T00:00:00Z", "2026-01-29T00:00:00Z",
          "2026-10-01T00:00:00Z");
    TIMES("0 0 13 * */5", "UTC", "2026-01-01T00:00:00Z", "2026-02-13T00:00:00Z",
          "2026-03-13T00:00:00Z", "2026-09-13T00:00:00Z");
    TIMES("0 0 30 2 1", "UTC", "2026-01-31T00:00:00Z", "2026-02-02T00:00:00Z");
}
END_TEST

START_TEST(weekday_numbers)
{
    TIMES("0 0 * * 0", "UTC", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z",
          "2026-01-11T00:00:00Z");
    TIMES("0 0 * * 7", "UTC", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z",
          "2026-01-11T00:00:00Z");
    TIMES("0 0 * * 6-7", "UTC", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z",
          "2026-01-04T00:00:00Z", "2026-01-10T00:00:00Z");
    TIMES("0 0 * * Sat-Sun", "UTC", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z",
          "2026-01-04T00:00:00Z", "2026-01-10T00:00:00Z");
    TIMES("0 0 * * */2", "UTC", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z",
          "2026-01-04T00:00:00Z", "2026-01-06T00:00:00Z");
    TIMES("0 0 * jan-mar/2 sun", "UTC", "2026-01-25T00:00:00Z", "2026-03-01T00:00:00Z");
}
END_TEST

START_TEST(shortcuts)
{
    TIMES("@hourly", "UTC", "2026-05-05T05:05:05Z", "2026-05-05T06:00:00Z", "2026-05-05T07:00:00Z");
    TIMES("@daily", "UTC", "2026-05-05T05:05:05Z", "2026-05-06T00:00:00Z");
    TIMES("@midnight", "UTC", "2026-05-05T05:05:05Z", "2026-05-06T00:00:00Z");
    TIMES("@weekly", "UTC", "2026-05-05T05:05:05Z", "2026-05-10T00:00:00Z");
    TIMES("@monthly", "UTC", "2026-05-05T05:05:05Z", "2026-06-01T00:00:00Z");
    TIMES("@Yearly", "UTC", "2026-05-05T05:05:05Z", "2027-01-01T00:00:00Z");
    TIMES("@annually", "UTC", "2026-05-05T05:05:05Z", "2027-01-01T00:00:00Z");
}
END_TEST

/* Clocks in New York: 2026-03-08 02:00 EST became 03:00 EDT, 2026-11-01 02:00 EDT became 01:00 EST. */
START_TEST(clocks_change)
{
    if (!have_zones())
        return;
    const char *zone = "America/New_York";
    /* In the gap: at its end, once. */
    TIMES("30 2 * * *", zone, "2026-03-07T12:00:00Z", "2026-03-08T07:00:00Z",
          "2026-03-09T06:30:00Z");
    TIMES("0,15,30 2 * * *", zone, "2026-03-08T00:00:00Z", "2026-03-08T07:00:00Z",
          "2026-03-09T06:00:00Z", "2026-03-09T06:15:00Z");
    TIMES("30 2,3 * * *", zone, "2026-03-08T00:00:00Z", "2026-03-08T07:00:00Z",
          "2026-03-08T07:30:00Z");
    TIMES("0 3 * * *", zone, "2026-03-08T00:00:00Z", "2026-03-08T07:00:00Z",
          "2026-03-09T07:00:00Z");
    /* Twice on the wall: the first time. */
    TIMES("30 1 * * *", zone, "2026-11-01T00:00:00Z", "2026-11-01T05:30:00Z",
          "2026-11-02T06:30:00Z");
    TIMES("30 1 * * *", zone, "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z");
    TIMES("30 1 * * *", zone, "2026-11-01T06:15:00Z", "2026-11-02T06:30:00Z");
    TIMES("0 2 * * *", zone, "2026-11-01T00:00:00Z", "2026-11-01T07:00:00Z",
          "2026-11-02T07:00:00Z");
    /* By the wall: each real hour, nothing in the gap. */
    TIMES("0 * * * *", zone, "2026-11-01T04:30:00Z", "2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z",
          "2026-11-01T07:00:00Z");
    TIMES("0 * * * *", zone, "2026-03-08T05:30:00Z", "2026-03-08T06:00:00Z",
          "2026-03-08T07:00:00Z");
    TIMES("*/30 2 * * *", zone, "2026-03-08T00:00:00Z", "2026-03-09T06:00:00Z");
    TIMES("0 */2 * * *", zone, "2026-03-08T04:30:00Z", "2026-03-08T05:00:00Z",
          "2026-03-08T08:00:00Z");
    /* A whole day that was not there. */
    TIMES("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2011-12-29T22:00:00Z",
          "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z");
    /* A change of half an hour, at both ends. */
    TIMES("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z",
          "2026-10-04T15:15:00Z");
    TIMES("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-04T14:45:00Z",
          "2026-04-05T15:15:00Z");
}
END_TEST

START_TEST(bad_expressions)
{
    static const struct {
        const char *text, *expected, *got;
    } rows[] = {
        {"", "five fields", "\"\""},
        {"* * * *", "five fields", "\"* * * *\""},
        {"0 0 * * * *", "nothing behind the five fields", "\"*\""},
        {"60 * * * *", "minute at byte 1: 0 to 59", "\"60\""},
        {"* 24 * * *", "hour at byte 3: 0 to 23", "\"24\""},
        {"* * 0 * *", "day of the month at byte 5: 1 to 31", "\"0\""},
        {"* * 32 * *", "day of the month at byte 5: 1 to 31", "\"32\""},
        {"* * * 13 *", "month at byte 7: 1 to 12 or a name", "\"13\""},
        {"* * * janu *", "month at byte 10: a comma", "\"u\""},
        {"* * * * 8", "day of the week at byte 9: 0 to 7", "\"8\""},
        {"* * * * xyz", "day of the week at byte 9: 0 to 7 or a name of three letters", "\"xyz\""},
        {"1, * * * *", "minute at byte 3: a value", "\"\""},
        {",1 * * * *", "minute at byte 1: 0 to 59", "\"\""},
        {"1-2-3 * * * *", "minute at byte 4: a comma", "\"-3\""},
        {"5-1 * * * *", "minute at byte 1: a range that ascends", "\"5-1\""},
        {"1,9,5-1,3 * * * *", "minute at byte 5: a range that ascends", "\"5-1\""},
        {"*/0 * * * *", "minute at byte 3: a step of 1 to 59", "\"0\""},
        {"*/90 * * * *", "minute at byte 3: a step of 1 to 59", "\"90\""},
        {"0 0-4/9 * * *", "hour at byte 7: a step of 1 to 4", "\"9\""},
        {"0 5/2 * * *", "hour at byte 3: a range in front of the step, such as 5-23/2", "\"5/2\""},
        {"0 0 * * 5#6", "day of the week at byte 11: 1 to 5", "\"6\""},
        {"0 0 5#2 * *", "day of the month at byte 6: a comma", "\"#2\""},
        {"0 0 30 2 *", "a date that exists", "\"0 0 30 2 *\""},
        {"0 0 31 4,6,9,11 *", "a date that exists", "\"0 0 31 4,6,9,11 *\""},
        {"@reboot", "@hourly", "\"@reboot\""},
        {"@", "@hourly", "\"@\""},
        {"99999999999999999999 * * * *", "minute at byte 1: 0 to 59", "\"99999999999999999999\""},
        {"-1 * * * *", "minute at byte 1: 0 to 59", "\"-1\""},
        {"a\033[31m * * * *", "minute at byte 1", "\"a?[31m\""},
        {"0123456789012345678901234567890123456789012345 * * * *", "minute",
         "\"012345678901234567890123456789012...\""},
        {"? * * * *", "minute at byte 1", "\"?\""},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        struct cron_problem problem = {.expected = ""};
        struct cron cron;
        ck_assert_msg(cron_parse(rows[i].text, &cron, &problem) == -1, "%s", rows[i].text);
        ck_assert_msg(strstr(problem.expected, rows[i].expected) == problem.expected, "%s: %s",
                      rows[i].text, problem.expected);
        ck_assert_msg(strcmp(problem.got, rows[i].got) == 0, "%s: %s", rows[i].text, problem.got);
    }
    char *long_text CB_CLEANUP(mem_free_ptr) = mem_printf("%*s", CRON_MAX + 1, "* * * * *");
    struct cron cron;
    struct cron_problem problem;
    ck_assert_int_eq(cron_parse(long_text + 1, &cron, &problem), 0);
    ck_assert_int_eq(cron_parse(long_text, &cron, &problem), -1);
}
END_TEST

START_TEST(end_of_time)
{
    struct tz *tz CB_CLEANUP(tz_free_ptr) = NULL;
    struct cron_problem problem;
    struct cron cron;

    ck_assert_int_eq(tz_load(NULL, "UTC", &tz, NULL), 0);
    ck_assert_int_eq(cron_parse("0 0 1 1 *", &cron, &problem), 0);
    ck_assert_int_eq(cron_next(&cron, tz, ms_of("9999-01-01T00:00:00Z")), CRON_NEVER);
    ck_assert_int_eq(cron_next(&cron, tz, INT64_MAX - 1), CRON_NEVER);
    ck_assert_int_eq(cron_next(&cron, tz, INT64_MIN), CRON_NEVER);
    ck_assert_int_eq(cron_next(&cron, tz, ms_of("9998-12-31T23:59:59Z")),
                     ms_of("9999-01-01T00:00:00Z"));
    ck_assert_int_eq(cron_next(&cron, tz, -1), 0);
}
END_TEST

/* ---- the oracle ---- */

enum { YEAR_MINUTES = 366 * 24 * 60, EXPRESSIONS = 40 };

/* An expression as sets, drawn before its text is written. */
struct drawn {
    bool minutes[60], hours[24], days[32], months[13], weekdays[7];
    bool is_star[5];
};

static void draw_field(struct buf *text, bool *set, int min, int max, bool *ret_star)
{
    unsigned kind = (unsigned)(rnd_u64() % 4);

    *ret_star = kind < 2;
    memset(set, 0, (size_t)max + 1);
    if (text->len)
        buf_putc(text, ' ');
    int step = kind == 1 ? 1 + (int)(rnd_u64() % (uint64_t)(max - min)) : 1;
    if (kind < 2) {
        buf_putc(text, '*');
        if (step > 1)
            buf_printf(text, "/%d", step);
        for (int i = min; i <= max; i += step)
            set[i] = true;
        return;
    }
    for (int items = 1 + (int)(rnd_u64() % 3), i = 0; i < items; i++) {
        int low = min + (int)(rnd_u64() % (uint64_t)(max - min + 1)), high = low;
        if (kind == 3)
            high = low + (int)(rnd_u64() % (uint64_t)(max - low + 1));
        buf_printf(text, i ? ",%d" : "%d", low);
        if (high > low)
            buf_printf(text, "-%d", high);
        for (int n = low; n <= high; n++)
            set[n] = true;
    }
}

static void draw(struct drawn *d, struct buf *text)
{
    buf_reset(text);
    draw_field(text, d->minutes, 0, 59, &d->is_star[0]);
    draw_field(text, d->hours, 0, 23, &d->is_star[1]);
    draw_field(text, d->days, 1, 31, &d->is_star[2]);
    draw_field(text, d->months, 1, 12, &d->is_star[3]);
    draw_field(text, d->weekdays, 0, 6, &d->is_star[4]);
}

static bool matches(const struct drawn *d, const struct tm *tm)
{
    bool day = d->days[tm->tm_mday], weekday = d->weekdays[tm->tm_wday];

    return d->minutes[tm->tm_min] && d->hours[tm->tm_hour] && d->months[tm->tm_mon + 1] &&
           (d->is_star[2] || d->is_star[4] ? day && weekday : day || weekday);
}

/* Has the clock on the wall come by a local time that matches, since it showed `shown`? It does so in steps of a minute,
 * but where clocks go forward. */
static bool comes_by(const struct drawn *d, int64_t shown, const struct tm *tm, int64_t local)
{
    if (shown == INT64_MIN || local <= shown)
        return false;
    for (int64_t skipped = shown + 60; skipped < local; skipped += 60) {
        struct tm gone;
        time_t t = (time_t)skipped;
        gmtime_r(&t, &gone);
        if (matches(d, &gone))
            return true;
    }
    return matches(d, tm);
}

static void check_expression(const struct drawn *d, const struct cron *cron, const struct tz *tz,
                             const struct tm *tms, int64_t start, const char *text)
{
    bool is_every = d->is_star[0] || d->is_star[1];
    int64_t shown = INT64_MIN, next = 0;

    for (int64_t i = 0; i < YEAR_MINUTES; i++) {
        int64_t at = start + i * 60, local = at + tms[i].tm_gmtoff;
        bool is_due = is_every ? matches(d, &tms[i]) : comes_by(d, shown, &tms[i], local);
        if (local > shown)
            shown = local;
        if (i < 3 * 1440) /* the clocks may have changed right before */
            continue;
        if (next == 0)
            next = cron_next(cron, tz, (at - 1) * 1000);
        if ((next == at * 1000) != is_due)
            ck_abort_msg("%s: next is %" PRId64 "; the oracle: %" PRId64 " is %s", text,
                         next / 1000, at, is_due ? "due" : "not due");
        if (is_due)
            next = cron_next(cron, tz, next);
        if (rnd_u64() % 4096 == 0 && cron_next(cron, tz, at * 1000 + 30000) != next)
            ck_abort_msg("%s: another next from %" PRId64, text, at + 30);
    }
}

static void check_year(const char *zone, const struct tm *tms, int64_t start)
{
    struct tz *tz CB_CLEANUP(tz_free_ptr) = NULL;
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;

    ck_assert_int_eq(tz_load(NULL, zone, &tz, NULL), 0);
    for (int n = 0; n < EXPRESSIONS; n++) {
        struct drawn d;
        struct cron cron;
        struct cron_problem problem;
        draw(&d, &text);
        if (cron_parse(buf_peek(&text), &cron, &problem) != 0) {
            ck_assert_str_eq(problem.expected, "a date that exists");
            continue;
        }
        buf_printf(&text, " in %s", zone);
        check_expression(&d, &cron, tz, tms, start, buf_peek(&text));
    }
}

START_TEST(as_the_oracle)
{
    static const struct {
        const char *zone, *from;
    } rows[] = {
        {"UTC", "2026-01-01T00:00:00Z"},
        {"Europe/Berlin", "2026-01-01T00:00:00Z"},
        {"America/New_York", "2044-01-01T00:00:00Z"}, /* behind the table: by its rule */
        {"Australia/Lord_Howe", "2026-01-01T00:00:00Z"},
        {"Africa/Casablanca", "2026-01-01T00:00:00Z"},
        {"Pacific/Apia", "2011-06-01T00:00:00Z"},
        {"Asia/Kathmandu", "2026-01-01T00:00:00Z"},
    };
    struct tm *tms = mem_calloc(YEAR_MINUTES, sizeof *tms);

    rnd_seed(5);
    for (size_t r = 0; r < CB_ARRAY_LEN(rows); r++) {
        int64_t start = ms_of(rows[r].from) / 1000;
        if (!have_zones() && r > 0)
            break;
        setenv("TZ", rows[r].zone, 1);
        tzset();
        for (int i = 0; i < YEAR_MINUTES; i++) {
            time_t t = (time_t)(start + i * 60);
            localtime_r(&t, &tms[i]);
        }
        check_year(rows[r].zone, tms, start);
    }
    free(tms);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, known_times);
    tcase_add_test(tc, either_day);
    tcase_add_test(tc, weekday_numbers);
    tcase_add_test(tc, shortcuts);
    tcase_add_test(tc, clocks_change);
    tcase_add_test(tc, bad_expressions);
    tcase_add_test(tc, end_of_time);
    tcase_add_test(tc, as_the_oracle);
}

UNIT_MAIN("cron", add_tests)
