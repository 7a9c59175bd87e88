/*
 * check_fields_members.c: common/fields: nesting, members that are absent, null, unknown or required, defaults, and what
 * is cut in an error.
 */
#include "common/compat.h"
#include "tests/unit/fields_fixture.h"

#include "common/mem.h"

#include <signal.h>

/* --- Nesting ------------------------------------------------------------------------------------ */

START_TEST(objects)
{
    static const struct refusal refusals[] = {
        {"{\"at\":{}}", "at.x", "integer from 0 to 10", "nothing"},
        {"{\"at\":{\"x\":11}}", "at.x", "integer from 0 to 10", "number 11"},
        {"{\"at\":{\"x\":1,\"z\":1}}", "at", "known members only: x, y",
         "object with unknown member \"z\""},
        {"{\"at\":[1]}", "at", "object", "array"},
    };
    const struct field_value *v = good("at", "{\"x\":3}");
    ck_assert_int_eq(v->sub[0].num, 3);
    ck_assert(v->sub[1].is_set && v->sub[1].is_default && v->sub[1].real == 0.5);
    v = good("at", "{\"y\":-1,\"x\":0}");
    ck_assert(v->sub[1].real == -1 && !v->sub[1].is_default);
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

START_TEST(lists)
{
    static const struct refusal refusals[] = {
        {"{\"after\":[]}", "after", "array of 1 to 3 items", "array of 0 items"},
        {"{\"after\":[\"t-1\",\"t-2\",\"t-3\",4]}", "after", "array of 1 to 3 items",
         "array of 4 items"},
        {"{\"after\":{}}", "after", "array of 1 to 3 items", "object"},
        {"{\"after\":[\"t-1\",2]}", "after[1]", "task id: \"t-\" and 1 to 20 digits", "number 2"},
        {"{\"after\":[\"t-1\",\"t-2\",\"t-\\u0031\"]}", "after[2]", "an item unlike the others",
         "the same as item 0"},
        {"{\"points\":[{\"x\":1},{\"x\":-1}]}", "points[1].x", "integer from 0 to 10", "number -1"},
        {"{\"points\":[{\"x\":1},{}]}", "points[1].x", "integer from 0 to 10", "nothing"},
        {"{\"lists\":[[1],[2,\"3\"]]}", "lists[1][1]", "integer or null", "string \"3\""},
        {"{\"lists\":[[1],2]}", "lists[1]", "array of at most 3 items", "number 2"},
    };
    const struct field_value *v = good("after", "[\"t-1\", \"t-22\"]");
    ck_assert_uint_eq(v->len, 2);
    ck_assert_str_eq(v->sub[1].str, "t-22");
    v = good("points", "[{\"x\":1},{\"x\":2,\"y\":1}]");
    ck_assert_int_eq(v->sub[1].sub[0].num, 2);
    ck_assert(v->sub[0].sub[1].is_default);
    v = good("lists", "[[],[1,null,3]]");
    ck_assert_uint_eq(v->sub[0].len, 0);
    ck_assert(!v->sub[1].sub[1].is_set);
    ck_assert_int_eq(v->sub[1].sub[2].num, 3);
    ck_assert_uint_eq(good("points", "[]")->len, 0);
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

/* A list of `element`s where the first and the last are equal, though written differently. */
static void assert_unique(const struct field *element, const char *different, const char *equal)
{
    const struct field rows[] = {FIELD_LIST("l", UNIQUE, 0, 9, element, ""), FIELD_END};
    ck_assert_int_eq(parse_with(rows, different), 0);
    ck_assert_int_eq(parse_with(rows, equal), -1);
    ck_assert_str_eq(problem.path, "l[2]");
    ck_assert_str_eq(problem.got, "the same as item 0");
}

START_TEST(unique_by_value)
{
    static const struct field str[] = {FIELD_STR("", OPTIONAL, 0, 0, ""), FIELD_END};
    static const struct field integer[] = {FIELD_INT("", NULLABLE, 0, 0, ""), FIELD_END};
    static const struct field num[] = {FIELD_NUM("", OPTIONAL, 0, 0, ""), FIELD_END};
    static const struct field when[] = {FIELD_TIME("", OPTIONAL, ""), FIELD_END};
    static const struct field any[] = {FIELD_ANY("", OPTIONAL, ""), FIELD_END};
    assert_unique(str, "{\"l\":[\"\",\"a\",\"b\"]}", "{\"l\":[\"ab\",\"b\",\"\\u0061b\"]}");
    assert_unique(integer, "{\"l\":[null,0,1,null]}", "{\"l\":[0,1,-0]}");
    assert_unique(num, "{\"l\":[1,2]}", "{\"l\":[1,2,1.0]}");
    assert_unique(when, "{\"l\":[\"2026-01-01T00:00:00Z\"]}",
                  "{\"l\":[\"2026-01-01T00:00:00Z\",\"2026-01-01T00:00:01Z\","
                  "\"2026-01-01T01:00:00+01:00\"]}");
    assert_unique(any, "{\"l\":[1,\"1\",[1]]}", "{\"l\":[[1],[],[1]]}");
}
END_TEST

/* --- Absent, default, null, unknown ------------------------------------------------------------- */

START_TEST(absent)
{
    ck_assert_int_eq(parse("{}"), 0);
    for (size_t i = 0; i < ROWS; i++)
        ck_assert(!values[i].is_set && !values[i].raw.at && !values[i].str && !values[i].sub);
    struct json_span empty = {NULL, 0};
    memset(values, 0x55, sizeof values);
    ck_assert_int_eq(fields_parse(table, empty, &arena, values, NULL), 0);
    ck_assert(!values[0].is_set);
}
END_TEST

START_TEST(nullable)
{
    ck_assert_int_eq(parse("{\"perhaps\":null}"), 0);
    ck_assert(!value_of("perhaps")->is_set);
    ck_assert_int_eq(good("perhaps", "5")->num, 5);
    static const struct refusal refusals[] = {
        {"{\"perhaps\":0}", "perhaps", "integer from 1 to 5 or null", "number 0"},
    };
    ASSERT_ALL_REFUSED(table, refusals);
}
END_TEST

static const struct field deep_defaults[] = {
    FIELD_STR("queue", DEFAULT("de\u0066ault"), 1, 64, "Where."),
    FIELD_BOOL("retry", DEFAULT(true), "Again?"),
    FIELD_INT("n", DEFAULT(-5), -10, 10, "How many."),
    FIELD_ENUM("mood", DEFAULT("eager"), moods, "How."),
    FIELD_OBJECT("at", DEFAULT({"x" : 4, "y" : 1}), point_fields, "A point."),
    FIELD_LIST("l", DEFAULT([ 1, 2, null ]), 0, 3, any_int, "Numbers."),
    FIELD_OBJECT("metadata", DEFAULT({}), NULL, "Yours."),
    {.name = "maybe", .type = FIELD_TYPE_INT, .flags = FIELD_NULLABLE, .fallback = "3"},
    FIELD_END,
};

START_TEST(defaults)
{
    ck_assert_int_eq(parse_with(deep_defaults, "{\"maybe\":null}"), 0);
    for (size_t i = 0; i < fields_count(deep_defaults); i++)
        ck_assert(values[i].is_set && values[i].is_default);
    ck_assert_str_eq(values[0].str, "default");
    ck_assert_int_eq(values[1].num, 1);
    ck_assert_int_eq(values[2].num, -5);
    ck_assert_int_eq(values[3].num, 1);
    ck_assert_int_eq(values[4].sub[0].num, 4);
    ck_assert_uint_eq(values[5].len, 3);
    ck_assert(values[5].sub[0].num == 1 && !values[5].sub[2].is_set);
    ck_assert_uint_eq(values[6].raw.len, 2);
    ck_assert_int_eq(values[7].num, 3);
    ck_assert_int_eq(parse_with(deep_defaults, "{\"n\":0,\"retry\":false}"), 0);
    ck_assert(values[2].num == 0 && !values[2].is_default);
    ck_assert(values[1].num == 0 && !values[1].is_default);
}
END_TEST

/* A default that its own row refuses is a bug. */
START_TEST(bad_default)
{
    static const struct field rows[] = {FIELD_INT("n", DEFAULT(11), 0, 10, ""), FIELD_END};
    parse_with(rows, "{}");
}
END_TEST

START_TEST(required)
{
    static const struct field rows[] = {
        FIELD_INT("a", OPTIONAL, 0, 9, ""),
        FIELD_STR("b", REQUIRED, 1, 5, ""),
        FIELD_STR("c", REQUIRED_OR_NULL, 1, 5, ""),
        FIELD_END,
    };
    static const struct refusal refusals[] = {
        {"{}", "b", "string of 1 to 5 bytes", "nothing"},
        {"{\"b\":\"x\"}", "c", "string of 1 to 5 bytes or null", "nothing"},
        {"{\"b\":null,\"c\":null}", "b", "string of 1 to 5 bytes", "null"},
        {"{\"a\":true}", "a", "integer from 0 to 9", "boolean"},
    };
    ck_assert_int_eq(parse_with(rows, "{\"b\":\"x\",\"c\":null}"), 0);
    ck_assert(values[1].is_set && !values[2].is_set);
    ASSERT_ALL_REFUSED(rows, refusals);
}
END_TEST

START_TEST(unknown_members)
{
    static const struct refusal refusals[] = {
        {"{\"prioriti\":1}", "", "known members (did you mean \"priority\"?)",
         "object with unknown member \"prioriti\""},
        {"{\"task_id\":1}", "", "known members (did you mean \"taskId\"?)",
         "object with unknown member \"task_id\""},
        {"{\"points\":[{\"x\":1,\"xx\":1}]}", "points[0]", "known members only: x, y",
         "object with unknown member \"xx\""},
        {"{\"at\":{\"x\":1,\"\\u001b[2J\":1}}", "at", "known members only: x, y",
         "object with unknown member \"\\x1b[2J\""},
        {"{\"at\":{\"\":1}}", "at", "known members only: x, y", "object with unknown member \"\""},
    };
    static const struct field none[] = {FIELD_END};
    static const struct refusal nothing[] = {
        {"{\"a\":1}", "", "object without members", "object with unknown member \"a\""},
    };
    ASSERT_ALL_REFUSED(table, refusals);
    ASSERT_ALL_REFUSED(none, nothing);
    ck_assert_int_eq(parse_with(none, "{}"), 0);
}
END_TEST

START_TEST(keys_with_escapes)
{
    ck_assert_int_eq(parse("{\"\\u0074ext\":\"a\",\"pr\\u0069ority\":5}"), 0);
    ck_assert_str_eq(value_of("text")->str, "a");
    ck_assert_int_eq(value_of("priority")->num, 5);
}
END_TEST

START_TEST(open_objects)
{
    static const struct field inner[] = {FIELD_INT("n", OPTIONAL, 0, 9, ""), FIELD_END};
    static const struct field rows[] = {
        {.name = "open", .type = FIELD_TYPE_OBJECT, .flags = FIELD_OPEN, .sub = inner},
        FIELD_OBJECT("closed", OPTIONAL, inner, ""),
        FIELD_END_OPEN,
    };
    ck_assert_int_eq(parse_with(rows, "{\"open\":{\"n\":1,\"m\":2},\"more\":3}"), 0);
    ck_assert_int_eq(values[0].sub[0].num, 1);
    ck_assert_int_eq(parse_with(rows, "{\"closed\":{\"m\":2}}"), -1);
    ck_assert_int_eq(parse_with(rows, "{\"open\":{\"n\":true}}"), -1);
}
END_TEST

START_TEST(params_not_an_object)
{
    static const char *const texts[] = {"[]", "null", "\"x\"", "3", "true"};
    static const char *const got[] = {"array", "null", "string", "number 3", "boolean"};
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++) {
        ck_assert_int_eq(parse(texts[i]), -1);
        ck_assert_int_eq(problem.code, -32600);
        ck_assert_str_eq(problem.path, "");
        ck_assert_str_eq(problem.expected, "object");
        ck_assert_uint_eq(strncmp(problem.got, got[i], strlen(got[i])), 0);
    }
}
END_TEST

/* --- Cutting ------------------------------------------------------------------------------------ */

START_TEST(long_texts_are_cut)
{
    struct buf text = BUF_INIT;
    buf_puts(&text, "{\"queue\":\"");
    for (int i = 0; i < 30; i++)
        buf_puts(&text, "\xe2\x82\xac");
    buf_puts(&text, "\"}");
    ck_assert_int_eq(parse(text.data), -1);
    ck_assert(json_is_utf8(problem.got, strlen(problem.got)));
    ck_assert_str_eq(problem.got + strlen(problem.got) - 4, "...\"");
    buf_reset(&text);
    buf_puts(&text, "{\"");
    for (int i = 0; i < 40; i++)
        buf_puts(&text, "\\u009b");
    buf_puts(&text, "\":1}");
    ck_assert_int_eq(parse(text.data), -1);
    ck_assert_uint_eq(strlen(problem.got), sizeof problem.got - 1);
    ck_assert_str_eq(problem.got + strlen(problem.got) - 3, "...");
    buf_done(&text);
}
END_TEST

START_TEST(long_paths_are_cut)
{
    static const char name[] =
        "a_name_of_no_less_than_ninety_bytes_which_nobody_would_ever_choose_for_"
        "a_field_but_a_test_____";
    static const struct field leaf[] = {FIELD_INT(name, OPTIONAL, 0, 9, ""), FIELD_END};
    static const struct field rows[] = {FIELD_OBJECT(name, OPTIONAL, leaf, ""), FIELD_END};
    char *text = mem_printf("{\"%s\":{\"%s\":10}}", name, name);
    ck_assert_int_eq(parse_with(rows, text), -1);
    ck_assert_uint_eq(strlen(problem.path), sizeof problem.path - 1);
    free(text);
}
END_TEST

START_TEST(counts_and_indexes)
{
    static const struct field none[] = {FIELD_END};
    ck_assert_uint_eq(fields_count(table), ROWS);
    ck_assert_uint_eq(fields_count(none), 0);
    ck_assert_uint_eq(fields_index(table, "text"), 0);
    ck_assert_uint_eq(fields_index(table, "perhaps"), ROWS - 1);
}
END_TEST

START_TEST(unknown_index)
{
    fields_index(table, "absent");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, NULL, fixture_done);
    tcase_add_test(tc, objects);
    tcase_add_test(tc, lists);
    tcase_add_test(tc, unique_by_value);
    tcase_add_test(tc, absent);
    tcase_add_test(tc, nullable);
    tcase_add_test(tc, defaults);
    if (unit_forks())
        tcase_add_test_raise_signal(tc, bad_default, SIGABRT);
    tcase_add_test(tc, required);
    tcase_add_test(tc, unknown_members);
    tcase_add_test(tc, keys_with_escapes);
    tcase_add_test(tc, open_objects);
    tcase_add_test(tc, params_not_an_object);
    tcase_add_test(tc, long_texts_are_cut);
    tcase_add_test(tc, long_paths_are_cut);
    tcase_add_test(tc, counts_and_indexes);
    if (unit_forks())
        tcase_add_test_raise_signal(tc, unknown_index, SIGABRT);
}

UNIT_MAIN("fields_members", add_tests)
