/*
 * check_schedule_plan.c: supervisor/schedule_plan: what is fired, dropped and next, for each policy; against a plain walk
 * over all due times.
 */
#include "common/compat.h"
#include "supervisor/schedule_plan.h"

#include "common/clock.h"
#include "common/cron.h"
#include "common/rnd.h"
#include "tests/unit/unit.h"

#define T0    INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */
#define NEVER INT64_MAX

static struct schedule_when interval(int64_t every_ms, enum schedule_missed missed)
{
    return (struct schedule_when){.every_ms = every_ms,
                                  .anchor_ms = T0,
                                  .end_ms = NEVER,
                                  .due_ms = T0 + every_ms,
                                  .missed = missed};
}

static struct schedule_plan plan_of(const struct schedule_when *when, int64_t now_ms, size_t room)
{
    struct schedule_plan plan;
    const char *problem;

    ck_assert_int_eq(schedule_plan(when, now_ms, room, &plan, &problem), 0);
    return plan;
}

START_TEST(on_time)
{
    for (enum schedule_missed m = SCHEDULE_SKIP; m <= SCHEDULE_ALL; m++) {
        struct schedule_when w = interval(60000, m);
        struct schedule_plan early = plan_of(&w, T0 + 59999, 100), p = plan_of(&w, T0 + 60000, 100),
                             late = plan_of(&w, T0 + 60000 + SCHEDULE_LATE_MS, 100);
        ck_assert(early.len == 0 && early.has_next && early.next_ms == T0 + 60000);
        ck_assert(p.len == 1 && p.times[0] == T0 + 60000 && p.next_ms == T0 + 120000);
        ck_assert(late.len == 1 && late.times[0] == T0 + 60000 && late.dropped == 0);
    }
}
END_TEST

START_TEST(several_on_time)
{
    struct schedule_when w = interval(1000, SCHEDULE_SKIP);
    struct schedule_plan p = plan_of(&w, T0 + 4500, 100);

    ck_assert(p.len == 4 && p.times[0] == T0 + 1000 && p.times[3] == T0 + 4000);
    ck_assert(p.next_ms == T0 + 5000 && p.dropped == 0);
}
END_TEST

START_TEST(missed)
{
    struct schedule_when skip = interval(60000, SCHEDULE_SKIP),
                         once = interval(60000, SCHEDULE_ONCE), all = interval(60000, SCHEDULE_ALL);
    int64_t now = T0 + 10 * 60000 + 30000; /* ten are due, the last one half a minute ago */
    struct schedule_plan p = plan_of(&skip, now, 100);

    ck_assert(p.len == 0 && p.dropped == 10 && p.next_ms == T0 + 11 * 60000);
    p = plan_of(&once, now, 100);
    ck_assert(p.len == 1 && p.times[0] == T0 + 10 * 60000 && p.dropped == 9);
    ck_assert(p.next_ms == T0 + 11 * 60000);
    p = plan_of(&all, now, 100);
    ck_assert(p.len == 10 && p.times[0] == T0 + 60000 && p.dropped == 0);
    p = plan_of(&all, now, 4);
    ck_assert(p.len == 4 && p.times[3] == T0 + 4 * 60000 && p.next_ms == T0 + 5 * 60000);
}
END_TEST

/* One that is on time stands for those that were missed. */
START_TEST(missed_and_on_time)
{
    struct schedule_when skip = interval(60000, SCHEDULE_SKIP),
                         once = interval(60000, SCHEDULE_ONCE);
    int64_t now = T0 + 10 * 60000 + 100;
    struct schedule_plan p = plan_of(&skip, now, 100);

    ck_assert(p.len == 1 && p.times[0] == T0 + 10 * 60000 && p.dropped == 9);
    p = plan_of(&once, now, 100);
    ck_assert(p.len == 1 && p.times[0] == T0 + 10 * 60000 && p.dropped == 9);
}
END_TEST

