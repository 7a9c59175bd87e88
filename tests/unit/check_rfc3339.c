/*
 * check_rfc3339.c: common/rfc3339: the grammar, the calendar, offsets, fractions, leap seconds, the range.
 */
#include "common/compat.h"
#include "common/rfc3339.h"

#include "common/clock.h"
#include "common/rnd.h"
#include "tests/unit/unit.h"

START_TEST(reads)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"2000-02-29T12:00:00Z", INT64_C(951825600000)},
        {"2026-11-21T18:20:00.123Z", INT64_C(1795285200123)},
        {"2026-11-21T18:20:00.1Z", INT64_C(1795285200100)},
        {"2026-11-21T18:20:00.123999999999999999Z", INT64_C(1795285200123)},
        {"2026-11-21T20:20:00+02:00", INT64_C(1795285200000)},
        {"2026-11-21T12:50:00-05:30", INT64_C(1795285200000)},
        {"2026-11-21T18:20:00-00:00", INT64_C(1795285200000)},
        {"2026-11-22T17:00:00+22:40", INT64_C(1795285200000)},
        {"1969-12-31T23:00:00-01:00", 0},
        {"2016-12-31T23:59:60Z", INT64_C(1483228799999)},
        {"2016-12-31T23:59:60.7Z", INT64_C(1483228799999)},
        {"2017-01-01T01:29:60+01:30", INT64_C(1483228799999)},
        {"9999-12-31T23:59:59.999Z", INT64_C(253402300799999)},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        int64_t ms = -1;
        ck_assert_msg(rfc3339_parse(rows[i].text, strlen(rows[i].text), &ms) == 0, "%s",
                      rows[i].text);
        ck_assert_msg(ms == rows[i].ms, "%s: %" PRId64, rows[i].text, ms);
    }
}
END_TEST

START_TEST(refuses)
{
    static const char *const texts[] = {
        "",
        "2026",
        "2026-11-21",
        "2026-11-21T18:20:00",
        "2026-11-21T18:20Z",
        "2026-11-21 18:20:00Z",
        "2026-11-21T18:20:00.Z",
        "2026-11-21T18:20:00,5Z",
        "2026-11-21T18:20:00Z ",
        " 2026-11-21T18:20:00Z",
        "2026-11-21T18:20:00+0200",
        "2026-11-21T18:20:00+02",
        "2026-11-21T18:20:00+24:00",
        "2026-11-21T18:20:00+02:60",
        "2026-11-21T18:20:00*02:00",
        "2026-11-21T24:00:00Z",
        "2026-11-21T18:60:00Z",
        "2026-11-21T18:20:61Z",
        "2026-11-21T18:20:60Z",
        "2017-01-01T00:59:60+01:30",
        "2026-00-21T18:20:00Z",
        "2026-13-21T18:20:00Z",
        "2026-11-00T18:20:00Z",
        "2026-11-31T18:20:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "+2026-11-21T18:20:00Z",
        "26-11-21T18:20:00Z",
        "12026-11-21T18:20:00Z",
        "2026-1-21T18:20:00Z",
        "2026-11-21T18:20:0\xef\xbc\x90Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "1969-12-31T23:59:60Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++) {
        int64_t ms = -1;
        ck_assert_msg(rfc3339_parse(texts[i], strlen(texts[i]), &ms) < 0, "%s", texts[i]);
        ck_assert_int_eq(ms, -1);
    }
    int64_t ms;
    ck_assert(rfc3339_parse("2026-11-21T18:20:00Z\0", 21, &ms) < 0);
    ck_assert(rfc3339_parse("2026-11-21\0"
                            "18:20:00Z",
                            20, &ms) < 0);
}
END_TEST

/* What clock_format_rfc3339() writes reads back as the same ms. */
START_TEST(round_trip)
{
    rnd_seed(3339);
    for (int i = 0; i < 20000; i++) {
        char text[CLOCK_RFC3339_SIZE];
        int64_t wanted = (int64_t)(rnd_u64() % UINT64_C(253402300800000)), ms = -1;
        clock_format_rfc3339(wanted, text);
        ck_assert_int_eq(rfc3339_parse(text, strlen(text), &ms), 0);
        ck_assert_int_eq(ms, wanted);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, reads);
    tcase_add_test(tc, refuses);
    tcase_add_test(tc, round_trip);
}

UNIT_MAIN("rfc3339", add_tests)
