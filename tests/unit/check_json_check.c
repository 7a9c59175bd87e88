/*
 * check_json_check.c: the scanner of common/json against RFC 8259: what is refused and at which byte, depth,
 * and duplicate keys (few, many, within each other, with escapes).
 */
#include "common/compat.h"
#include "common/json.h"

#include "tests/unit/unit.h"

struct document {
    const char *bytes;
    size_t len;
    size_t offset;     /* of the error */
    const char *words; /* part of its text */
};

#define GOOD(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1, 0, NULL                                                      \
    }
#define BAD(literal, off, words)                                                                   \
    {                                                                                              \
        literal, sizeof(literal) - 1, off, words                                                   \
    }

/* --- What is accepted and refused --------------------------------------------------------------- */

static const struct document good[] = {
    GOOD("null"),
    GOOD("true"),
    GOOD("false"),
    GOOD("0"),
    GOOD("-0"),
    GOOD("-0.0e-0"),
    GOOD("10"),
    GOOD("0.5"),
    GOOD("1e5"),
    GOOD("1E+05"),
    GOOD("-1.25E-007"),
    GOOD("9007199254740993"),
    GOOD("1e400"),
    GOOD("123456789012345678901234567890"),
    GOOD("\"\""),
    GOOD("\"\x7f\""),
    GOOD("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\uD83D\\ude00\""),
    GOOD("\"\\u0000\""),
    GOOD("{\"a\":\"\\u0000\"}"),
    GOOD("\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""),
    GOOD("\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""),
    GOOD("\"\xef\xbb\xbf\""),
    GOOD("[]"),
    GOOD("{}"),
    GOOD(" \t\r\n[ ] \t\r\n"),
    GOOD("{ \"a\" : [ 1 , { } ] , \"b\" : null }"),
    GOOD("[[],{},\"\",0,true,false,null]"),
    GOOD("{\"\":{\"\":{}}}"),
    GOOD("{\"a\":{\"a\":[{\"a\":1},{\"a\":2}]}}"),
};

static const struct document bad[] = {
    BAD("", 0, "expected a value, but the text ends"),
    BAD("  \n", 3, "expected a value, but the text ends"),
    BAD("\xef\xbb\xbf{}", 0, "byte order mark"),
    BAD("nul", 3, "expected null, but the text ends"),
    BAD("nulL", 0, "expected a value, not the word nulL"),
    BAD("not json", 0, "expected a value, not the word not"),
    BAD("[tru]", 1, "expected a value, not the word tru"),
    BAD("abcdefghijklmnopqrstuvwxyz", 0, "not the word abcdefghijklmnop"),
    BAD("True", 0, "expected a value, not the word True"),
    BAD("NaN", 0, "a value"),
    BAD("Infinity", 0, "a value"),
    BAD("-Infinity", 1, "a digit"),
    BAD("null null", 5, "the end of the text"),
    BAD("{}x", 2, "the end of the text"),
    BAD("1\0", 1, "the end of the text"),
    BAD("\0", 0, "a value"),
    BAD("\v1", 0, "a value"),
    BAD("\xc2\xa0"
        "1",
        0, "a value"),
    BAD("/**/1", 0, "a value"),
    BAD("'a'", 0, "a value"),
    /* numbers */
    BAD("01", 1, "leading zero"),
    BAD("-01", 2, "leading zero"),
    BAD("00", 1, "leading zero"),
    BAD("-", 1, "a digit, but the text ends"),
    BAD("+1", 0, "a value"),
    BAD(".5", 0, "a value"),
    BAD("1.", 2, "a digit"),
    BAD("1.e5", 2, "a digit"),
    BAD("1e", 2, "a digit"),
    BAD("1e+", 3, "a digit"),
    BAD("1e5.5", 3, "the end of the text"),
    BAD("0x10", 1, "the end of the text"),
    BAD("1_000", 1, "the end of the text"),
    /* strings */
    BAD("\"", 1, "'\"', but the text ends"),
    BAD("\"abc", 4, "but the text ends"),
    BAD("\"abcdefghijklmnopq", 18, "but the text ends"),
    BAD("\"a\nb\"", 2, "control character"),
    BAD("\"12345678\x1f\"", 9, "control character"),
    BAD("\"a\0b\"", 2, "control character"),
    BAD("\"\\", 2, "an escape"),
    BAD("\"\\x41\"", 2, "an escape"),
    BAD("\"\\\0\"", 2, "an escape"),
    BAD("\"\\U0041\"", 2, "an escape"),
    BAD("\"\\u004\"", 6, "hexadecimal"),
    BAD("\"\\u00g0\"", 5, "hexadecimal"),
    BAD("\"\\u00", 5, "hexadecimal digit, but the text ends"),
    BAD("\"\\ud800\"", 1, "surrogate"),
    BAD("\"x\\udc00\"", 2, "surrogate"),
    BAD("\"\\ud800\\ud800\"", 1, "surrogate"),
    BAD("\"\\ud83d\\u0041\"", 1, "surrogate"),
    BAD("\"\\ud83d\\n\"", 1, "surrogate"),
    BAD("\"\\ud83dude00\"", 1, "surrogate"),
    BAD("\"\\ud83d\\ude0\"", 12, "hexadecimal"),
    BAD("\"ab\x80\"", 3, "UTF-8"),
    BAD("\"\xc0\xaf\"", 1, "UTF-8"),
    BAD("\"\xc1\xbf\"", 1, "UTF-8"),
    BAD("\"\xc3\"", 1, "UTF-8"),
    BAD("\"\xc3", 1, "UTF-8"),
    BAD("\"\xc3\x28\"", 1, "UTF-8"),
    BAD("\"\xe0\x9f\xbf\"", 1, "UTF-8"),
    BAD("\"\xe2\x82\"", 1, "UTF-8"),
    BAD("\"\xed\xa0\x80\"", 1, "UTF-8"),
    BAD("\"\xf0\x8f\xbf\xbf\"", 1, "UTF-8"),
    BAD("\"\xf0\x9f\x98\"", 1, "UTF-8"),
    BAD("\"\xf4\x90\x80\x80\"", 1, "UTF-8"),
    BAD("\"\xf5\x80\x80\x80\"", 1, "UTF-8"),
    BAD("\"\xc3\xa9\xff\"", 3, "UTF-8"),
    /* arrays */
    BAD("[", 1, "a value, but the text ends"),
    BAD("[1", 2, "',' or ']', but the text ends"),
    BAD("[1,]", 3, "a value"),
    BAD("[,1]", 1, "a value"),
    BAD("[1 2]", 3, "',' or ']'"),
    BAD("[1}", 2, "',' or ']'"),
    BAD("[1:2]", 2, "',' or ']'"),
    BAD("]", 0, "a value"),
    BAD("[1]]", 3, "the end of the text"),
    /* objects */
    BAD("{", 1, "a key (a string), but the text ends"),
    BAD("{\"a\"}", 4, "':'"),
    BAD("{\"a\" 1}", 5, "':'"),
    BAD("{\"a\":}", 5, "a value"),
    BAD("{\"a\":1", 6, "',' or '}', but the text ends"),
    BAD("{\"a\":1,}", 7, "a key"),
    BAD("{\"a\":1]", 6, "',' or '}'"),
    BAD("{\"a\":1 \"b\":2}", 7, "',' or '}'"),
    BAD("{a:1}", 1, "a key"),
    BAD("{1:1}", 1, "a key"),
    BAD("{,}", 1, "a key"),
    BAD("{\"a\":1,\"a\":2}", 7, "duplicate key"),
    BAD("{\"a\":1,\"\\u0061\":2}", 7, "duplicate key"),
    BAD("{\"\\u0061\":1, \"a\":2", 13, "duplicate key"),
    BAD("{\"\":1,\"\":2}", 6, "duplicate key"),
    BAD("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}", 18, "duplicate key"),
    BAD("{\"\\/\":1,\"/\":2}", 8, "duplicate key"),
    BAD("{\"x\":{\"b\":1,\"c\":{\"d\":1},\"b\":1}}", 24, "duplicate key"),
    BAD("{\"a\":{\"a\":1},\"a\":1}", 13, "duplicate key"),
    BAD("[{\"a\":1},{\"a\":1,\"a\":1}]", 16, "duplicate key"),
    BAD("{\"a\\u0000\":1}", 3, "NUL in a key"),
    BAD("{\"x\":{\"\\u0000\":1}}", 7, "NUL in a key"),
};

START_TEST(accepts)
{
    for (const struct document *d = good; d < good + CB_ARRAY_LEN(good); d++) {
        struct json_error error;
        ck_assert_msg(json_check(d->bytes, d->len, NULL, NULL, &error) == 0, "%s: offset %zu: %s",
                      d->bytes, error.offset, error.text);
    }
}
END_TEST

/* The error's offset does not depend on what follows: the text that stops there ends too early, or is
 * complete. */
static void assert_refused(const struct document *d)
{
    struct json_error error, again;
    enum json_type type = JSON_BOOL;
    struct json_span span = {"untouched", 9};
    ck_assert_msg(json_check(d->bytes, d->len, &span, &type, &error) < 0, "%s", d->bytes);
    ck_assert_msg(error.offset == d->offset, "%s: offset %zu, not %zu", d->bytes, error.offset,
                  d->offset);
    ck_assert_msg(strstr(error.text, d->words) != NULL, "%s: %s", d->bytes, error.text);
    ck_assert(span.len == 9 && type == JSON_BOOL);
    ck_assert(json_check(d->bytes, d->len, NULL, NULL, NULL) < 0);
    if (json_check(d->bytes, d->offset, NULL, NULL, &again) < 0)
        ck_assert_uint_eq(again.offset, d->offset);
}

START_TEST(refuses)
{
    for (const struct document *d = bad; d < bad + CB_ARRAY_LEN(bad); d++)
        assert_refused(d);
}
END_TEST

/* Every place within a block of eight bytes is looked at. */
START_TEST(finds_each_byte)
{
    for (size_t at = 1; at < 40; at++) {
        char text[44];
        struct json_error error;
        memset(text, 'x', sizeof text);
        text[0] = text[41] = '"';
        text[at] = '\x1f';
        ck_assert(json_check(text, 42, NULL, NULL, &error) < 0);
        ck_assert_uint_eq(error.offset, at);
        text[at] = '\x80';
        ck_assert(json_check(text, 42, NULL, NULL, &error) < 0);
        ck_assert_uint_eq(error.offset, at);
        text[at] = '"';
        ck_assert(json_check(text, 42, NULL, NULL, &error) < 0);
        ck_assert_uint_eq(error.offset, at + 1);
        text[at] = '\x7f';
        ck_assert(json_check(text, 42, NULL, NULL, &error) == 0);
    }
}
END_TEST

START_TEST(all_bytes_in_strings)
{
    for (unsigned c = 0; c < 256; c++) {
        char text[] = {'"', (char)c, '"'};
        bool is_plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
        ck_assert_msg((json_check(text, 3, NULL, NULL, NULL) == 0) == is_plain, "byte %u", c);
    }
}
END_TEST

START_TEST(all_bytes_alone)
{
    for (unsigned c = 0; c < 256; c++) {
        char text[] = {(char)c};
        bool is_digit = c >= '0' && c <= '9';
        ck_assert_msg((json_check(text, 1, NULL, NULL, NULL) == 0) == is_digit, "byte %u", c);
    }
}
END_TEST

static void put_nested(struct buf *out, unsigned depth, bool of_objects)
{
    for (unsigned i = 0; i < depth; i++)
        buf_puts(out, of_objects && i % 2 ? "{\"a\":" : "[");
    buf_puts(out, "1");
    for (unsigned i = depth; i-- > 0;)
        buf_putc(out, of_objects && i % 2 ? '}' : ']');
}

START_TEST(depth_is_capped)
{
    for (int of_objects = 0; of_objects < 2; of_objects++) {
        struct buf text = BUF_INIT;
        struct json_error error;
        put_nested(&text, 64, of_objects);
        ck_assert_int_eq(json_check(text.data, text.len, NULL, NULL, &error), 0);
        buf_reset(&text);
        put_nested(&text, 65, of_objects);
        ck_assert_int_eq(json_check(text.data, text.len, NULL, NULL, &error), -1);
        ck_assert_uint_eq(error.offset, of_objects ? 32 * 6 : 64);
        ck_assert_str_eq(error.text, "nested deeper than 64");
        buf_done(&text);
    }
}
END_TEST

START_TEST(depth_counts_what_is_open)
{
    struct buf text = BUF_INIT;
    buf_putc(&text, '[');
    for (int i = 0; i < 1000; i++) {
        put_nested(&text, 63, false);
        buf_putc(&text, ',');
    }
    buf_puts(&text, "0]");
    ck_assert_int_eq(json_check(text.data, text.len, NULL, NULL, NULL), 0);
    for (size_t i = 0; i < text.len; i++)
        text.data[i] = '[';
    ck_assert_int_eq(json_check(text.data, text.len, NULL, NULL, NULL), -1);
    buf_done(&text);
}
END_TEST

START_TEST(too_long)
{
    struct json_error error;
    ck_assert(json_check("1", (size_t)JSON_BYTES_MAX + 1, NULL, NULL, &error) < 0);
    ck_assert_uint_eq(error.offset, JSON_BYTES_MAX);
}
END_TEST

/* --- Duplicate keys ----------------------------------------------------------------------------- */

/* Writes a key's literal; every third with its first letter as an escape. */
static void put_numbered_key(struct buf *out, int n)
{
    if (n % 3 == 0)
        buf_printf(out, "\"\\u006bey%d\"", n);
    else
        buf_printf(out, "\"key%d\"", n);
}

/* An object with `count` keys and then, if `again` >= 0, that key once more in the other spelling. */
static size_t put_object(struct buf *out, int count, int again)
{
    size_t repeated_at = 0;
    buf_putc(out, '{');
    for (int i = 0; i < count; i++) {
        put_numbered_key(out, i);
        buf_puts(out, ":{\"key1\":0},");
    }
    if (again >= 0) {
        repeated_at = out->len;
        buf_printf(out, again % 3 == 0 ? "\"key%d\":1," : "\"\\u006bey%d\":1,", again);
    }
    buf_puts(out, "\"last\":[]}");
    return repeated_at;
}

START_TEST(duplicates_in_objects_of_any_size)
{
    static const int counts[] = {1, 2, 11, 12, 23, 24, 25, 26, 31, 32, 33, 63, 64, 65, 300, 3000};
    for (size_t i = 0; i < CB_ARRAY_LEN(counts); i++) {
        for (int again = -1; again < counts[i]; again += counts[i] / 7 + 1) {
            struct buf text = BUF_INIT;
            struct json_error error;
            size_t at = put_object(&text, counts[i], again);
            int r = json_check(text.data, text.len, NULL, NULL, &error);
            ck_assert_int_eq(r, again < 0 ? 0 : -1);
            if (again >= 0)
                ck_assert_uint_eq(error.offset, at);
            buf_done(&text);
        }
    }
}
END_TEST

START_TEST(large_objects_within_each_other)
{
    struct buf text = BUF_INIT, inner = BUF_INIT;
    put_object(&inner, 100, -1);
    buf_putc(&text, '{');
    for (int i = 0; i < 100; i++)
        buf_printf(&text, "\"key%d\":%s,", i, inner.data);
    size_t at = text.len;
    buf_printf(&text, "\"key7\":%s}", inner.data);
    struct json_error error;
    ck_assert_int_eq(json_check(text.data, text.len, NULL, NULL, &error), -1);
    ck_assert_uint_eq(error.offset, at);
    text.data[at + 1] = 'K';
    ck_assert_int_eq(json_check(text.data, text.len, NULL, NULL, &error), 0);
    buf_done(&text);
    buf_done(&inner);
}
END_TEST

/* Quadratic work would take minutes here (and under valgrind hours): the test's time-out is the test. */
START_TEST(many_keys_are_fast)
{
    struct buf text = BUF_INIT;
    struct json_error error;
    size_t at = put_object(&text, 100000, 99998);
    ck_assert_int_eq(json_check(text.data, text.len, NULL, NULL, &error), -1);
    ck_assert_uint_eq(error.offset, at);
    buf_done(&text);
}
END_TEST

START_TEST(utf8)
{
    ck_assert(json_is_utf8(NULL, 0));
    ck_assert(json_is_utf8("a\0b", 3));
    ck_assert(json_is_utf8("0123456789 \xc3\xa9 0123456789", 25));
    ck_assert(!json_is_utf8("0123456789 \xc3", 12));
    ck_assert(!json_is_utf8("01234567\xff", 9));
    ck_assert(!json_is_utf8("\xed\xbf\xbf", 3));
    ck_assert(json_is_utf8("\xf4\x8f\xbf\xbf", 4));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, accepts);
    tcase_add_test(tc, refuses);
    tcase_add_test(tc, finds_each_byte);
    tcase_add_test(tc, all_bytes_in_strings);
    tcase_add_test(tc, all_bytes_alone);
    tcase_add_test(tc, depth_is_capped);
    tcase_add_test(tc, depth_counts_what_is_open);
    tcase_add_test(tc, too_long);
    tcase_add_test(tc, duplicates_in_objects_of_any_size);
    tcase_add_test(tc, large_objects_within_each_other);
    tcase_add_test(tc, many_keys_are_fast);
    tcase_add_test(tc, utf8);
}

UNIT_MAIN("json_check", add_tests)
