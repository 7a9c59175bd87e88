/*
 * check_fields.c: common/fields: every type with its edges, and the words of each refusal. What is about objects and
 * their members is in check_fields_members.c.
 */
#include "common/compat.h"
#include "tests/unit/fields_fixture.h"

#include "common/mem.h"

/* --- Types -------------------------------------------------------------------------------------- */

START_TEST(strings)
{
    static const struct refusal refusals[] = {
        {"{\"text\":\"\"}", "text", "string of 1 to 10 bytes", "empty string"},
        {"{\"text\":\"12345678901\"}", "text", "string of 1 to 10 bytes", "string of 11 bytes"},
        {"{\"text\":\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\\u00e9\"}", "text",
         "string of 1 to 10 bytes", "string of 12 bytes"},
        {"{\"text\":\"a\\u0000b\"}", "text", "string of 1 to 10 bytes", "string with a NUL"},
        {"{\"text\":5}", "text", "string of 1 to 10 bytes", "number 5"},
        {"{\"text\":null}", "text", "string of 1 to 10 bytes", "null"},
        {"{\"text\":[\"a\"]}", "text", "string of 1 to 10 bytes", "array"},
        {"{\"note\":{}}", "note", "string", "object"},
        {"{\"code\":\"ab\"}", "code", "string of exactly 3 bytes", "string of 2 bytes"},
    };
    const struct field_value *v = good("text", "\"1234567890\"");
    ck_assert_str_eq(v->str, "1234567890");
    ck_assert_uint_eq(v->len, 10);
    v = good("text", "\"\\u0061\\n\\u20ac\xe2\x82\xac\"");
    ck_assert_str_eq(v->str, "a\n\xe2\x82\xac\xe2\x82\xac");
    ck_assert_uint_eq(v->len, 8);
    ck_assert_str_eq(good("note", "\"\"")->str, "");
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

START_TEST(ids)
{
    static const char expected[] = "string of 1 to 128 bytes without control characters";
    static const struct refusal refusals[] = {
        {"{\"workerId\":\"\"}", "workerId", expected, "empty string"},
        {"{\"workerId\":\"a\\nb\"}", "workerId", expected, "string \"a\\nb\""},
        {"{\"workerId\":\"\\u001b[31m\"}", "workerId", expected, "string \"\\x1b[31m\""},
        {"{\"workerId\":\"\x7f\"}", "workerId", expected, "string \"\\x7f\""},
        {"{\"workerId\":\"\\u0085\"}", "workerId", expected, "string \"\\xc2\\x85\""},
        {"{\"workerId\":\"\\u0000\"}", "workerId", expected, "string \"\\x00\""},
        {"{\"workerId\":true}", "workerId", expected, "boolean"},
    };
    ck_assert_str_eq(good("workerId", "\"host1:8080/\xc3\xa9 \xc2\xa0\"")->str,
                     "host1:8080/\xc3\xa9 \xc2\xa0");
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

START_TEST(id_length)
{
    char *longest = mem_printf("\"%0128d\"", 7);
    char *longer = mem_printf("{\"workerId\":\"%0129d\"}", 7);
    ck_assert_uint_eq(good("workerId", longest)->len, 128);
    ck_assert_int_eq(parse(longer), -1);
    ck_assert_str_eq(problem.got, "string of 129 bytes");
    free(longest);
    free(longer);
}
END_TEST

START_TEST(names)
{
    static const char expected[] =
        "name of 1 to 64 letters, digits, '_', '.', '-', first a letter or digit";
    static const char own[] =
        "a name other than tasks, instance, current, latest, detected, recovery";
    static const struct refusal refusals[] = {
        {"{\"queue\":\"\"}", "queue", expected, "empty string"},
        {"{\"queue\":\".a\"}", "queue", expected, "string \".a\""},
        {"{\"queue\":\"_a\"}", "queue", expected, "string \"_a\""},
        {"{\"queue\":\"a b\"}", "queue", expected, "string \"a b\""},
        {"{\"queue\":\"a:b\"}", "queue", expected, "string \"a:b\""},
        {"{\"queue\":\"a\\u0000\"}", "queue", expected, "string \"a\\x00\""},
        {"{\"queue\":\"\xc3\xa9\"}", "queue", expected, "string \"\xc3\xa9\""},
        {"{\"queue\":\"tasks\"}", "queue", own, "string \"tasks\""},
        {"{\"queue\":\"instance\"}", "queue", own, "string \"instance\""},
        {"{\"queue\":\"current\"}", "queue", own, "string \"current\""},
        {"{\"queue\":\"latest\"}", "queue", own, "string \"latest\""},
        {"{\"queue\":\"detected\"}", "queue", own, "string \"detected\""},
        {"{\"queue\":\"r\\u0065covery\"}", "queue", own, "string \"recovery\""},
    };
    static const char *const fine[] = {"\"default\"", "\"a\"",     "\"7\"",     "\"A.b_c-9\"",
                                       "\"task\"",    "\"Tasks\"", "\"tasks2\""};
    for (size_t i = 0; i < CB_ARRAY_LEN(fine); i++)
        good("queue", fine[i]);
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

START_TEST(name_length)
{
    char *longest = mem_printf("\"%064d\"", 7);
    char *longer = mem_printf("{\"queue\":\"%065d\"}", 7);
    good("queue", longest);
    ck_assert_int_eq(parse(longer), -1);
    free(longest);
    free(longer);
}
END_TEST

START_TEST(task_ids)
{
    static const char expected[] = "task id: \"t-\" and 1 to 20 digits";
    static const struct refusal refusals[] = {
        {"{\"taskId\":\"\"}", "taskId", expected, "empty string"},
        {"{\"taskId\":\"t\"}", "taskId", expected, "string \"t\""},
        {"{\"taskId\":\"t-\"}", "taskId", expected, "string \"t-\""},
        {"{\"taskId\":\"T-1\"}", "taskId", expected, "string \"T-1\""},
        {"{\"taskId\":\"t-1a\"}", "taskId", expected, "string \"t-1a\""},
        {"{\"taskId\":\"t--1\"}", "taskId", expected, "string \"t--1\""},
        {"{\"taskId\":\"t-1\\u0000\"}", "taskId", expected, "string \"t-1\\x00\""},
        {"{\"taskId\":\"t-123456789012345678901\"}", "taskId", expected,
         "string \"t-123456789012345678901\""},
        {"{\"taskId\":12}", "taskId", expected, "number 12"},
    };
    ck_assert_str_eq(good("taskId", "\"t-0\"")->str, "t-0");
    good("taskId", "\"t-12345678901234567890\"");
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

/* What is wrong with a token is never shown. */
START_TEST(tokens)
{
    static const char expected[] = "token of 1 to 128 letters, digits, '_', '-'";
    static const struct refusal refusals[] = {
        {"{\"token\":\"\"}", "token", expected, "empty string"},
        {"{\"token\":\"secret!\"}", "token", expected, "string of 7 bytes"},
        {"{\"token\":\"a.b\"}", "token", expected, "string of 3 bytes"},
        {"{\"token\":\"a\\u0000\"}", "token", expected, "string of 2 bytes"},
    };
    char *longest = mem_printf("\"%0128d\"", 7);
    char *longer = mem_printf("{\"token\":\"%0129d\"}", 7);
    good("token", longest);
    good("token", "\"-_aZ9\"");
    ck_assert_int_eq(parse(longer), -1);
    ASSERT_ALL_REFUSED(table, refusals);
    free(longest);
    free(longer);
}
END_TEST

START_TEST(integers)
{
    static const char expected[] = "integer from 0 to 100";
    static const struct refusal refusals[] = {
        {"{\"priority\":-1}", "priority", expected, "number -1"},
        {"{\"priority\":101}", "priority", expected, "number 101"},
        {"{\"priority\":1.0}", "priority", expected, "number 1.0"},
        {"{\"priority\":1e1}", "priority", expected, "number 1e1"},
        {"{\"priority\":\"5\"}", "priority", expected, "string \"5\""},
        {"{\"priority\":true}", "priority", expected, "boolean"},
        {"{\"priority\":10000000000000000000000000000000000000000}", "priority", expected,
         "number"},
        {"{\"big\":9223372036854775808}", "big", "integer", "number 9223372036854775808"},
    };
    ck_assert_int_eq(good("priority", "0")->num, 0);
    ck_assert_int_eq(good("priority", "100")->num, 100);
    ck_assert_int_eq(good("priority", "-0")->num, 0);
    ck_assert(good("priority", "7")->real == 7.0);
    ck_assert_int_eq(good("big", "9007199254740993")->num, INT64_C(9007199254740993));
    ck_assert_int_eq(good("big", "-9223372036854775808")->num, INT64_MIN);
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

START_TEST(numbers)
{
    static const struct refusal refusals[] = {
        {"{\"ratio\":1.0001}", "ratio", "number from 0 to 1", "number 1.0001"},
        {"{\"ratio\":-1e-9}", "ratio", "number from 0 to 1", "number -1e-9"},
        {"{\"ratio\":1e999}", "ratio", "number from 0 to 1", "number 1e999"},
        {"{\"ratio\":\"0.5\"}", "ratio", "number from 0 to 1", "string \"0.5\""},
    };
    ck_assert(good("ratio", "1")->real == 1.0);
    ck_assert(good("ratio", "2.5e-1")->real == 0.25);
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

START_TEST(booleans_and_enums)
{
    static const struct refusal refusals[] = {
        {"{\"retry\":1}", "retry", "true or false", "number 1"},
        {"{\"retry\":\"true\"}", "retry", "true or false", "string \"true\""},
        {"{\"mood\":\"Calm\"}", "mood", "one of \"calm\", \"eager\"", "string \"Calm\""},
        {"{\"mood\":\"\"}", "mood", "one of \"calm\", \"eager\"", "empty string"},
        {"{\"mood\":0}", "mood", "one of \"calm\", \"eager\"", "number 0"},
    };
    ck_assert_int_eq(good("retry", "true")->num, 1);
    ck_assert_int_eq(good("retry", "false")->num, 0);
    const struct field_value *v = good("mood", "\"e\\u0061ger\"");
    ck_assert_int_eq(v->num, 1);
    ck_assert_str_eq(v->str, "eager");
    ck_assert_uint_eq(v->len, 5);
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

START_TEST(times)
{
    static const char expected[] =
        "RFC 3339 date-time from 1970 to 9999, such as \"2026-11-21T18:20:00Z\"";
    static const struct refusal refusals[] = {
        {"{\"run_at\":\"tomorrow\"}", "run_at", expected, "string \"tomorrow\""},
        {"{\"run_at\":1767225600}", "run_at", expected, "number 1767225600"},
    };
    ck_assert_int_eq(good("run_at", "\"2026-01-01T01:00:00.5+01:00\"")->num,
                     INT64_C(1767225600500));
    ck_assert_str_eq(good("run_at", "\"1970-01-01\\u005400:00:00Z\"")->str, "1970-01-01T00:00:00Z");
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

START_TEST(anything)
{
    static const struct refusal refusals[] = {
        {"{\"small\":\"1234567\"}", "small", "JSON value of at most 8 bytes", "string of 9 bytes"},
        {"{\"small\":[1,2,3,4]}", "small", "JSON value of at most 8 bytes", "array of 9 bytes"},
        {"{\"metadata\":[]}", "metadata", "object", "array"},
        {"{\"metadata\":null}", "metadata", "object", "null"},
    };
    static const char document[] = "{\"payload\": [ 9007199254740993, [], {\"a\" : null} ] }";
    ck_assert_int_eq(parse(document), 0);
    const struct field_value *v = value_of("payload");
    ck_assert_uint_eq(v->raw.len, strlen("[ 9007199254740993, [], {\"a\" : null} ]"));
    ck_assert_ptr_eq(v->raw.at, document + 12);
    good("payload", "null");
    good("small", "\"123456\"");
    good("metadata", "{\"any\":{\"thing\":[]}}");
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, NULL, fixture_done);
    tcase_add_test(tc, strings);
    tcase_add_test(tc, ids);
    tcase_add_test(tc, id_length);
    tcase_add_test(tc, names);
    tcase_add_test(tc, name_length);
    tcase_add_test(tc, task_ids);
    tcase_add_test(tc, tokens);
    tcase_add_test(tc, integers);
    tcase_add_test(tc, numbers);
    tcase_add_test(tc, booleans_and_enums);
    tcase_add_test(tc, times);
    tcase_add_test(tc, anything);
}

UNIT_MAIN("fields", add_tests)
