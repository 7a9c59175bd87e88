/*
 * check_arena.c: common/arena: alignment, zeroes, blocks of any size, what a reset keeps.
 */
#include "common/compat.h"
#include "common/arena.h"

#include "tests/unit/unit.h"

#include <signal.h>

static bool is_zero(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i])
            return false;
    }
    return true;
}

START_TEST(empty)
{
    struct arena a = ARENA_INIT;
    arena_reset(&a);
    arena_done(&a);
    arena_done(&a);
    ck_assert(a.blocks == NULL);
}
END_TEST

START_TEST(aligned_and_zeroed)
{
    struct arena a = ARENA_INIT;
    for (size_t size = 0; size < 3000; size += 7) {
        char *p = arena_alloc(&a, size);
        ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
        ck_assert(is_zero(p, size));
        memset(p, 0xaa, size);
    }
    arena_done(&a);
}
END_TEST

/* Allocations do not overlap: each keeps what was written to it. */
START_TEST(apart_from_each_other)
{
    enum { COUNT = 5000, SIZE = 40 };
    static char *parts[COUNT];
    struct arena a = ARENA_INIT;
    for (int i = 0; i < COUNT; i++) {
        parts[i] = arena_alloc(&a, SIZE);
        memset(parts[i], i % 251, SIZE);
    }
    for (int i = 0; i < COUNT; i++)
        ck_assert(parts[i][0] == (char)(i % 251) && parts[i][SIZE - 1] == (char)(i % 251));
    arena_done(&a);
}
END_TEST

START_TEST(large_blocks)
{
    struct arena a = ARENA_INIT;
    char *small = arena_alloc(&a, 10);
    char *large = arena_alloc(&a, 5 << 20);
    ck_assert(is_zero(large, 5 << 20));
    memset(large, 1, 5 << 20);
    ck_assert(is_zero(small, 10));
    arena_done(&a);
}
END_TEST

START_TEST(too_large)
{
    struct arena a = ARENA_INIT;
    arena_alloc(&a, SIZE_MAX / 2);
}
END_TEST

/* Bytes of the blocks that a reset has kept. */
static size_t kept(struct arena *a)
{
    size_t room = 0;
    while (a->spare) {
        struct arena_block *before = a->spare;
        arena_alloc(a, 16000);
        if (a->spare == before)
            break;
        room += 16384;
    }
    return room;
}

START_TEST(reset_keeps_blocks)
{
    struct arena a = ARENA_INIT;
    char *first = arena_alloc(&a, 100);
    memset(first, 0xff, 100);
    arena_reset(&a);
    char *again = arena_alloc(&a, 100);
    ck_assert_ptr_eq(first, again);
    ck_assert(is_zero(again, 100));
    char *large = arena_alloc(&a, 50000);
    memset(large, 0xff, 50000);
    arena_reset(&a);
    memset(arena_alloc(&a, 100), 0xff, 100);
    again = arena_alloc(&a, 50000);
    ck_assert_ptr_eq(large, again);
    ck_assert(is_zero(again, 50000));
    arena_done(&a);
}
END_TEST

START_TEST(reset_keeps_no_more_than_it_may)
{
    struct arena a = ARENA_INIT;
    arena_alloc(&a, 1 << 20);
    arena_reset(&a);
    ck_assert(a.blocks == NULL && a.spare == NULL);
    for (int i = 0; i < 100; i++)
        arena_alloc(&a, 16000);
    arena_reset(&a);
    ck_assert_uint_eq(kept(&a), 256 << 10);
    arena_done(&a);
}
END_TEST

START_TEST(integers)
{
    static const int64_t numbers[] = {0, 1, -1, 10, 99, -100, INT64_MAX, INT64_MIN};
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < CB_ARRAY_LEN(numbers); i++)
        ck_assert_str_eq(arena_int(&a, numbers[i]), arena_printf(&a, "%" PRId64, numbers[i]));
    arena_done(&a);
}
END_TEST

START_TEST(strings)
{
    struct arena a = ARENA_INIT;
    char *s = arena_strndup(&a, "abcdef", 3);
    ck_assert_str_eq(s, "abc");
    ck_assert_str_eq(arena_strndup(&a, NULL, 0), "");
    char *bytes = arena_strndup(&a, "a\0b", 3);
    ck_assert_mem_eq(bytes, "a\0b", 4);
    ck_assert_str_eq(arena_printf(&a, "%s=%d", "x", 7), "x=7");
    char *wide = arena_printf(&a, "%030000d", 1);
    ck_assert_uint_eq(strlen(wide), 30000);
    ck_assert_str_eq(s, "abc");
    arena_done(&a);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, empty);
    tcase_add_test(tc, aligned_and_zeroed);
    tcase_add_test(tc, apart_from_each_other);
    tcase_add_test(tc, large_blocks);
    if (unit_forks())
        tcase_add_test_raise_signal(tc, too_large, SIGABRT);
    tcase_add_test(tc, reset_keeps_blocks);
    tcase_add_test(tc, reset_keeps_no_more_than_it_may);
    tcase_add_test(tc, integers);
    tcase_add_test(tc, strings);
}

UNIT_MAIN("arena", add_tests)
