/*
 * check_interval.c: lengths of time as people write them.
 */
#include "common/compat.h"
#include "unit.h"

#include "client/interval.h"

START_TEST(reads)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0},          {"1500", 1500000}, {"20ms", 20},
                {"90s", 90000},    {"15m", 900000},   {"6h", 21600000},
                {"2d", 172800000}, {"007s", 7000},    {"9223372036854775807ms", INT64_MAX}};
    static const char *const bad[] = {"",
                                      "s",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 s",
                                      "1.5s",
                                      "1S",
                                      "1sm",
                                      "1min",
                                      "0x1s",
                                      "1s ",
                                      "inf",
                                      "9223372036854775808",
                                      "9223372036854776",
                                      "106751991168d"};
    int64_t ms;

    for (size_t i = 0; i < CB_ARRAY_LEN(good); i++) {
        ck_assert_msg(interval_parse(good[i].text, false, &ms) == 0, "%s", good[i].text);
        ck_assert_int_eq(ms, good[i].ms);
    }
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++)
        ck_assert_msg(interval_parse(bad[i], false, &ms) != 0, "%s", bad[i]);
    ck_assert_int_eq(interval_parse("1500", true, &ms), -1);
    ck_assert_int_eq(interval_parse("1500ms", true, &ms), 0);
}
END_TEST

START_TEST(writes)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {{0, "0ms"},     {1, "1ms"},      {1500, "1500ms"},
                {90000, "90s"}, {3600000, "1h"}, {172800000, "2d"}};
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;

    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        buf_reset(&out);
        interval_put(&out, rows[i].ms);
        ck_assert_str_eq(buf_peek(&out), rows[i].text);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, reads);
    tcase_add_test(tc, writes);
}

UNIT_MAIN("interval", add_tests)
