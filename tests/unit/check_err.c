/*
 * check_err.c: common/err and common/mem.
 */
#include "common/compat.h"
#include "common/err.h"
#include "common/mem.h"

#include "tests/unit/unit.h"

START_TEST(an_error_keeps_code_and_text)
{
    struct cb_error err = {0};
    ck_assert_int_eq(cb_error_set(&err, 7, "no %s here", "luck"), -1);
    ck_assert_int_eq(err.code, 7);
    ck_assert_str_eq(err.text, "no luck here");
    ck_assert_int_eq(cb_error_prefix(&err, "file %d", 3), -1);
    ck_assert_str_eq(err.text, "file 3: no luck here");
}
END_TEST

START_TEST(nobody_has_to_listen)
{
    ck_assert_int_eq(cb_error_set(NULL, 1, "x"), -1);
    ck_assert_int_eq(cb_error_prefix(NULL, "x"), -1);
}
END_TEST

START_TEST(long_texts_are_cut_and_ended)
{
    struct cb_error err = {0};
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    cb_error_set(&err, 1, "%s", text);
    ck_assert_uint_eq(strlen(err.text), sizeof err.text - 1);
    cb_error_prefix(&err, "p");
    ck_assert_uint_lt(strlen(err.text), sizeof err.text);
    ck_assert_int_eq(strncmp(err.text, "p: xxx", 6), 0);
    cb_error_prefix(&err, "%s", text);
    ck_assert_uint_eq(strlen(err.text), sizeof err.text - 1);
}
END_TEST

START_TEST(memory_is_zeroed_and_copies_are_ended)
{
    char *p = mem_alloc(64);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(p[i], 0);
    free(p);
    p = mem_strndup("abcdef", 3);
    ck_assert_str_eq(p, "abc");
    free(p);
    p = mem_printf("%d-%s", 5, "x");
    ck_assert_str_eq(p, "5-x");
    mem_free_ptr(&p);
    ck_assert_ptr_null(p);
    free(mem_alloc(0));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, an_error_keeps_code_and_text);
    tcase_add_test(tc, nobody_has_to_listen);
    tcase_add_test(tc, long_texts_are_cut_and_ended);
    tcase_add_test(tc, memory_is_zeroed_and_copies_are_ended);
}
UNIT_MAIN("err", add_tests)
