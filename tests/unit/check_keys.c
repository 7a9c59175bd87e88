/*
 * check_keys.c: common/keys.
 */
#include "common/compat.h"
#include "common/keys.h"

#include "tests/unit/unit.h"

START_TEST(a_pattern_takes_its_parts_in_order)
{
    struct arena a = ARENA_INIT;
    ck_assert_str_eq(keys_make(&a, "cb", KEY_META), "cb:meta");
    ck_assert_str_eq(keys_make(&a, "cb", KEY_TASK, "t-1"), "cb:task:t-1");
    ck_assert_str_eq(keys_make(&a, "{cb}", KEY_QUEUE_ROLE, "build", "arm64"),
                     "{cb}:queue:build:role:arm64");
    arena_done(&a);
}
END_TEST

START_TEST(a_part_is_data)
{
    struct arena a = ARENA_INIT;
    ck_assert_str_eq(keys_make(&a, "cb", KEY_INSTANCE, "%s%n{x}*:\r\n"),
                     "cb:instance:%s%n{x}*:\r\n");
    arena_done(&a);
}
END_TEST

START_TEST(every_row_says_type_and_cap)
{
    static const char *const types[] = {"string", "hash", "list", "set", "zset", "stream", "none"};
    for (int i = 0; i < KEY_COUNT; i++) {
        const struct key_row *row = keys_row((enum key_id)i);
        bool known = false;
        for (size_t t = 0; t < CB_ARRAY_LEN(types); t++)
            known = known || strcmp(types[t], row->type) == 0;
        ck_assert_msg(known, "%s: type %s", row->pattern, row->type);
        ck_assert_msg(row->cap[0] && row->text[0], "%s", row->pattern);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_pattern_takes_its_parts_in_order);
    tcase_add_test(tc, a_part_is_data);
    tcase_add_test(tc, every_row_says_type_and_cap);
}
UNIT_MAIN("keys", add_tests)
