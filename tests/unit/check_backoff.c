/*
 * check_backoff.c: common/backoff: both curves stay within their bounds, double, reset, and spread.
 */
#include "common/compat.h"
#include "common/backoff.h"

#include "common/rnd.h"
#include "tests/unit/unit.h"

START_TEST(brake_doubles_with_jitter)
{
    static const int64_t middle[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
    for (int round = 0; round < 500; round++) {
        struct backoff b;
        backoff_init(&b, 1000, 60000);
        for (size_t i = 0; i < CB_ARRAY_LEN(middle); i++) {
            int64_t wait = backoff_next_brake(&b);
            ck_assert_int_ge(wait, middle[i] - middle[i] / 5);
            ck_assert_int_le(wait, middle[i] + middle[i] / 5);
        }
    }
}
END_TEST

/* However long the shortage was, and whatever restart_max_ms is. */
START_TEST(short_brake_stays_short)
{
    struct backoff b;
    backoff_init(&b, 100, 3600000);
    for (int i = 0; i < 100; i++)
        ck_assert_int_le(backoff_next_short_brake(&b), 3000);
    ck_assert_int_ge(backoff_next_short_brake(&b), 2000);
    ck_assert_int_le(backoff_next_brake(&b), 3200 + 3200 / 5);
    backoff_init(&b, 100, 1000);
    b.failures = 9;
    ck_assert_int_le(backoff_next_short_brake(&b), 1200);
}
END_TEST

START_TEST(full_jitter_within_bounds)
{
    static const int64_t cap[] = {100, 200, 400, 800, 1500, 1500};
    for (int round = 0; round < 500; round++) {
        struct backoff b;
        backoff_init(&b, 50, 1500);
        for (size_t i = 0; i < CB_ARRAY_LEN(cap); i++) {
            int64_t wait = backoff_next_full_jitter(&b);
            ck_assert_int_ge(wait, 50);
            ck_assert_int_le(wait, cap[i]);
        }
    }
}
END_TEST

START_TEST(full_jitter_may_begin_wide)
{
    static const int64_t cap[] = {2000, 4000, 5000, 5000};
    int64_t most = 0;
    rnd_seed(1);
    for (int round = 0; round < 500; round++) {
        struct backoff b;
        backoff_init_spread(&b, 50, 2000, 5000);
        for (size_t i = 0; i < CB_ARRAY_LEN(cap); i++) {
            int64_t wait = backoff_next_full_jitter(&b);
            ck_assert_int_ge(wait, 50);
            ck_assert_int_le(wait, cap[i]);
            most = i == 0 && wait > most ? wait : most;
        }
        backoff_reset(&b);
        ck_assert_int_le(backoff_next_full_jitter(&b), 2000);
    }
    ck_assert_int_ge(most, 1900);
}
END_TEST

/* What comes next may be drawn from more, but never from more than the most. */
START_TEST(full_jitter_spread_is_set)
{
    int64_t most = 0;

    rnd_seed(4);
    for (int round = 0; round < 500; round++) {
        struct backoff b;
        backoff_init_spread(&b, 50, 2000, 5000);
        backoff_set_spread(&b, round % 2 ? 5000 : 100000);
        int64_t wait = backoff_next_full_jitter(&b);
        ck_assert_int_le(wait, 5000);
        most = wait > most ? wait : most;
        backoff_set_spread(&b, 2000);
        backoff_reset(&b);
        ck_assert_int_le(backoff_next_full_jitter(&b), 2000);
    }
    ck_assert_int_ge(most, 4700);
}
END_TEST

/* A herd of 1000 that fails together comes back spread over the whole interval. */
START_TEST(full_jitter_spreads)
{
    unsigned tenths[10] = {0};
    rnd_seed(1);
    for (int i = 0; i < 1000; i++) {
        struct backoff b;
        backoff_init(&b, 1, 1000);
        b.failures = 20;
        tenths[(backoff_next_full_jitter(&b) - 1) * 10 / 1000]++;
    }
    for (size_t i = 0; i < CB_ARRAY_LEN(tenths); i++)
        ck_assert_uint_ge(tenths[i], 60);
}
END_TEST

START_TEST(resets)
{
    struct backoff b;
    backoff_init(&b, 100, 100000);
    for (int i = 0; i < 8; i++)
        backoff_next_brake(&b);
    ck_assert_uint_eq(b.failures, 8);
    backoff_reset(&b);
    ck_assert_uint_eq(b.failures, 0);
    ck_assert_int_le(backoff_next_brake(&b), 120);
}
END_TEST

START_TEST(never_overflows)
{
    struct backoff b;
    backoff_init(&b, 1000, 3600000);
    b.failures = 4000000;
    ck_assert_int_le(backoff_next_brake(&b), 3600000 + 720000);
    ck_assert_int_le(backoff_next_full_jitter(&b), 3600000);
}
END_TEST

START_TEST(tiny_intervals)
{
    struct backoff b;
    backoff_init(&b, 1, 1);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(backoff_next_brake(&b), 1);
    backoff_reset(&b);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(backoff_next_full_jitter(&b), 1);
    backoff_init(&b, 0, 0);
    ck_assert_int_eq(backoff_next_full_jitter(&b), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, brake_doubles_with_jitter);
    tcase_add_test(tc, short_brake_stays_short);
    tcase_add_test(tc, full_jitter_within_bounds);
    tcase_add_test(tc, full_jitter_may_begin_wide);
    tcase_add_test(tc, full_jitter_spread_is_set);
    tcase_add_test(tc, full_jitter_spreads);
    tcase_add_test(tc, resets);
    tcase_add_test(tc, never_overflows);
    tcase_add_test(tc, tiny_intervals);
}

UNIT_MAIN("backoff", add_tests)
