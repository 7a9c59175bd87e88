/*
 * check_rnd.c: common/rnd: the generator's known sequence, tokens, and that secrets differ.
 */
#include "common/compat.h"
#include "common/rnd.h"

#include "tests/unit/unit.h"

/* The first values of SplitMix64 for seed 0. */
START_TEST(known_sequence)
{
    rnd_seed(0);
    ck_assert_uint_eq(rnd_u64(), UINT64_C(0xe220a8397b1dcdaf));
    ck_assert_uint_eq(rnd_u64(), UINT64_C(0x6e789e6aa1b965f4));
    ck_assert_uint_eq(rnd_u64(), UINT64_C(0x06c45d188009454f));
    rnd_seed(0);
    ck_assert_uint_eq(rnd_u64(), UINT64_C(0xe220a8397b1dcdaf));
}
END_TEST

/* Each of these tests runs in a process of its own, so the generator has no seed yet. */
START_TEST(seeds_itself)
{
    uint64_t first = rnd_u64();
    ck_assert_uint_ne(first, rnd_u64());
    ck_assert_uint_ne(first, UINT64_C(0xe220a8397b1dcdaf));
}
END_TEST

START_TEST(secrets)
{
    unsigned char a[32] = {0}, b[32] = {0};
    rnd_secret(a, sizeof a);
    rnd_secret(b, sizeof b);
    ck_assert_mem_ne(a, b, sizeof a);
    memset(a, 0x55, sizeof a);
    rnd_secret(a, 0);
    rnd_secret(a, 1);
    for (size_t i = 1; i < sizeof a; i++)
        ck_assert_uint_eq(a[i], 0x55);
}
END_TEST

/* getrandom(2) gives at most 256 bytes in one piece for sure. */
START_TEST(long_secrets)
{
    static unsigned char bytes[100000];
    unsigned counts[256] = {0};
    rnd_secret(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        counts[bytes[i]]++;
    for (size_t i = 0; i < CB_ARRAY_LEN(counts); i++)
        ck_assert_uint_gt(counts[i], 200);
}
END_TEST

START_TEST(secrets_ignore_the_seed)
{
    unsigned char a[16], b[16];
    rnd_seed(1);
    rnd_secret(a, sizeof a);
    rnd_seed(1);
    rnd_secret(b, sizeof b);
    ck_assert_mem_ne(a, b, sizeof a);
}
END_TEST

START_TEST(tokens)
{
    char token[65], other[65];
    for (size_t len = 0; len < sizeof token; len++) {
        memset(token, '!', sizeof token);
        rnd_token(token, len);
        ck_assert_uint_eq(strlen(token), len);
        ck_assert_uint_eq(strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                        "0123456789_-"),
                          len);
    }
    rnd_token(other, 64);
    ck_assert_str_ne(token, other);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, known_sequence);
    tcase_add_test(tc, seeds_itself);
    tcase_add_test(tc, secrets);
    tcase_add_test(tc, long_secrets);
    tcase_add_test(tc, secrets_ignore_the_seed);
    tcase_add_test(tc, tokens);
}

UNIT_MAIN("rnd", add_tests)
