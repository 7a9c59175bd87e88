/*
 * check_json.c: common/json on documents that the scanner accepted: exact spans, walking, decoding. The scanner's
 * own tests are check_json_check.c, the writer's check_json_put.c.
 */
#include "common/compat.h"
#include "common/json.h"

#include "common/mem.h"
#include "tests/unit/unit.h"

static struct json_span span_of(const char *text)
{
    struct json_span span;
    ck_assert_msg(json_check(text, strlen(text), &span, NULL, NULL) == 0, "refused: %s", text);
    return span;
}

static void assert_span(struct json_span span, const char *text)
{
    ck_assert_uint_eq(span.len, strlen(text));
    ck_assert_mem_eq(span.at, text, span.len);
}

/* --- Spans and walking -------------------------------------------------------------------------- */

START_TEST(whole_value)
{
    static const struct {
        const char *text, *value, *type;
    } rows[] = {
        {" null\n", "null", "null"},        {"true", "true", "boolean"},
        {"\tfalse ", "false", "boolean"},   {" -1.50 ", "-1.50", "number"},
        {" \"a b\" ", "\"a b\"", "string"}, {" [ ] ", "[ ]", "array"},
        {"{ }\r\n", "{ }", "object"},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        struct json_span value;
        enum json_type type;
        ck_assert(json_check(rows[i].text, strlen(rows[i].text), &value, &type, NULL) == 0);
        assert_span(value, rows[i].value);
        ck_assert_str_eq(json_type_name(type), rows[i].type);
        ck_assert_int_eq(json_type_of(value), type);
    }
}
END_TEST

START_TEST(walks_an_object)
{
    static const struct {
        const char *key, *value;
        enum json_type type;
    } rows[] = {
        {"\"n\"", "9007199254740993", JSON_NUMBER},
        {"\"list\"", "[]", JSON_ARRAY},
        {"\"s \\\" ]}\"", "\"},\\\\\"", JSON_STRING},
        {"\"deep\"", "{\"a\":[1,{\"b\":\"]}\"}] , \"c\":{}}", JSON_OBJECT},
        {"\"\"", "null", JSON_NULL},
        {"\"t\"", "true", JSON_BOOL},
        {"\"f\"", "-1.5E+3", JSON_NUMBER},
    };
    struct json_span span = span_of(
        " {\"n\":9007199254740993 ,\"list\" : [], \"s \\\" ]}\":\"},\\\\\",\n"
        "\"deep\":{\"a\":[1,{\"b\":\"]}\"}] , \"c\":{}},\"\":null , \"t\":true,\"f\": -1.5E+3\t} ");
    struct json_iter it;
    struct json_item item;
    size_t n = 0;
    json_iter_init(&it, span);
    while (json_iter_next(&it, &item)) {
        ck_assert_uint_lt(n, CB_ARRAY_LEN(rows));
        assert_span(item.key, rows[n].key);
        assert_span(item.value, rows[n].value);
        ck_assert_int_eq(item.type, rows[n].type);
        n++;
    }
    ck_assert_uint_eq(n, CB_ARRAY_LEN(rows));
    ck_assert(!json_iter_next(&it, &item));
    ck_assert_uint_eq(json_count(span), n);
}
END_TEST

START_TEST(walks_an_array)
{
    static const char *const values[] = {"1", "\"a,]\"", "[2,[3]]", "{\"x\":[]}", "null", "-0"};
    struct json_span span = span_of("[1, \"a,]\" ,[2,[3]],{\"x\":[]} , null,-0]");
    struct json_iter it;
    struct json_item item;
    json_iter_init(&it, span);
    for (size_t i = 0; i < CB_ARRAY_LEN(values); i++) {
        ck_assert(json_iter_next(&it, &item));
        assert_span(item.value, values[i]);
        ck_assert_uint_eq(item.key.len, 0);
    }
    ck_assert(!json_iter_next(&it, &item));
}
END_TEST

/* Spans must have been checked; others give nonsense, but an end. */
START_TEST(walks_nonsense)
{
    static const char *const texts[] = {"[1}",  "[,,]",     "[}]",   "{]}",
                                        "{:}",  "{\"a\"",   "{\"a}", "[\"\\",
                                        "[[[[", "{\"a\":}", "[1 2",  "{\"a\":1,,}"};
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++) {
        size_t len = strlen(texts[i]);
        char *exact = mem_alloc(len); /* without a NUL behind it */
        memcpy(exact, texts[i], len);
        ck_assert_uint_le(json_count((struct json_span){exact, len}), len);
        free(exact);
    }
}
END_TEST

