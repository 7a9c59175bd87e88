/*
 * check_fields_schema.c: the JSON Schema and the help lines that come from the rows of common/fields, to the byte:
 * the contract tests and the manual read them.
 */
#include "common/compat.h"
#include "common/fields.h"

#include "tests/unit/unit.h"

static const char *const moods[] = {"calm", "eager", NULL};

static const struct field point_fields[] = {
    FIELD_INT("x", REQUIRED, 0, 10, "Across."),
    FIELD_NUM("y", DEFAULT(0.5), -1, 1, ".5 is the \\middle."),
    FIELD_END,
};
static const struct field point[] = {FIELD_OBJECT("", OPTIONAL, point_fields, "A point."),
                                     FIELD_END};
static const struct field task_id[] = {FIELD_TASK_ID("", OPTIONAL, "A task."), FIELD_END};
static void assert_schema(const struct field *rows, const char *expected)
{
    struct buf out = BUF_INIT;
    fields_put_schema(rows, &out);
    ck_assert_int_eq(json_check(out.data, out.len, NULL, NULL, NULL), 0);
    ck_assert_str_eq(out.data, expected);
    buf_done(&out);
}

START_TEST(schema_of_strings)
{
    static const struct field rows[] = {
        FIELD_STR("s", REQUIRED, 1, 500, "A \"text\"."),
        FIELD_ID("i", OPTIONAL, "i"),
        FIELD_NAME("n", DEFAULT("default"), "n"),
        FIELD_TASK_ID("t", REQUIRED, "t"),
        FIELD_TOKEN("k", OPTIONAL, "k"),
        FIELD_TIME("w", OPTIONAL, "w"),
        FIELD_ENUM("e", NULLABLE, moods, "e"),
        FIELD_END,
    };
    assert_schema(
        rows,
        "{\"type\":\"object\",\"properties\":{"
        "\"s\":{\"type\":\"string\",\"x-minBytes\":1,\"x-maxBytes\":500,\"minLength\":1,"
        "\"maxLength\":500,\"pattern\":\"^[^\\\\u0000]*$\",\"description\":\"A \\\"text\\\".\"},"
        "\"i\":{\"type\":\"string\",\"x-minBytes\":1,\"x-maxBytes\":128,\"minLength\":1,"
        "\"maxLength\":128,\"pattern\":\"^[^\\\\u0000-\\\\u001f\\\\u007f-\\\\u009f]*$\","
        "\"description\":\"i\"},"
        "\"n\":{\"type\":\"string\",\"x-minBytes\":1,\"x-maxBytes\":64,\"minLength\":1,"
        "\"maxLength\":64,\"pattern\":\"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$\",\"not\":{\"enum\":["
        "\"tasks\",\"instance\",\"current\",\"latest\",\"detected\",\"recovery\"]},"
        "\"default\":\"default\",\"description\":\"n\"},"
        "\"t\":{\"type\":\"string\",\"x-minBytes\":3,\"x-maxBytes\":22,\"minLength\":1,"
        "\"maxLength\":22,\"pattern\":\"^t-[0-9]{1,20}$\",\"description\":\"t\"},"
        "\"k\":{\"type\":\"string\",\"x-minBytes\":1,\"x-maxBytes\":128,\"minLength\":1,"
        "\"maxLength\":128,\"pattern\":\"^[A-Za-z0-9_-]{1,128}$\",\"description\":\"k\"},"
        "\"w\":{\"type\":\"string\",\"format\":\"date-time\",\"x-minTime\":\"1970-01-01T00:00:"
        "00Z\","
        "\"x-maxTime\":\"9999-12-31T23:59:59.999Z\",\"description\":\"w\"},"
        "\"e\":{\"type\":[\"string\",\"null\"],\"enum\":[\"calm\",\"eager\",null],"
        "\"description\":\"e\"}},"
        "\"required\":[\"s\",\"t\"],\"additionalProperties\":false}");
}
END_TEST

