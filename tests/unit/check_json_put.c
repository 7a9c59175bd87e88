/*
 * check_json_put.c: the writer of common/json: what is escaped, commas and keys, and a random round trip through
 * the scanner and back.
 */
#include "common/compat.h"
#include "common/json.h"

#include "common/rnd.h"
#include "tests/unit/unit.h"

/* --- Writing ------------------------------------------------------------------------------------ */

START_TEST(writes_strings)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *literal;
    } rows[] = {
        {"", 0, "\"\""},
        {"a/b\x7f", 4, "\"a/b\x7f\""},
        {"\"\\", 2, "\"\\\"\\\\\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"\0\x01\x1f", 3, "\"\\u0000\\u0001\\u001f\""},
        {"\xc3\xa9\xf0\x9f\x98\x80", 6, "\"\xc3\xa9\xf0\x9f\x98\x80\""},
        {"a\xff\xc3", 3, "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"0123456789abcdef\n0123456789", 27, "\"0123456789abcdef\\n0123456789\""},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        struct buf out = BUF_INIT;
        json_put_string(&out, rows[i].bytes, rows[i].len);
        ck_assert_str_eq(out.data, rows[i].literal);
        ck_assert_int_eq(json_check(out.data, out.len, NULL, NULL, NULL), 0);
        buf_done(&out);
    }
}
END_TEST

START_TEST(writes_documents)
{
    struct buf out = BUF_INIT;
    buf_putc(&out, '{');
    json_put_key(&out, "a");
    json_put_comma(&out);
    json_put_cstr(&out, "x");
    json_put_key(&out, "b\n");
    buf_putc(&out, '[');
    for (int i = 0; i < 3; i++) {
        json_put_comma(&out);
        buf_put_int(&out, i);
    }
    buf_putc(&out, ']');
    json_put_text(&out, "c", "\"");
    json_put_int(&out, "d", INT64_MIN);
    buf_putc(&out, '}');
    ck_assert_str_eq(out.data, "{\"a\":\"x\",\"b\\n\":[0,1,2],\"c\":\"\\\"\","
                               "\"d\":-9223372036854775808}");
    buf_reset(&out);
    json_put_comma(&out);
    ck_assert_uint_eq(out.len, 0);
    json_put_string(&out, NULL, 0);
    ck_assert_str_eq(out.data, "\"\"");
    buf_done(&out);
}
END_TEST

/* A code point of any length, surrogates left out. */
static void put_random_character(struct buf *out)
{
    static const unsigned limits[] = {0x20, 0x80, 0x800, 0x10000, 0x110000};
    unsigned code = (unsigned)(rnd_u64() % limits[rnd_u64() % CB_ARRAY_LEN(limits)]);
    if (code >= 0xd800 && code < 0xe000)
        code -= 0x800;
    if (code < 0x80)
        buf_putc(out, (char)code);
    else if (code < 0x800)
        buf_printf(out, "%c%c", (int)(0xc0 | code >> 6), (int)(0x80 | (code & 63)));
    else if (code < 0x10000)
        buf_printf(out, "%c%c%c", (int)(0xe0 | code >> 12), (int)(0x80 | (code >> 6 & 63)),
                   (int)(0x80 | (code & 63)));
    else
        buf_printf(out, "%c%c%c%c", (int)(0xf0 | code >> 18), (int)(0x80 | (code >> 12 & 63)),
                   (int)(0x80 | (code >> 6 & 63)), (int)(0x80 | (code & 63)));
}

START_TEST(round_trip)
{
    rnd_seed(8259);
    for (int i = 0; i < 3000; i++) {
        struct buf bytes = BUF_INIT, literal = BUF_INIT, decoded = BUF_INIT;
        struct json_span span;
        for (uint64_t n = rnd_u64() % 50; n > 0; n--)
            put_random_character(&bytes);
        ck_assert(json_is_utf8(buf_peek(&bytes), bytes.len));
        json_put_string(&literal, bytes.data, bytes.len);
        ck_assert_int_eq(json_check(literal.data, literal.len, &span, NULL, NULL), 0);
        ck_assert_uint_eq(span.len, literal.len);
        ck_assert_uint_eq(json_decoded_len(span), bytes.len);
        json_decode_string(span, &decoded);
        ck_assert_uint_eq(decoded.len, bytes.len);
        ck_assert(bytes.len == 0 || memcmp(decoded.data, bytes.data, bytes.len) == 0);
        buf_done(&bytes);
        buf_done(&literal);
        buf_done(&decoded);
    }
}
END_TEST

START_TEST(round_trip_of_garbage)
{
    rnd_seed(17);
    for (int i = 0; i < 3000; i++) {
        char bytes[40];
        struct buf literal = BUF_INIT;
        size_t len = rnd_u64() % sizeof bytes;
        for (size_t at = 0; at < len; at++)
            bytes[at] = (char)(rnd_u64() >> 40);
        json_put_string(&literal, bytes, len);
        ck_assert_int_eq(json_check(literal.data, literal.len, NULL, NULL, NULL), 0);
        buf_done(&literal);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, writes_strings);
    tcase_add_test(tc, writes_documents);
    tcase_add_test(tc, round_trip);
    tcase_add_test(tc, round_trip_of_garbage);
}

UNIT_MAIN("json_put", add_tests)
