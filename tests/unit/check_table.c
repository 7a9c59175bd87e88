/*
 * check_table.c: tables for people, in a pipe and on a terminal of some width.
 */
#include "common/compat.h"
#include "unit.h"

#include "client/table.h"

static const struct table_column columns[] = {
    {"ID", TABLE_LEFT, false},
    {"N", TABLE_RIGHT, false},
    {"TEXT", TABLE_LEFT, true},
};

static const struct term in_pipe = {.width = 0};

static struct table two_rows(const char *text)
{
    struct table t;
    table_init(&t, columns, 3);
    table_cell_str(&t, "t-1");
    table_cellf(&t, "%d", 7);
    table_cell_str(&t, text);
    table_cell_str(&t, "t-22");
    table_cellf(&t, "%d", 1234);
    table_cell_str(&t, "short");
    return t;
}

static void expect(struct table *t, struct term term, const char *text)
{
    struct buf out = BUF_INIT;
    table_put(t, term, &out);
    ck_assert_str_eq(buf_peek(&out), text);
    buf_done(&out);
    table_done(t);
}

START_TEST(columns_line_up)
{
    struct table t = two_rows("a long text that is not cut in a pipe");
    expect(&t, in_pipe,
           "ID       N  TEXT\n"
           "t-1      7  a long text that is not cut in a pipe\n"
           "t-22  1234  short\n");
}
END_TEST

START_TEST(a_narrow_terminal_cuts_the_flexible_column)
{
    struct table t = two_rows("a long text that is cut on a terminal");
    struct term narrow = {.is_tty = true, .width = 30};
    expect(&t, narrow,
           "ID       N  TEXT\n"
           "t-1      7  a long text that …\n"
           "t-22  1234  short\n");
}
END_TEST

START_TEST(cells_cannot_break_out)
{
    struct table t = two_rows("one\ntwo\033[2J\xc2\x9b\x31m\xe2\x80\xae");
    expect(&t, in_pipe,
           "ID       N  TEXT\n"
           "t-1      7  one\\ntwo\\x1b[2J\\u009b1m\\u202e\n"
           "t-22  1234  short\n");
}
END_TEST

START_TEST(wide_characters_count_twice)
{
    static const struct table_column two[] = {{"A", TABLE_LEFT, true}, {"B", TABLE_LEFT, false}};
    struct table t;
    table_init(&t, two, 2);
    table_cell_str(&t, "日本");
    table_cell_str(&t, "x");
    table_cell_str(&t, "e\xcc\x81");
    table_cell_str(&t, "y");
    expect(&t, in_pipe, "A     B\n日本  x\ne\xcc\x81     y\n");
}
END_TEST

START_TEST(only_a_title)
{
    struct table t;
    table_init(&t, columns, 3);
    struct term color = {.is_tty = true, .has_color = true, .width = 80};
    expect(&t, color, "\033[1mID  N  TEXT\033[0m\n");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, columns_line_up);
    tcase_add_test(tc, a_narrow_terminal_cuts_the_flexible_column);
    tcase_add_test(tc, cells_cannot_break_out);
    tcase_add_test(tc, wide_characters_count_twice);
    tcase_add_test(tc, only_a_title);
}

UNIT_MAIN("table", add_tests)
