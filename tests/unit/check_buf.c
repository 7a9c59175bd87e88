/*
 * check_buf.c: common/buf: growth, the NUL behind the data, consuming, taking.
 */
#include "common/compat.h"
#include "common/buf.h"

#include "tests/unit/unit.h"

#include <signal.h>

START_TEST(starts_empty)
{
    struct buf b = BUF_INIT;
    ck_assert_str_eq(buf_peek(&b), "");
    ck_assert_uint_eq(b.len, 0);
    buf_reset(&b);
    buf_consume(&b, 0);
    buf_done(&b);
    memset(&b, 0x55, sizeof b);
    buf_init(&b);
    ck_assert(b.data == NULL && b.len == 0 && b.cap == 0);
}
END_TEST

START_TEST(appends)
{
    struct buf b = BUF_INIT;
    buf_append(&b, "a\0b", 3);
    buf_append(&b, NULL, 0);
    buf_puts(&b, "cd");
    buf_puts(&b, "");
    buf_putc(&b, '\0');
    buf_putc(&b, 'e');
    ck_assert_uint_eq(b.len, 7);
    ck_assert_mem_eq(b.data, "a\0bcd\0e", 8);
    buf_done(&b);
    ck_assert(b.data == NULL && b.len == 0);
}
END_TEST

START_TEST(grows)
{
    struct buf b = BUF_INIT;
    for (int i = 0; i < 100000; i++) {
        buf_putc(&b, (char)('a' + i % 26));
        ck_assert(b.data[b.len] == '\0' && b.len < b.cap);
    }
    ck_assert_uint_eq(b.len, 100000);
    for (int i = 0; i < 100000; i++)
        ck_assert(b.data[i] == 'a' + i % 26);
    ck_assert_uint_le(b.cap, 400000);
    buf_done(&b);
}
END_TEST

START_TEST(formats)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s-%d", "x", 5);
    buf_printf(&b, "%s", "");
    buf_printf(&b, "%0200d", 7);
    ck_assert_uint_eq(b.len, 203);
    ck_assert_int_eq(strncmp(b.data, "x-50000", 7), 0);
    ck_assert_str_eq(b.data + 198, "00007");
    buf_done(&b);
}
END_TEST

START_TEST(integers)
{
    struct buf b = BUF_INIT;
    buf_put_int(&b, INT64_MIN);
    buf_putc(&b, ' ');
    buf_put_int(&b, INT64_MAX);
    buf_putc(&b, ' ');
    buf_put_int(&b, 0);
    ck_assert_str_eq(b.data, "-9223372036854775808 9223372036854775807 0");
    buf_done(&b);
}
END_TEST

START_TEST(reserves)
{
    struct buf b = BUF_INIT;
    char *to = buf_reserve(&b, 1000);
    ck_assert_ptr_eq(to, b.data);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_str_eq(buf_peek(&b), "");
    memset(to, 'x', 1000);
    b.len += 1000;
    b.data[b.len] = '\0';
    ck_assert_ptr_eq(buf_reserve(&b, 0), b.data + 1000);
    ck_assert_uint_ge(b.cap, 1001);
    buf_done(&b);
}
END_TEST

START_TEST(reserving_too_much)
{
    struct buf b = BUF_INIT;
    buf_reserve(&b, SIZE_MAX / 2);
}
END_TEST

START_TEST(reset_keeps_the_memory)
{
    struct buf b = BUF_INIT;
    buf_puts(&b, "something");
    char *data = b.data;
    buf_reset(&b);
    ck_assert_str_eq(buf_peek(&b), "");
    buf_puts(&b, "else");
    ck_assert_ptr_eq(b.data, data);
    ck_assert_str_eq(b.data, "else");
    buf_done(&b);
}
END_TEST

START_TEST(consumes)
{
    struct buf b = BUF_INIT;
    buf_puts(&b, "0123456789");
    buf_consume(&b, 0);
    buf_consume(&b, 4);
    ck_assert_str_eq(b.data, "456789");
    ck_assert_uint_eq(b.len, 6);
    buf_consume(&b, 6);
    ck_assert_str_eq(b.data, "");
    buf_done(&b);
}
END_TEST

START_TEST(consuming_too_much)
{
    struct buf b = BUF_INIT;
    buf_puts(&b, "0123");
    buf_consume(&b, 5);
}
END_TEST

START_TEST(taken)
{
    struct buf b = BUF_INIT;
    char *empty = buf_take(&b);
    ck_assert_str_eq(empty, "");
    buf_puts(&b, "mine");
    char *mine = buf_take(&b);
    ck_assert_str_eq(mine, "mine");
    ck_assert(b.data == NULL && b.len == 0 && b.cap == 0);
    buf_puts(&b, "again");
    ck_assert_str_eq(buf_peek(&b), "again");
    buf_done(&b);
    free(empty);
    free(mine);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, starts_empty);
    tcase_add_test(tc, appends);
    tcase_add_test(tc, grows);
    tcase_add_test(tc, formats);
    tcase_add_test(tc, integers);
    tcase_add_test(tc, reserves);
    if (unit_forks())
        tcase_add_test_raise_signal(tc, reserving_too_much, SIGABRT);
    tcase_add_test(tc, reset_keeps_the_memory);
    tcase_add_test(tc, consumes);
    if (unit_forks())
        tcase_add_test_raise_signal(tc, consuming_too_much, SIGABRT);
    tcase_add_test(tc, taken);
}

UNIT_MAIN("buf", add_tests)