START_TEST(all_keeps_the_latest)
{
    struct schedule_when w = interval(1000, SCHEDULE_ALL);
    int64_t now = T0 + 5000 * 1000;
    struct schedule_plan p = plan_of(&w, now, 100);

    /* 4994 were missed; what is on time comes on top. */
    ck_assert_int_eq(p.dropped, 4994 - SCHEDULE_KEEP);
    ck_assert_int_eq(p.times[0], T0 + (4994 - SCHEDULE_KEEP + 1) * INT64_C(1000));
    ck_assert_uint_eq(p.len, 100);
    w.due_ms = p.next_ms;
    p = plan_of(&w, now, 100);
    ck_assert_int_eq(p.dropped, 0);
}
END_TEST

START_TEST(end_and_floor)
{
    struct schedule_when w = interval(60000, SCHEDULE_ONCE);

    w.end_ms = T0 + 60000;
    struct schedule_plan p = plan_of(&w, T0 + 60000, 100);
    ck_assert(p.len == 1 && !p.has_next);
    p = plan_of(&w, T0 + 3600000, 100);
    ck_assert(p.len == 1 && !p.has_next && p.dropped == 0);
    w.missed = SCHEDULE_SKIP;
    p = plan_of(&w, T0 + 3600000, 100);
    ck_assert(p.len == 0 && !p.has_next && p.dropped == 1);
    w = interval(60000, SCHEDULE_ALL);
    w.floor_ms = T0 + 600000 + 1;
    p = plan_of(&w, T0 + 600000 + 1, 100);
    ck_assert(p.len == 0 && p.next_ms == T0 + 660000 && p.dropped == 0);
}
END_TEST

START_TEST(cron_in_a_zone)
{
    struct schedule_when w = {.cron = "30 9 * * 1-5",
                              .timezone = "UTC",
                              .end_ms = NEVER,
                              .due_ms = T0 + 9 * 3600000 + 1800000, /* a Thursday */
                              .missed = SCHEDULE_ALL};
    struct schedule_plan p = plan_of(&w, T0 + INT64_C(5) * 86400000, 100);

    ck_assert(p.len == 3 && p.times[1] == w.due_ms + 86400000);
    ck_assert_int_eq(p.times[2], w.due_ms + INT64_C(4) * 86400000);
    ck_assert_int_eq(p.next_ms, w.due_ms + INT64_C(5) * 86400000);
}
END_TEST

START_TEST(cannot_be_computed)
{
    struct schedule_when w = {.cron = "* * * * *", .timezone = "Mars/Phobos", .end_ms = NEVER};
    struct schedule_plan plan;
    const char *problem = NULL;

    ck_assert_int_eq(schedule_plan(&w, T0, 100, &plan, &problem), -1);
    ck_assert_ptr_nonnull(problem);
    w.timezone = "UTC";
    w.cron = "* * 30 2 *";
    ck_assert_int_eq(schedule_plan(&w, T0, 100, &plan, &problem), -1);
    w.cron = NULL;
    ck_assert_int_eq(schedule_plan(&w, T0, 100, &plan, &problem), -1);
}
END_TEST

/* ---- against a plain walk ---- */

static int64_t step(const struct schedule_when *w, const struct cron *cron, const struct tz *tz,
                    int64_t due)
{
    int64_t next = w->cron ? cron_next(cron, tz, due) : due + w->every_ms;
    return next > w->end_ms ? NEVER : next;
}