START_TEST(counts)
{
    ck_assert_uint_eq(json_count(span_of("[]")), 0);
    ck_assert_uint_eq(json_count(span_of("{ }")), 0);
    ck_assert_uint_eq(json_count(span_of("[ [1,2,3] ]")), 1);
    ck_assert_uint_eq(json_count(span_of("{\"a\":[1,2],\"b\":{\"c\":1,\"d\":2}}")), 2);
}
END_TEST

START_TEST(finds_members)
{
    struct json_span span = span_of(
        "{\"ab\":1,\"a\":{\"z\":5},\"\\u0062\\n\":[2],\"\":3,\"\xc3\xa9\":4}");
    struct json_item item;
    ck_assert(json_find(span, "a", &item));
    assert_span(item.value, "{\"z\":5}");
    ck_assert_int_eq(item.type, JSON_OBJECT);
    ck_assert(json_find(span, "b\n", &item));
    assert_span(item.value, "[2]");
    ck_assert(json_find(span, "", &item));
    assert_span(item.value, "3");
    ck_assert(json_find(span, "\xc3\xa9", &item));
    assert_span(item.value, "4");
    item.type = JSON_BOOL;
    ck_assert(!json_find(span, "z", &item));
    ck_assert(!json_find(span, "abc", &item));
    ck_assert_int_eq(item.type, JSON_BOOL);
}
END_TEST

/* --- Strings ------------------------------------------------------------------------------------ */

/* What somebody sent may be of any type. */
START_TEST(nothing_in_what_is_of_another_type)
{
    static const char *const scalars[] = {"7", "-", "true", "null", "\"{}\"", "\"", "", "[", "{"};
    struct json_iter it;
    struct json_item item;

    for (size_t i = 0; i < CB_ARRAY_LEN(scalars); i++) {
        struct json_span span = {scalars[i], strlen(scalars[i])};
        json_iter_init(&it, span);
        ck_assert(!json_iter_next(&it, &item));
        ck_assert_uint_eq(json_count(span), 0);
        ck_assert(!json_find(span, "a", &item));
    }
    struct json_span list = {"[\"a\",1]", 7};
    ck_assert(!json_find(list, "a", &item));
    static const char *const no_strings[] = {"7", "true", "null", "{\"a\":1}", "[\"a\"]", "", "\""};
    for (size_t i = 0; i < CB_ARRAY_LEN(no_strings); i++) {
        struct buf out = BUF_INIT;
        struct json_span span = {no_strings[i], strlen(no_strings[i])};
        json_decode_string(span, &out);
        ck_assert_uint_eq(out.len, 0);
        ck_assert_uint_eq(json_decoded_len(span), 0);
        ck_assert(!json_string_equals(span, ""));
        ck_assert(!json_string_equals(span, no_strings[i]));
        buf_done(&out);
    }
}
END_TEST

START_TEST(decodes_strings)
{
    static const struct {
        const char *literal, *decoded;
        size_t len;
    } rows[] = {
        {"\"\"", "", 0},
        {"\"plain text, long enough\"", "plain text, long enough", 23},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\\u007F\\u0080\\u07fF\\u0800\\uFFFF\"", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf",
         11},
        {"\"\\ud800\\udc00\\uDBFF\\uDFFF\"", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8},
        {"\"\xe2\x82\xac\\u20ac\\uD83D\\uDE00\"", "\xe2\x82\xac\xe2\x82\xac\xf0\x9f\x98\x80", 10},
        {"\"\\\\u0041\"", "\\u0041", 6},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        struct buf out = BUF_INIT;
        struct json_span span = span_of(rows[i].literal);
        buf_puts(&out, "<");
        json_decode_string(span, &out);
        ck_assert_uint_eq(out.len, rows[i].len + 1);
        ck_assert_mem_eq(out.data + 1, rows[i].decoded, rows[i].len);
        ck_assert_uint_eq(json_decoded_len(span), rows[i].len);
        bool has_nul = strlen(rows[i].decoded) != rows[i].len;
        ck_assert(json_string_equals(span, rows[i].decoded) == !has_nul);
        buf_done(&out);
    }
}
END_TEST

