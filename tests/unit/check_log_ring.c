/*
 * check_log_ring.c: common/log_ring: the newest lines in their order, whole ones only, cut between characters; and what the log
 * keeps in it.
 */
#include "common/compat.h"
#include "common/log_ring.h"

#include "common/log.h"
#include "tests/unit/unit.h"

static struct log_ring ring;
static struct log_ring_line lines[LOG_RING_LINES];

static void setup(void)
{
    memset(&ring, 0, sizeof ring);
}

static void put(int n)
{
    const struct log_ring_line line = {.wall_ms = n, .pid = n, .level = 2, .program = "p"};
    char text[32];

    snprintf(text, sizeof text, "event=e%d", n);
    log_ring_put(&ring, &line, text, strlen(text));
}

START_TEST(keeps_the_newest)
{
    ck_assert_uint_eq(log_ring_read(&ring, lines, LOG_RING_LINES), 0);
    for (int i = 0; i < 5; i++)
        put(i);
    ck_assert_uint_eq(log_ring_read(&ring, lines, LOG_RING_LINES), 5);
    ck_assert_str_eq(lines[0].text, "event=e0");
    for (int i = 5; i < 100; i++)
        put(i);
    ck_assert_uint_eq(log_ring_read(&ring, lines, LOG_RING_LINES), LOG_RING_LINES);
    ck_assert_int_eq(lines[0].wall_ms, 100 - LOG_RING_LINES);
    ck_assert_str_eq(lines[LOG_RING_LINES - 1].text, "event=e99");
    ck_assert_uint_eq(log_ring_read(&ring, lines, 3), 3);
    ck_assert_str_eq(lines[0].text, "event=e97");
}
END_TEST

START_TEST(leaves_out_half_written)
{
    for (int i = 0; i < 4; i++)
        put(i);
    atomic_store(&ring.lines[1].seq, 2 * 1 + 1); /* its writer died */
    ck_assert_uint_eq(log_ring_read(&ring, lines, LOG_RING_LINES), 3);
    ck_assert_str_eq(lines[0].text, "event=e0");
    ck_assert_str_eq(lines[1].text, "event=e2");
}
END_TEST

START_TEST(cuts_between_characters)
{
    const struct log_ring_line line = {.program = "p"};
    char text[2 * LOG_RING_TEXT + 1];

    memset(text, 'x', sizeof text);
    log_ring_put(&ring, &line, text, LOG_RING_TEXT - 1);
    for (int i = 0; i < LOG_RING_TEXT; i++)
        memcpy(text + 2 * i, "\xc3\xa9", 2); /* é */
    log_ring_put(&ring, &line, text, 2 * LOG_RING_TEXT);
    ck_assert_uint_eq(log_ring_read(&ring, lines, LOG_RING_LINES), 2);
    ck_assert_uint_eq(strlen(lines[0].text), LOG_RING_TEXT - 1);
    size_t len = strlen(lines[1].text);
    ck_assert_uint_lt(len, LOG_RING_TEXT);
    ck_assert_uint_gt(len, LOG_RING_TEXT - 8);
    ck_assert_str_eq(lines[1].text + len - 5, "\xc3\xa9\xe2\x80\xa6");
}
END_TEST

START_TEST(keeps_what_is_logged)
{
    const struct log_settings settings = {LOG_LEVEL_DEBUG, LOG_FORMAT_JSON, "/dev/null"};
    struct cb_error err;

    ck_assert_int_eq(log_open(&settings, &err), 0);
    log_ident("claudebench-test", "task/1");
    log_set_ring(&ring);
    log_event(EV_child_died, LOG_S("service", "a b\x1b"), LOG_SECRET("password"));
    log_set_ring(NULL);
    log_event(EV_child_died, LOG_S("service", "not kept"));
    log_close();
    ck_assert_uint_eq(log_ring_read(&ring, lines, LOG_RING_LINES), 1);
    ck_assert_str_eq(lines[0].program, "claudebench-test");
    ck_assert_int_eq(lines[0].pid, getpid());
    ck_assert_int_eq(lines[0].level, (int)log_event_level(EV_child_died));
    ck_assert_int_gt(lines[0].wall_ms, 0);
    ck_assert_str_eq(lines[0].text,
                     "event=child_died context=task/1 service=\"a b\\x1b\" password=***");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, keeps_the_newest);
    tcase_add_test(tc, leaves_out_half_written);
    tcase_add_test(tc, cuts_between_characters);
    tcase_add_test(tc, keeps_what_is_logged);
}

UNIT_MAIN("log_ring", add_tests)
