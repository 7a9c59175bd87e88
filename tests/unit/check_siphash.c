/*
 * check_siphash.c: common/siphash against the vectors of its authors (key 00…0f, text 00 01 02 …).
 */
#include "common/compat.h"
#include "common/siphash.h"

#include "tests/unit/unit.h"

static const struct {
    size_t len;
    uint64_t hash;
} vectors[] = {
    {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
    {2, UINT64_C(0x0d6c8009d9a94f5a)},  {8, UINT64_C(0x93f5f5799a932462)},
    {15, UINT64_C(0xa129ca6149be45e5)}, {63, UINT64_C(0x958a324ceb064572)},
};

START_TEST(vectors_of_its_authors)
{
    unsigned char key[16], text[64];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)i;
    memcpy(key, text, sizeof key);
    for (size_t i = 0; i < CB_ARRAY_LEN(vectors); i++)
        ck_assert_uint_eq(siphash(text, vectors[i].len, key), vectors[i].hash);
}
END_TEST

START_TEST(nothing_and_any_address)
{
    unsigned char key[16] = "params of a key", text[32] = {0};
    ck_assert_uint_eq(siphash(NULL, 0, key), siphash(text, 0, key));
    memset(text, 'x', sizeof text);
    for (size_t i = 1; i < 8; i++)
        ck_assert_uint_eq(siphash(text + i, 20, key), siphash(text, 20, key));
    ck_assert_uint_ne(siphash(text, 19, key), siphash(text, 20, key));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, vectors_of_its_authors);
    tcase_add_test(tc, nothing_and_any_address);
}

UNIT_MAIN("siphash", add_tests)
