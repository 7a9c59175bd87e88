/*
 * check_ack.c: common/ack.
 */
#include "common/compat.h"
#include "common/ack.h"

#include "tests/unit/unit.h"

START_TEST(levels)
{
    static const struct {
        const char *text;
        struct ack ack;
    } good[] = {
        {"memory", {ACK_MEMORY, 0}},       {"local-fsync", {ACK_FSYNC, 0}},
        {"replica:1", {ACK_REPLICA, 1}},   {"replica:9", {ACK_REPLICA, 9}},
        {"replica:10", {ACK_REPLICA, 10}}, {"replica:16", {ACK_REPLICA, 16}},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(good); i++) {
        struct ack ack = {ACK_MEMORY, 99};
        ck_assert_int_eq(ack_parse(good[i].text, strlen(good[i].text), &ack), 0);
        ck_assert_int_eq(ack.level, good[i].ack.level);
        ck_assert_uint_eq(ack.replicas, good[i].ack.replicas);
    }
}
END_TEST

START_TEST(anything_else_is_refused_and_changes_nothing)
{
    static const char *const bad[] = {
        "",           "m",          "memory ",     " memory",    "Memory",
        "local",      "replica",    "replica:",    "replica:0",  "replica:01",
        "replica:17", "replica:99", "replica:-1",  "replica:+1", "replica:1x",
        "replica: 1", "replica:1 ", "replica:100", "replica:x"};
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        struct ack ack = {ACK_REPLICA, 99};
        ck_assert_msg(ack_parse(bad[i], strlen(bad[i]), &ack) == -1, "\"%s\"", bad[i]);
        ck_assert_uint_eq(ack.replicas, 99);
    }
    struct ack ack;
    ck_assert_int_eq(ack_parse("memory\0", 7, &ack), -1);
    ck_assert_int_eq(ack_parse("replica:12345", 9, &ack), 0); /* only what is its */
    ck_assert_uint_eq(ack.replicas, 1);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, levels);
    tcase_add_test(tc, anything_else_is_refused_and_changes_nothing);
}

UNIT_MAIN("ack", add_tests)
