/*
 * check_term.c: nothing that steers a terminal gets through, and JSON stays the same JSON.
 */
#include "common/compat.h"
#include "unit.h"

#include "client/term.h"
#include "common/json.h"

static void expect_text(const char *in, size_t len, const char *want)
{
    struct buf out = BUF_INIT;
    term_put(&out, in, len);
    ck_assert_str_eq(buf_peek(&out), want);
    buf_done(&out);
}

#define EXPECT_TEXT(in, want) expect_text(in, sizeof(in) - 1, want)

START_TEST(text_is_escaped)
{
    EXPECT_TEXT("plain", "plain");
    EXPECT_TEXT("größe 日本 🎉", "größe 日本 🎉");
    EXPECT_TEXT("a\nb\tc\rd", "a\\nb\\tc\\rd");
    EXPECT_TEXT("\033]0;title\007", "\\x1b]0;title\\x07");
    EXPECT_TEXT("\0x", "\\x00x");
    EXPECT_TEXT("\x7f", "\\x7f");
    EXPECT_TEXT("\xc2\x9b"
                "31m",
                "\\u009b31m");
    EXPECT_TEXT("\xff\xfe ok \xc3", "\\xff\\xfe ok \\xc3");
    EXPECT_TEXT("\xed\xa0\x80", "\\xed\\xa0\\x80");
    EXPECT_TEXT("a\xe2\x80\xae"
                "b\xe2\x81\xa6"
                "c\xe2\x80\xa8",
                "a\\u202eb\\u2066c\\u2028");
    EXPECT_TEXT("\xe2\x80\x8b\xef\xbb\xbf", "\\u200b\\ufeff");
    EXPECT_TEXT("", "");
}
END_TEST

START_TEST(values_end_where_they_seem_to)
{
    static const char *const all[][2] = {
        {"plain", "plain"},
        {"uid:0@vm", "uid:0@vm"},
        {"", "\"\""},
        {"a b", "\"a b\""},
        {"x=1", "\"x=1\""},
        {"say \"x\"", "\"say \\\"x\\\"\""},
        {"\\", "\"\\\\\""},
        {"a \x1b[m", "\"a \\x1b[m\""},
        {"ende\"", "\"ende\\\"\""},
    };

    for (size_t i = 0; i < CB_ARRAY_LEN(all); i++) {
        struct buf out = BUF_INIT;
        term_put_value(&out, all[i][0], strlen(all[i][0]));
        ck_assert_str_eq(buf_peek(&out), all[i][1]);
        buf_done(&out);
    }
}
END_TEST

/* Every byte and every pair of bytes: no control character ever comes out. */
START_TEST(no_pair_of_bytes_gets_through)
{
    for (unsigned i = 0; i < 65536; i++) {
        char in[2] = {(char)(i >> 8), (char)(i & 255)};
        struct buf out = BUF_INIT;
        term_put(&out, in, 2);
        for (size_t k = 0; k < out.len; k++) {
            unsigned char c = (unsigned char)out.data[k];
            ck_assert_msg(c >= 0x20 && c != 0x7f, "bytes %02x %02x", i >> 8, i & 255);
        }
        ck_assert(json_is_utf8(buf_peek(&out), out.len));
        ck_assert_ptr_null(out.len ? memmem(out.data, out.len, "\xc2\x9b", 2) : NULL);
        buf_done(&out);
    }
}
END_TEST

START_TEST(json_stays_json)
{
    static const char in[] = "{\"a\":\"x\x7f\xc2\x9b\xe2\x80\xae\", \"t\":\"\xf3\xa0\x81\x81\"}";
    struct buf out = BUF_INIT, before = BUF_INIT, after = BUF_INIT;
    struct json_span a, b;
    struct json_item item;
    term_put_json(&out, in, sizeof in - 1);
    ck_assert_str_eq(buf_peek(&out),
                     "{\"a\":\"x\\u007f\\u009b\\u202e\", \"t\":\"\\udb40\\udc41\"}");
    ck_assert_int_eq(json_check(in, sizeof in - 1, &a, NULL, NULL), 0);
    ck_assert_int_eq(json_check(out.data, out.len, &b, NULL, NULL), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert(json_find(a, i ? "t" : "a", &item));
        json_decode_string(item.value, &before);
        ck_assert(json_find(b, i ? "t" : "a", &item));
        json_decode_string(item.value, &after);
    }
    ck_assert_str_eq(buf_peek(&before), buf_peek(&after));
    buf_done(&out);
    buf_done(&before);
    buf_done(&after);
}
END_TEST

START_TEST(widths)
{
    ck_assert_uint_eq(term_width("abc", 3), 3);
    ck_assert_uint_eq(term_width("é", 2), 1);
    ck_assert_uint_eq(term_width("日本", 6), 4);
    ck_assert_uint_eq(term_width("e\xcc\x81", 3), 1);
    ck_assert_uint_eq(term_width("\xff", 1), 1);
    ck_assert_uint_eq(term_fit("日本", 6, 3), 3);
    ck_assert_uint_eq(term_fit("日本", 6, 4), 6);
    ck_assert_uint_eq(term_fit("abc", 3, 0), 0);
    ck_assert_uint_eq(term_fit("abc", 3, 9), 3);
}
END_TEST

START_TEST(colors_obey_the_environment)
{
    setenv("TERM", "xterm", 1);
    unsetenv("CLICOLOR_FORCE");
    unsetenv("NO_COLOR");
    int fd[2];
    ck_assert_int_eq(pipe(fd), 0);
    ck_assert(!term_detect(fd[1]).has_color);
    ck_assert_int_eq(term_detect(fd[1]).width, 0);
    setenv("CLICOLOR_FORCE", "1", 1);
    ck_assert(term_detect(fd[1]).has_color);
    setenv("NO_COLOR", "1", 1);
    ck_assert(!term_detect(fd[1]).has_color);
    close(fd[0]);
    close(fd[1]);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, text_is_escaped);
    tcase_add_test(tc, values_end_where_they_seem_to);
    tcase_add_test(tc, no_pair_of_bytes_gets_through);
    tcase_add_test(tc, json_stays_json);
    tcase_add_test(tc, widths);
    tcase_add_test(tc, colors_obey_the_environment);
}

UNIT_MAIN("term", add_tests)