START_TEST(schema_of_the_rest)
{
    static const struct field rows[] = {
        FIELD_INT("i", DEFAULT(50), 0, 100, "i"),
        FIELD_INT("j", NULLABLE, 0, 0, "j"),
        FIELD_NUM("n", OPTIONAL, -1, 1, "n"),
        FIELD_BOOL("b", REQUIRED, "b"),
        FIELD_ANY("a", OPTIONAL, "a"),
        {.name = "m", .type = FIELD_TYPE_OBJECT, .max = 1024, .text = "m"},
        FIELD_OBJECT("o", OPTIONAL, point_fields, "o"),
        FIELD_LIST("l", UNIQUE, 1, 64, task_id, "l"),
        FIELD_END_OPEN,
    };
    assert_schema(
        rows,
        "{\"type\":\"object\",\"properties\":{"
        "\"i\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":100,\"default\":50,"
        "\"description\":\"i\"},"
        "\"j\":{\"type\":[\"integer\",\"null\"],\"description\":\"j\"},"
        "\"n\":{\"type\":\"number\",\"minimum\":-1,\"maximum\":1,\"description\":\"n\"},"
        "\"b\":{\"type\":\"boolean\",\"description\":\"b\"},"
        "\"a\":{\"description\":\"a\"},"
        "\"m\":{\"type\":\"object\",\"x-minBytes\":0,\"x-maxBytes\":1024,\"description\":\"m\"},"
        "\"o\":{\"type\":\"object\",\"properties\":{"
        "\"x\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":10,\"description\":\"Across.\"},"
        "\"y\":{\"type\":\"number\",\"minimum\":-1,\"maximum\":1,\"default\":0.5,"
        "\"description\":\".5 is the "
        "\\\\middle.\"}},\"required\":[\"x\"],\"additionalProperties\":false,"
        "\"description\":\"o\"},"
        "\"l\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"x-minBytes\":3,\"x-maxBytes\":"
        "22,"
        "\"minLength\":1,\"maxLength\":22,\"pattern\":\"^t-[0-9]{1,20}$\","
        "\"description\":\"A task.\"},\"minItems\":1,\"maxItems\":64,\"uniqueItems\":true,"
        "\"description\":\"l\"}},"
        "\"required\":[\"b\"],\"additionalProperties\":true}");
}
END_TEST

START_TEST(schema_of_nothing)
{
    static const struct field none[] = {FIELD_END};
    assert_schema(none, "{\"type\":\"object\",\"properties\":{},\"required\":[],"
                        "\"additionalProperties\":false}");
}
END_TEST

START_TEST(items_of_the_manual)
{
    static const struct field rows[] = {
        FIELD_STR("text", REQUIRED, 1, 500, "What is to be done."),
        FIELD_INT("priority", DEFAULT(50), 0, 100, "Higher is sooner."),
        FIELD_LIST("after", UNIQUE, 0, 64, task_id, "Tasks to wait for."),
        FIELD_LIST("points", OPTIONAL, 0, 2, point, "Where."),
        FIELD_END,
    };
    struct buf out = BUF_INIT;
    fields_put_mdoc(rows, &out);
    ck_assert_str_eq(
        out.data,
        ".It Li text\nWhat is to be done.\n(string of 1 to 500 bytes; required)\n"
        ".It Li priority\nHigher is sooner.\n(integer from 0 to 100; default 50)\n"
        ".It Li after[]\nTasks to wait for.\n(array of at most 64 items, no two equal: "
        "task id: \"t-\" and 1 to 20 digits)\n"
        ".It Li points[]\nWhere.\n(array of at most 2 items: object)\n"
        ".It Li points[].x\nAcross.\n(integer from 0 to 10; required)\n"
        ".It Li points[].y\n\\&.5 is the \\emiddle.\n(number from -1 to 1; default 0.5)\n");
    buf_done(&out);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, schema_of_strings);
    tcase_add_test(tc, schema_of_the_rest);
    tcase_add_test(tc, schema_of_nothing);
    tcase_add_test(tc, items_of_the_manual);
}

UNIT_MAIN("fields_schema", add_tests)