START_TEST(compares_strings)
{
    ck_assert(json_string_equals(span_of("\"abc\""), "abc"));
    ck_assert(json_string_equals(span_of("\"a\\u0062c\""), "abc"));
    ck_assert(!json_string_equals(span_of("\"abc\""), "ab"));
    ck_assert(!json_string_equals(span_of("\"ab\""), "abc"));
    ck_assert(!json_string_equals(span_of("\"a\\u0062\""), "a"));
    ck_assert(!json_string_equals(span_of("\"\\u0061\\u0062\""), "abc"));
    ck_assert(!json_string_equals(span_of("\"ABC\""), "abc"));
    ck_assert(!json_string_equals(span_of("\"\\u0000\""), ""));
    ck_assert(json_string_equals(span_of("\"\""), ""));
}
END_TEST

/* --- Numbers ------------------------------------------------------------------------------------ */

START_TEST(decodes_integers)
{
    static const struct {
        const char *literal;
        int64_t value;
    } rows[] = {
        {"0", 0},
        {"-0", 0},
        {"7", 7},
        {"-12", -12},
        {"9007199254740993", INT64_C(9007199254740993)},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        int64_t value = 42;
        ck_assert_int_eq(json_decode_int(span_of(rows[i].literal), &value), 0);
        ck_assert_int_eq(value, rows[i].value);
    }
}
END_TEST

START_TEST(refuses_integers)
{
    static const char *const literals[] = {"9223372036854775808",
                                           "-9223372036854775809",
                                           "18446744073709551616",
                                           "99999999999999999999999",
                                           "1.0",
                                           "1e2",
                                           "0.5",
                                           "-0.0",
                                           "\"1\"",
                                           "true",
                                           "null",
                                           "[]"};
    for (size_t i = 0; i < CB_ARRAY_LEN(literals); i++) {
        int64_t value = 42;
        ck_assert_msg(json_decode_int(span_of(literals[i]), &value) < 0, "%s", literals[i]);
        ck_assert_int_eq(value, 42);
    }
}
END_TEST

START_TEST(decodes_doubles)
{
    static const struct {
        const char *literal;
        double value;
    } rows[] = {
        {"0", 0},           {"-1.5", -1.5},
        {"1e3", 1000},      {"0.1", 0.1},
        {"1E-400", 0},      {"1.7976931348623157e308", 1.7976931348623157e308},
        {"5e-324", 5e-324}, {"9007199254740993", 9007199254740992.0},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        double value = 42;
        ck_assert_int_eq(json_decode_double(span_of(rows[i].literal), &value), 0);
        ck_assert_msg(value == rows[i].value, "%s: %g", rows[i].literal, value);
    }
}
END_TEST

START_TEST(doubles_out_of_range)
{
    double value = 42;
    ck_assert(json_decode_double(span_of("1e309"), &value) < 0);
    ck_assert(json_decode_double(span_of("-1e309"), &value) < 0);
    ck_assert(json_decode_double(span_of("\"1\""), &value) < 0);
    ck_assert(json_decode_double(span_of("true"), &value) < 0);
    ck_assert(value == 42);
}
END_TEST

START_TEST(long_literals)
{
    struct buf text = BUF_INIT;
    double value;
    int64_t n;
    buf_putc(&text, '1');
    for (int i = 0; i < 1000; i++)
        buf_putc(&text, '0');
    ck_assert(json_decode_double(span_of(text.data), &value) < 0);
    ck_assert(json_decode_int(span_of(text.data), &n) < 0);
    buf_puts(&text, "e-1000");
    ck_assert(json_decode_double(span_of(text.data), &value) == 0);
    ck_assert(value == 1.0);
    buf_done(&text);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, whole_value);
    tcase_add_test(tc, walks_an_object);
    tcase_add_test(tc, walks_an_array);
    tcase_add_test(tc, walks_nonsense);
    tcase_add_test(tc, counts);
    tcase_add_test(tc, finds_members);
    tcase_add_test(tc, nothing_in_what_is_of_another_type);
    tcase_add_test(tc, decodes_strings);
    tcase_add_test(tc, compares_strings);
    tcase_add_test(tc, decodes_integers);
    tcase_add_test(tc, refuses_integers);
    tcase_add_test(tc, decodes_doubles);
    tcase_add_test(tc, doubles_out_of_range);
    tcase_add_test(tc, long_literals);
}

UNIT_MAIN("json", add_tests)