static void check_walk(const struct schedule_when *w, int64_t now)
{
    static int64_t times[400000];
    struct cron cron;
    struct cron_problem problem;
    struct tz *tz CB_CLEANUP(tz_free_ptr) = NULL;
    size_t n = 0, late = 0, from;

    ck_assert_int_eq(tz_load(NULL, "UTC", &tz, NULL), 0);
    if (w->cron)
        ck_assert_int_eq(cron_parse(w->cron, &cron, &problem), 0);
    int64_t due = w->due_ms;
    for (; due <= now; due = step(w, &cron, tz, due)) {
        ck_assert_uint_lt(n, CB_ARRAY_LEN(times));
        times[n++] = due;
    }
    while (late < n && now - times[late] > SCHEDULE_LATE_MS)
        late++;
    from = w->missed == SCHEDULE_ALL ? (late > SCHEDULE_KEEP ? late - SCHEDULE_KEEP : 0)
           : w->missed == SCHEDULE_ONCE && late == n && n > 0 ? n - 1
                                                              : late;
    struct schedule_plan p = plan_of(w, now, SCHEDULE_FIRE_MAX);
    int64_t dropped = (int64_t)from;
    if (w->cron && dropped > SCHEDULE_COUNT_MAX)
        dropped = SCHEDULE_COUNT_MAX;
    ck_assert_int_eq(p.dropped, dropped);
    ck_assert_uint_eq(p.len, n - from < SCHEDULE_FIRE_MAX ? n - from : SCHEDULE_FIRE_MAX);
    for (size_t i = 0; i < p.len; i++)
        ck_assert_int_eq(p.times[i], times[from + i]);
    int64_t next = from + p.len < n ? times[from + p.len] : due;
    ck_assert(p.has_next == (next != NEVER) && (!p.has_next || p.next_ms == next));
}

START_TEST(as_a_walk)
{
    static const char *const crons[] = {"* * * * *",   "*/7 3-5 * * *", "0 0 1 * *",
                                        "5 4 * * sun", "* * 1 1 *",     "0 0 29 2 *"};
    rnd_seed(11);
    for (int i = 0; i < 600; i++) {
        struct schedule_when w = interval(1000 + (int64_t)(rnd_u64() % 100000),
                                          (enum schedule_missed)(rnd_u64() % 3));
        int64_t span = INT64_C(1) << (10 + rnd_u64() % (i % 2 ? 24 : 17));
        if (i % 2) {
            struct schedule_plan first;
            w.cron = crons[rnd_u64() % CB_ARRAY_LEN(crons)];
            w.timezone = "UTC";
            w.due_ms = T0 - 60000;
            w.floor_ms = T0;
            first = plan_of(&w, T0 - 1, 1);
            w.due_ms = first.next_ms;
            w.floor_ms = 0;
        }
        if (rnd_u64() % 3 == 0)
            w.end_ms = w.due_ms + (int64_t)(rnd_u64() % (uint64_t)span);
        check_walk(&w, w.due_ms + (int64_t)(rnd_u64() % (uint64_t)span));
    }
}
END_TEST

/* A year of minutes, all missed: no walk over all of them. */
START_TEST(a_long_stop_is_cheap)
{
    struct schedule_when w = {.cron = "* * * * *",
                              .timezone = "UTC",
                              .end_ms = NEVER,
                              .due_ms = T0,
                              .missed = SCHEDULE_ALL};
    int64_t started = clock_mono_ms();
    struct schedule_plan p = plan_of(&w, T0 + INT64_C(3650) * 86400000, 100);

    ck_assert_int_eq(p.times[0] / 60000, T0 / 60000 + 3650 * 1440 - SCHEDULE_KEEP);
    ck_assert_int_lt(clock_mono_ms() - started, 2000); /* a walk takes minutes under valgrind */
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, on_time);
    tcase_add_test(tc, several_on_time);
    tcase_add_test(tc, missed);
    tcase_add_test(tc, missed_and_on_time);
    tcase_add_test(tc, all_keeps_the_latest);
    tcase_add_test(tc, end_and_floor);
    tcase_add_test(tc, cron_in_a_zone);
    tcase_add_test(tc, cannot_be_computed);
    tcase_add_test(tc, as_a_walk);
    tcase_add_test(tc, a_long_stop_is_cheap);
}

UNIT_MAIN("schedule_plan", add_tests)
