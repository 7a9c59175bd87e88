/*
 * check_table.c: tables for people, in a pipe and on a terminal of some width.
 */
#include "common/compat.h"
#include "unit.h"

#include "client/table.h"

static const struct table_column columns[] = {
    {"ID", TABLE_LEFT, TABLE_KEEP},
    {"N", TABLE_RIGHT, TABLE_KEEP},
    {"TEXT", TABLE_LEFT, TABLE_FLEX},
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
    static const struct table_column two[] = {{"A", TABLE_LEFT, TABLE_FLEX},
                                              {"B", TABLE_LEFT, TABLE_KEEP}};
    struct table t;
    table_init(&t, two, 2);
    table_cell_str(&t, "日本");
    table_cell_str(&t, "x");
    table_cell_str(&t, "e\xcc\x81");
    table_cell_str(&t, "y");
    expect(&t, in_pipe, "A     B\n日本  x\ne\xcc\x81     y\n");
}
END_TEST

static const struct table_column many[] = {
    {"ID", TABLE_LEFT, TABLE_KEEP},     {"PRIO", TABLE_RIGHT, TABLE_DROP},
    {"WORKER", TABLE_LEFT, TABLE_KEEP}, {"CREATED", TABLE_LEFT, TABLE_DROP + 1},
    {"TEXT", TABLE_LEFT, TABLE_FLEX},
};

static struct table a_task(const char *worker, const char *text)
{
    struct table t;
    table_init(&t, many, CB_ARRAY_LEN(many));
    const char *cells[] = {"t-1795287439884098", "50", worker, "2026-11-21T18:20:00.123Z", text};
    for (size_t i = 0; i < CB_ARRAY_LEN(cells); i++)
        table_cell_str(&t, cells[i]);
    return t;
}

START_TEST(what_may_be_dropped_is_before_text_becomes_a_stub)
{
    static const char text[] = "summarise the document that came in today";
    static const struct {
        int width;
        const char *lines;
    } cases[] = {
        {120, "ID                  PRIO  WORKER  CREATED                   TEXT\n"
              "t-1795287439884098    50  w       2026-11-21T18:20:00.123Z  "
              "summarise the document that came in today\n"},
        {85, "ID                  PRIO  WORKER  CREATED                   TEXT\n"
             "t-1795287439884098    50  w       2026-11-21T18:20:00.123Z  summarise the document "
             "t…\n"},
        {79, "ID                  PRIO  WORKER  TEXT\n"
             "t-1795287439884098    50  w       summarise the document that came in today\n"},
        {54, "ID                  PRIO  WORKER  TEXT\n"
             "t-1795287439884098    50  w       summarise the docum…\n"},
        {53, "ID                  WORKER  TEXT\n"
             "t-1795287439884098  w       summarise the document t…\n"},
        {30, "ID          WORKER  TEXT\n"
             "t-1795287…  w       summarise…\n"},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(cases); i++) {
        struct table t = a_task("w", text);
        struct term term = {.is_tty = true, .width = cases[i].width};
        expect(&t, term, cases[i].lines);
    }
}
END_TEST

static const struct table_column ids[] = {
    {"*", TABLE_LEFT, TABLE_KEEP},      {"ID", TABLE_LEFT, TABLE_ID},
    {"HEALTH", TABLE_LEFT, TABLE_KEEP}, {"STATUS", TABLE_LEFT, TABLE_KEEP},
    {"LOAD", TABLE_RIGHT, TABLE_DROP},  {"TEXT", TABLE_LEFT, TABLE_FLEX},
};

START_TEST(empty_columns_go_first_and_ids_are_cut_last)
{
    static const char *const cells[] = {"",     "host-1795287439884098-of-a-provider",
                                        "-",    "ACTIVE",
                                        "0.25", "a text of thirty characters..."};
    static const struct {
        int width;
        const char *lines;
    } cases[] = {
        {97, "*  ID                                   HEALTH  STATUS  LOAD  TEXT\n"
             "   host-1795287439884098-of-a-provider  -       ACTIVE  0.25  "
             "a text of thirty characters...\n"},
        {90, "*  ID                                   STATUS  LOAD  TEXT\n"
             "   host-1795287439884098-of-a-provider  ACTIVE  0.25  a text of thirty "
             "characters...\n"},
        {81, "ID                                   STATUS  LOAD  TEXT\n"
             "host-1795287439884098-of-a-provider  ACTIVE  0.25  a text of thirty characters...\n"},
        {70, "ID                                   STATUS  TEXT\n"
             "host-1795287439884098-of-a-provider  ACTIVE  a text of thirty charact…\n"},
        {50, "ID                                   STAT…  TEXT\n"
             "host-1795287439884098-of-a-provider  ACTI…  a tex…\n"},
        {40, "ID                              ST…  TE…\n"
             "host-1795287439884098-of-a-pr…  AC…  a …\n"},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(cases); i++) {
        struct term term = {.is_tty = true, .width = cases[i].width};
        struct table t;
        table_init(&t, ids, CB_ARRAY_LEN(ids));
        for (size_t c = 0; c < CB_ARRAY_LEN(cells); c++)
            table_cell_str(&t, cells[c]);
        expect(&t, term, cases[i].lines);
    }
}
END_TEST

START_TEST(no_line_is_longer_than_the_terminal)
{
    static const char *const texts[] = {
        "", "x", "日本語のテキストはとても長いです、端末より", "x\u0301y\u0301",
        "an ordinary text of some length that goes on and on and on"};
    static const char *const workers[] = {
        "", "build-7-12345", "日本日本日本日本日本日本日本日本日本日本",
        "a-very-long-host-name.of-some-provider.example.org-4711"};

    for (int width = 20; width <= 160; width++)
        for (size_t i = 0; i < CB_ARRAY_LEN(texts) * CB_ARRAY_LEN(workers); i++) {
            struct table t = a_task(workers[i % CB_ARRAY_LEN(workers)],
                                    texts[i / CB_ARRAY_LEN(workers)]);
            struct term term = {.is_tty = true, .width = width};
            struct buf out = BUF_INIT;
            table_put(&t, term, &out);
            for (const char *line = buf_peek(&out); *line;) {
                size_t len = strcspn(line, "\n");
                ck_assert_uint_le(term_width(line, len), (size_t)width);
                line += len + 1;
            }
            buf_done(&out);
            table_done(&t);
        }
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
    tcase_add_test(tc, what_may_be_dropped_is_before_text_becomes_a_stub);
    tcase_add_test(tc, empty_columns_go_first_and_ids_are_cut_last);
    tcase_add_test(tc, no_line_is_longer_than_the_terminal);
    tcase_add_test(tc, only_a_title);
}

UNIT_MAIN("table", add_tests)
