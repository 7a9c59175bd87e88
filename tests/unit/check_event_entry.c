/*
 * check_event_entry.c: common/event_entry and the sorted list of common/event_channel.
 */
#include "common/compat.h"
#include "common/event_channel.h"

#include "tests/unit/unit.h"

#include <utlist.h>

START_TEST(ids)
{
    static const char *const good[] = {"0", "1-0", "123-45",
                                       "18446744073709551615-18446744073709551615"};
    static const char *const bad[] = {"",
                                      "-",
                                      "-1",
                                      "1-",
                                      "1-2-3",
                                      "x",
                                      "1x",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "1--2",
                                      "1-+2",
                                      "1-x",
                                      "1 - 2",
                                      "0x1-0",
                                      "$",
                                      "18446744073709551616"};
    struct stream_id id;
    char text[STREAM_ID_SIZE];

    for (size_t i = 0; i < CB_ARRAY_LEN(good); i++) {
        ck_assert_msg(stream_id_parse(good[i], &id), "%s", good[i]);
        stream_id_put(id, text);
        ck_assert_str_eq(text, strchr(good[i], '-') ? good[i] : "0-0");
    }
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        id = (struct stream_id){7, 7};
        ck_assert_msg(!stream_id_parse(bad[i], &id), "%s", bad[i]);
        ck_assert_uint_eq(id.ms, 7);
    }
}
END_TEST

START_TEST(order)
{
    static const struct stream_id rising[] = {{0, 0},          {0, 1}, {1, 0},
                                              {1, UINT64_MAX}, {2, 0}, {UINT64_MAX, 0}};
    for (size_t i = 0; i < CB_ARRAY_LEN(rising); i++)
        for (size_t k = 0; k < CB_ARRAY_LEN(rising); k++) {
            int want = (i > k) - (i < k), got = stream_id_compare(rising[i], rising[k]);
            ck_assert_int_eq((got > 0) - (got < 0), want);
        }
}
END_TEST

static struct event_entry *entry(const char *json)
{
    struct json_span span;
    ck_assert_int_eq(json_check(json, strlen(json), &span, NULL, NULL), 0);
    return event_entry_from_json(span);
}

START_TEST(from_a_message)
{
    struct event_entry *e = entry(
        "[\"5-1\",\"type\",\"a.b\",\"n\",12,\"s\",\"\\u0000x\",\"left over\"]");
    ck_assert_ptr_nonnull(e);
    ck_assert_str_eq(e->type, "a.b");
    ck_assert_uint_eq(e->nfields, 3);
    ck_assert_str_eq(e->fields[1].value, "12");
    ck_assert_uint_eq(e->fields[2].value_len, 2);
    ck_assert_int_eq(memcmp(e->fields[2].value, "\0x", 2), 0);
    event_entry_free(e);
    e = entry("[\"7\"]");
    ck_assert_ptr_nonnull(e);
    ck_assert_str_eq(e->type, "");
    event_entry_free(e);
    static const char *const none[] = {"{}",      "[]",          "\"5-1\"", "[5.5]",
                                       "[\"x\"]", "[[\"5-1\"]]", "null"};
    for (size_t i = 0; i < CB_ARRAY_LEN(none); i++)
        ck_assert_ptr_null(entry(none[i]));
    event_entry_free(NULL);
}
END_TEST

START_TEST(a_list_is_sorted_and_has_each_once)
{
    static const char *const unsorted[] = {"[\"3-0\"]", "[\"1-0\"]", "[\"2-5\"]", "[\"3-0\"]",
                                           "[\"1-0\"]", "[\"2-4\"]", "[\"9-0\"]"};
    static const char *const wanted[] = {"1-0", "2-4", "2-5", "3-0", "9-0"};
    struct event_entry *list = NULL, *e, *next;
    size_t n = 0;

    for (size_t i = 0; i < CB_ARRAY_LEN(unsorted); i++)
        event_list_insert(&list, entry(unsorted[i]));
    DL_FOREACH_SAFE(list, e, next)
    {
        char text[STREAM_ID_SIZE];
        stream_id_put(e->id, text);
        ck_assert_uint_lt(n, CB_ARRAY_LEN(wanted));
        ck_assert_str_eq(text, wanted[n++]);
        DL_DELETE(list, e);
        event_entry_free(e);
    }
    ck_assert_uint_eq(n, CB_ARRAY_LEN(wanted));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, ids);
    tcase_add_test(tc, order);
    tcase_add_test(tc, from_a_message);
    tcase_add_test(tc, a_list_is_sorted_and_has_each_once);
}

UNIT_MAIN("event_entry", add_tests)
