/*
 * check_clock.c: common/clock: the real clocks, the fake ones, and RFC 3339 on the way out.
 */
#include "common/compat.h"
#include "common/clock.h"

#include "tests/unit/unit.h"

START_TEST(mono_never_goes_back)
{
    int64_t last = clock_mono_us();
    for (int i = 0; i < 10000; i++) {
        int64_t now = clock_mono_us();
        ck_assert_int_ge(now, last);
        last = now;
    }
    ck_assert_int_ge(clock_mono_ms(), last / 1000);
}
END_TEST

START_TEST(wall_is_after_this_was_written)
{
    ck_assert_int_gt(clock_wall_ms(), INT64_C(1704067200000)); /* 2024 */
    ck_assert_int_lt(clock_wall_us(), INT64_C(253402300800000000));
}
END_TEST

START_TEST(fake)
{
    clock_fake_set(5000, 1700000000000000);
    ck_assert_int_eq(clock_mono_us(), 5000);
    ck_assert_int_eq(clock_mono_ms(), 5);
    ck_assert_int_eq(clock_wall_ms(), INT64_C(1700000000000));
    clock_fake_advance_us(1999);
    ck_assert_int_eq(clock_mono_ms(), 6);
    ck_assert_int_eq(clock_wall_us(), INT64_C(1700000000001999));
    clock_fake_stop();
    ck_assert_int_ne(clock_wall_ms(), INT64_C(1700000000001));
}
END_TEST

START_TEST(formats)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
        {INT64_C(951825600007), "2000-02-29T12:00:00.007Z"},
        {INT64_C(1795285200123), "2026-11-21T18:20:00.123Z"},
        {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        char text[CLOCK_RFC3339_SIZE];
        clock_format_rfc3339(rows[i].ms, text);
        ck_assert_str_eq(text, rows[i].text);
    }
}
END_TEST

/* Whatever the number, nothing is written behind the buffer (ASan and valgrind watch). */
START_TEST(formats_anything)
{
    static const int64_t numbers[] = {INT64_MIN, INT64_MAX, INT64_C(253402300800000), -1};
    for (size_t i = 0; i < CB_ARRAY_LEN(numbers); i++) {
        char *text = malloc(CLOCK_RFC3339_SIZE);
        ck_assert_ptr_nonnull(text);
        clock_format_rfc3339(numbers[i], text);
        ck_assert_uint_lt(strlen(text), CLOCK_RFC3339_SIZE);
        free(text);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, mono_never_goes_back);
    tcase_add_test(tc, wall_is_after_this_was_written);
    tcase_add_test(tc, fake);
    tcase_add_test(tc, formats);
    tcase_add_test(tc, formats_anything);
}

UNIT_MAIN("clock", add_tests)
