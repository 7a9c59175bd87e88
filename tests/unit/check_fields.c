/*
 * check_fields.c: common/fields: every type with its edges, the words of each refusal, defaults, nesting.
 */
#include "common/compat.h"
#include "common/fields.h"

#include "common/mem.h"
#include "tests/unit/unit.h"

#include <signal.h>

static const char *const moods[] = {"calm", "eager", NULL};

static const struct field point_fields[] = {
    FIELD_INT("x", REQUIRED, 0, 10, "Across."),
    FIELD_NUM("y", DEFAULT(0.5), -1, 1, "Up."),
    FIELD_END,
};
static const struct field point[] = {FIELD_OBJECT("", OPTIONAL, point_fields, "A point."),
                                     FIELD_END};
static const struct field task_id[] = {FIELD_TASK_ID("", OPTIONAL, "A task."), FIELD_END};
static const struct field any_int[] = {FIELD_INT("", NULLABLE, 0, 0, "A number."), FIELD_END};
static const struct field int_list[] = {FIELD_LIST("", OPTIONAL, 0, 3, any_int, "Numbers."),
                                        FIELD_END};

static const struct field table[] = {
    FIELD_STR("text", OPTIONAL, 1, 10, "What is to be done."),
    FIELD_STR("note", OPTIONAL, 0, 0, "Anything."),
    FIELD_STR("code", OPTIONAL, 3, 3, "Three."),
    FIELD_ID("workerId", OPTIONAL, "Who."),
    FIELD_NAME("queue", OPTIONAL, "Where."),
    FIELD_TASK_ID("taskId", OPTIONAL, "Which."),
    FIELD_TOKEN("token", OPTIONAL, "The lease."),
    FIELD_INT("priority", OPTIONAL, 0, 100, "Higher is sooner."),
    FIELD_INT("big", OPTIONAL, 0, 0, "Without limits."),
    FIELD_NUM("ratio", OPTIONAL, 0, 1, "A share."),
    FIELD_BOOL("retry", OPTIONAL, "Again?"),
    FIELD_ENUM("mood", OPTIONAL, moods, "How."),
    FIELD_TIME("run_at", OPTIONAL, "When."),
    FIELD_ANY("payload", OPTIONAL, "Yours."),
    {.name = "small", .type = FIELD_TYPE_ANY, .max = 8, .text = "Not much."},
    FIELD_OBJECT("metadata", OPTIONAL, NULL, "Yours too."),
    FIELD_OBJECT("at", OPTIONAL, point_fields, "A point."),
    FIELD_LIST("after", UNIQUE, 1, 3, task_id, "Others."),
    FIELD_LIST("points", OPTIONAL, 0, 2, point, "Points."),
    FIELD_LIST("lists", OPTIONAL, 0, 0, int_list, "Lists."),
    FIELD_INT("perhaps", NULLABLE, 1, 5, "Or null."),
    FIELD_END,
};

enum { ROWS = CB_ARRAY_LEN(table) - 1 };

/* One document at a time; teardown frees what it took. */
static struct arena arena;
static struct field_value values[ROWS];
static struct field_problem problem;

static void teardown(void)
{
    arena_done(&arena);
}

static int parse_with(const struct field *rows, const char *text)
{
    struct json_span span;
    ck_assert_msg(json_check(text, strlen(text), &span, NULL, NULL) == 0, "not JSON: %s", text);
    memset(&problem, 0, sizeof problem);
    return fields_parse(rows, span, &arena, values, &problem);
}

static int parse(const char *text)
{
    return parse_with(table, text);
}

static const struct field_value *value_of(const char *name)
{
    return &values[fields_index(table, name)];
}

/* Parses {"name": literal} and returns the value. */
static const struct field_value *good(const char *name, const char *literal)
{
    char *text = mem_printf("{\"%s\":%s}", name, literal);
    ck_assert_msg(parse(text) == 0, "%s: path %s, expected %s, got %s", text, problem.path,
                  problem.expected, problem.got);
    const struct field_value *value = value_of(name);
    ck_assert(value->is_set && !value->is_default);
    ck_assert_uint_eq(value->raw.len, strlen(literal));
    free(text); /* `raw` is stale now */
    return value;
}

struct refusal {
    const char *text, *path, *expected, *got;
};

static void assert_refused(const struct field *rows, const struct refusal *r)
{
    ck_assert_msg(parse_with(rows, r->text) < 0, "accepted: %s", r->text);
    ck_assert_int_eq(problem.code, -32602);
    ck_assert_msg(strcmp(problem.path, r->path) == 0, "%s: path %s", r->text, problem.path);
    ck_assert_msg(strcmp(problem.expected, r->expected) == 0, "%s: expected %s", r->text,
                  problem.expected);
    ck_assert_msg(strcmp(problem.got, r->got) == 0, "%s: got %s", r->text, problem.got);
}

#define ASSERT_ALL_REFUSED(rows, refusals)                                                         \
    for (size_t i_ = 0; i_ < CB_ARRAY_LEN(refusals); i_++)                                         \
    assert_refused(rows, &(refusals)[i_])

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
    tcase_add_checked_fixture(tc, NULL, teardown);
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
    tcase_add_test(tc, objects);
    tcase_add_test(tc, lists);
    tcase_add_test(tc, unique_by_value);
    tcase_add_test(tc, absent);
    tcase_add_test(tc, nullable);
    tcase_add_test(tc, defaults);
    tcase_add_test_raise_signal(tc, bad_default, SIGABRT);
    tcase_add_test(tc, required);
    tcase_add_test(tc, unknown_members);
    tcase_add_test(tc, keys_with_escapes);
    tcase_add_test(tc, open_objects);
    tcase_add_test(tc, params_not_an_object);
    tcase_add_test(tc, long_texts_are_cut);
    tcase_add_test(tc, long_paths_are_cut);
    tcase_add_test(tc, counts_and_indexes);
    tcase_add_test_raise_signal(tc, unknown_index, SIGABRT);
}

UNIT_MAIN("fields", add_tests)
