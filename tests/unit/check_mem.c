/*
 * check_mem.c: common/mem: what is given is zeroed and whole; out of memory ends the process with its own code.
 */
#include "common/compat.h"
#include "common/mem.h"

#include "common/exitcode.h"
#include "tests/unit/unit.h"

START_TEST(zeroed)
{
    static const char nothing[300];
    char *p = mem_alloc(sizeof nothing);
    char *q = mem_calloc(3, 100);

    ck_assert_mem_eq(p, nothing, sizeof nothing);
    ck_assert_mem_eq(q, nothing, sizeof nothing);
    free(p);
    free(q);
}
END_TEST

START_TEST(a_size_of_zero_is_a_pointer_of_its_own)
{
    void *p = mem_alloc(0), *q = mem_calloc(0, 8), *r = mem_realloc(NULL, 0);

    ck_assert(p && q && r);
    ck_assert(p != q && p != r && q != r);
    free(p);
    free(q);
    free(r);
}
END_TEST

START_TEST(realloc_keeps_what_is_there)
{
    char *p = mem_strndup("abc", 3);

    p = mem_realloc(p, 100000);
    ck_assert_mem_eq(p, "abc", 3);
    p = mem_realloc(p, 2);
    ck_assert_mem_eq(p, "ab", 2);
    free(p);
}
END_TEST

START_TEST(copies)
{
    char *whole = mem_strdup("a text"), *part = mem_strndup("a text", 3),
         *none = mem_strndup(NULL, 0);
    char *bytes = mem_strndup("a\0b", 3), *long_one = mem_printf("%0*d", 5000, 7);

    ck_assert_str_eq(whole, "a text");
    ck_assert_str_eq(part, "a t");
    ck_assert_str_eq(none, "");
    ck_assert_mem_eq(bytes, "a\0b", 3);
    ck_assert_uint_eq(strlen(long_one), 5000);
    free(whole);
    free(part);
    free(none);
    free(bytes);
    free(long_one);
}
END_TEST

START_TEST(the_cleanup_leaves_nothing_behind)
{
    char *p = mem_strdup("x");
    mem_free_ptr(&p);
    ck_assert_ptr_null(p);
    mem_free_ptr(&p);
    {
        char *scoped CB_CLEANUP(mem_free_ptr) = mem_strdup("freed at the end of the scope");
        ck_assert_ptr_nonnull(scoped);
    }
}
END_TEST

/* The loop tests: each ends in a process of its own, with EXITCODE_NOMEM. The sizes are volatile, so that no compiler
 * complains about them. */
static volatile size_t huge = PTRDIFF_MAX;
static volatile size_t half = SIZE_MAX / 2 + 2;

static void *too_much(void)
{
    return mem_alloc(huge);
}

/* count × size is 2 × (2^63 + 1) = 2: it must not be given two bytes. */
static void *overflow(void)
{
    return mem_calloc(2, half);
}

static void *grown_too_far(void)
{
    return mem_realloc(mem_alloc(1), huge);
}

static void *(*const exhausting[])(void) = {too_much, overflow, grown_too_far};

START_TEST(out_of_memory)
{
    free(exhausting[_i]()); /* does not come back */
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, zeroed);
    tcase_add_test(tc, a_size_of_zero_is_a_pointer_of_its_own);
    tcase_add_test(tc, realloc_keeps_what_is_there);
    tcase_add_test(tc, copies);
    tcase_add_test(tc, the_cleanup_leaves_nothing_behind);
    if (unit_forks())
        tcase_add_loop_exit_test(tc, out_of_memory, EXITCODE_NOMEM, 0, CB_ARRAY_LEN(exhausting));
}

UNIT_MAIN("mem", add_tests)
