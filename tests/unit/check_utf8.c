/*
 * check_utf8.c: common/utf8.
 */
#include "common/compat.h"
#include "common/utf8.h"

#include "tests/unit/unit.h"

static size_t decode(const char *s, uint32_t *cp)
{
    *cp = 0;
    return utf8_decode(s, strlen(s), cp);
}

START_TEST(characters_are_decoded)
{
    uint32_t cp;
    ck_assert_uint_eq(decode("a", &cp), 1);
    ck_assert_uint_eq(cp, 'a');
    ck_assert_uint_eq(decode("\xc3\xa4", &cp), 2);
    ck_assert_uint_eq(cp, 0xE4);
    ck_assert_uint_eq(decode("\xe2\x82\xac", &cp), 3);
    ck_assert_uint_eq(cp, 0x20AC);
    ck_assert_uint_eq(decode("\xf4\x8f\xbf\xbf", &cp), 4);
    ck_assert_uint_eq(cp, 0x10FFFF);
    ck_assert_uint_eq(utf8_decode("\0", 1, &cp), 1);
    ck_assert_uint_eq(cp, 0);
}
END_TEST

START_TEST(what_is_not_utf8_is_refused)
{
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xfe",
        "\xc3",
        "\xc3(",
        "\xe2\x82",
        "\xe2(\xa1",
        "\xf0\x9f\x98",
        "\xf0\x9f(\x80",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        uint32_t cp;
        ck_assert_msg(decode(bad[i], &cp) == 0, "row %zu", i);
    }
}
END_TEST

START_TEST(every_code_point_is_read_as_it_was_written)
{
    for (uint32_t cp = 0x80; cp <= 0x10FFFF; cp++) {
        char s[4];
        size_t n;
        if (cp < 0x800) {
            n = 2;
            s[0] = (char)(0xC0 | cp >> 6);
        } else if (cp < 0x10000) {
            n = 3;
            s[0] = (char)(0xE0 | cp >> 12);
        } else {
            n = 4;
            s[0] = (char)(0xF0 | cp >> 18);
        }
        for (size_t i = 1; i < n; i++)
            s[i] = (char)(0x80 | ((cp >> (6 * (n - 1 - i))) & 0x3F));
        uint32_t got = 0;
        bool is_surrogate = cp >= 0xD800 && cp < 0xE000;
        ck_assert_uint_eq(utf8_decode(s, n, &got), is_surrogate ? 0 : n);
        ck_assert(is_surrogate || got == cp);
        ck_assert_uint_eq(utf8_decode(s, n - 1, &got), 0);
    }
}
END_TEST

START_TEST(the_first_bad_byte_is_found)
{
    ck_assert_uint_eq(utf8_valid_len("", 0), 0);
    ck_assert_uint_eq(utf8_valid_len("abc", 3), 3);
    ck_assert_uint_eq(utf8_valid_len("ab\xff", 3), 2);
    ck_assert_uint_eq(utf8_valid_len("a\xc3\xa4\xc3", 4), 3);
}
END_TEST

static void escapes_to(const char *s, size_t len, char quote, const char *expected)
{
    struct buf out = BUF_INIT;
    utf8_put_escaped(&out, s, len, quote);
    ck_assert_str_eq(buf_peek(&out), expected);
    buf_done(&out);
}

START_TEST(controls_are_escaped)
{
    escapes_to("", 0, '"', "");
    escapes_to("plain \xc3\xa4", 8, '"', "plain \xc3\xa4");
    escapes_to("a\0b", 3, 0, "a\\x00b");
    escapes_to("\x1b[31m", 5, 0, "\\x1b[31m");
    escapes_to("\n\r\t\x7f", 4, 0, "\\n\\r\\t\\x7f");
    escapes_to("\"\\", 2, '"', "\\\"\\\\");
    escapes_to("\"\\", 2, 0, "\"\\\\");
    escapes_to("\xc2\x9b"
               "1m",
               4, 0, "\\xc2\\x9b1m"); /* CSI as C1 */
    escapes_to("\xe2\x80\xae"
               "x",
               4, 0, "\\xe2\\x80\\xaex");                /* right-to-left override */
    escapes_to("\xe2\x80\xa8", 3, 0, "\\xe2\\x80\\xa8"); /* line separator */
    escapes_to("\xff\xc3", 2, 0, "\\xff\\xc3");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, characters_are_decoded);
    tcase_add_test(tc, what_is_not_utf8_is_refused);
    tcase_add_test(tc, every_code_point_is_read_as_it_was_written);
    tcase_add_test(tc, the_first_bad_byte_is_found);
    tcase_add_test(tc, controls_are_escaped);
}

UNIT_MAIN("utf8", add_tests)
