/*
 * draw.c: see top.h. From above: the lines of `status`, the views, a list, the last lines of the log when there is room, the keys. All texts
 * have been escaped by who made them (table.h, status_screen.h).
 */
#include "common/compat.h"
#include "client/top/top.h"

#include "client/peek.h"
#include "client/status_screen.h"
#include "common/clock.h"

#include <ncurses.h>

enum {
    NARROWEST = 40,
    LOWEST = 10,
    ROWS_LEAST = 6, /* of a list, its title included, before anything else gets room */
    LOG_ROWS = 4,   /* "LOG" and three lines */
    HIGH = 30,      /* from so many rows on the log is shown */
};

/* Characters that the terminal's character set may not have. */
static void put_text(int y, int x, const char *text, size_t len)
{
    struct buf plain CB_CLEANUP(buf_done) = BUF_INIT;

    len = term_fit(text, len, (size_t)(COLS - x));
    if (terminal_is_utf8()) {
        mvaddnstr(y, x, text, (int)len);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x80)
            buf_putc(&plain, (char)c);
        else if (c >= 0xC0)
            buf_putc(&plain, '?');
    }
    mvaddnstr(y, x, buf_peek(&plain), (int)plain.len);
}

static void put_line(int y, const char *text, size_t len, int attr)
{
    attrset(attr);
    put_text(y, 0, text, len);
    attrset(A_NORMAL);
}

static void put_str(int y, const char *text, int attr)
{
    put_line(y, text, strlen(text), attr);
}

/* The same over the whole width. */
static void put_bar(int y, const char *text, size_t len, int attr)
{
    attrset(attr);
    mvhline(y, 0, ' ' | (chtype)attr, COLS);
    put_text(y, 0, text, len);
    attrset(A_NORMAL);
}

/* ---- the head ---- */

static int attr_of_status(const struct top *t)
{
    if (peek_is(t->now.status, "status", "healthy"))
        return terminal_attr(COLOR_GOOD);
    return terminal_attr(peek_is(t->now.status, "status", "degraded") ? COLOR_DOUBT : COLOR_BAD);
}

/* At most `most` lines of it; returns the next free row. */
static int draw_lines(const struct buf *text, int y, int most, int first_attr)
{
    const char *at = buf_peek(text);

    for (int i = 0; *at && i < most; i++) {
        size_t len = strcspn(at, "\n");
        put_line(y++, at, len, i == 0 ? first_attr : (int)A_NORMAL);
        at += len + (at[len] == '\n');
    }
    return y;
}

static int draw_head(const struct top *t)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct term term = {.is_tty = true, .width = COLS};
    int most = LINES - ROWS_LEAST - 3;

    if (t->trouble.code) {
        struct buf why CB_CLEANUP(buf_done) = BUF_INIT;
        term_put(&why, t->trouble.text, strlen(t->trouble.text));
        buf_printf(&text, "away      %s\n", buf_peek(&why));
        int y = draw_lines(&text, 0, 1, terminal_attr(COLOR_BAD));
        if (t->now.status.len == 0)
            return y;
        buf_reset(&text);
        buf_puts(&text, "          trying again; this is what it said ");
        peek_put_age(&text, clock_mono_ms() - t->now.at_ms);
        buf_puts(&text, " ago:\n");
        y = draw_lines(&text, y, 1, A_NORMAL);
        buf_reset(&text);
        status_screen_put_summary(t->now.status, term, &text);
        return draw_lines(&text, y, most - y, A_DIM);
    }
    status_screen_put_summary(t->now.status, term, &text);
    return draw_lines(&text, 0, most, attr_of_status(t));
}

/* "1 workers  2 queues …", the one at hand marked; at the right which rows are shown, and how often it looks. */
static void draw_views(const struct top *t, int y)
{
    char right[80], text[40], rows[48] = "";
    int x = 0;

    for (int i = 0; i < VIEWS; i++) {
        snprintf(text, sizeof text, i == (int)t->view ? "[%d %s]" : " %d %s ", i + 1,
                 views[i].name);
        attrset(i == (int)t->view ? A_BOLD : A_NORMAL);
        put_text(y, x, text, strlen(text));
        x += (int)strlen(text) + 1;
    }
    attrset(A_NORMAL);
    if (t->nrows > t->page)
        snprintf(rows, sizeof rows, "%zu-%zu of %zu  ", t->offset + 1, t->offset + t->page,
                 t->nrows);
    if (t->is_paused)
        snprintf(right, sizeof right, "%spaused", rows);
    else
        snprintf(right, sizeof right, "%severy %g s", rows, (double)t->delay_ms / 1000);
    if (x + (int)strlen(right) <= COLS)
        put_text(y, COLS - (int)strlen(right), right, strlen(right));
}

/* ---- the list ---- */

/* A row that somebody should look at. */
static int attr_of_row(const char *line, size_t len)
{
    static const char *const bad[] = {"OFFLINE", "gave-up", "gave_up", "unhealthy", "refused"};
    static const char *const doubt[] = {"paused",   "starting", "reconnect",
                                        "draining", "waiting",  "degraded"};

    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++)
        if (memmem(line, len, bad[i], strlen(bad[i])))
            return terminal_attr(COLOR_BAD);
    for (size_t i = 0; i < CB_ARRAY_LEN(doubt); i++)
        if (memmem(line, len, doubt[i], strlen(doubt[i])))
            return terminal_attr(COLOR_DOUBT);
    return A_NORMAL;
}

static void draw_list(struct top *t, int y, int end)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;

    rows_put(t, COLS, &text);
    const char *at = buf_peek(&text);
    size_t len = strcspn(at, "\n");
    put_bar(y++, at, len, A_REVERSE);
    at += len + (at[len] == '\n');
    t->page = end > y ? (size_t)(end - y) : 1;
    if (t->offset + t->page > t->nrows)
        t->offset = t->nrows > t->page ? t->nrows - t->page : 0;
    if (t->nrows == 0)
        put_str(y, views[t->view].empty, A_DIM);
    for (size_t row = 0; *at && y < end; row++) {
        len = strcspn(at, "\n");
        if (row >= t->offset)
            put_line(y++, at, len, attr_of_row(at, len));
        at += len + (at[len] == '\n');
    }
}

/* ---- the log ---- */

static void draw_log(const struct top *t, int y)
{
    struct json_item list, line;
    struct json_iter it;
    size_t n = peek_count(t->now.status, "log");

    put_str(y++, "LOG", A_BOLD);
    if (n == 0 || !peek_find(t->now.status, "log", &list))
        return;
    json_iter_init(&it, list.value);
    for (; json_iter_next(&it, &line); n--) {
        struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
        if (n > LOG_ROWS - 1)
            continue;
        status_screen_put_log_line(line.value, (struct term){.width = COLS}, &text);
        enum color color = peek_is(line.value, "level", "error")  ? COLOR_BAD
                           : peek_is(line.value, "level", "warn") ? COLOR_DOUBT
                                                                  : COLOR_PLAIN;
        put_line(y++, buf_peek(&text), text.len - 1, terminal_attr(color));
    }
}

/* ---- all of it ---- */

static void draw_help(void)
{
    put_str(0, "claudebench top", A_BOLD);
    for (int i = 0; keys_help[i] && i + 2 < LINES; i++)
        put_str(i + 2, keys_help[i], A_NORMAL);
}

static void draw_all(struct top *t)
{
    bool has_log = LINES >= HIGH;
    int bottom = LINES - 1 - (has_log ? LOG_ROWS : 0);
    int y = draw_head(t);

    draw_list(t, y + 2, bottom);
    draw_views(t, y + 1);
    if (has_log)
        draw_log(t, bottom);
    put_bar(LINES - 1, keys_line, strlen(keys_line), A_REVERSE);
}

static void draw_too_small(void)
{
    char text[64];

    snprintf(text, sizeof text, "min %dx%d; q quits", NARROWEST, LOWEST);
    put_str(0, text, A_NORMAL);
}

void draw(struct top *t)
{
    erase();
    if (COLS < NARROWEST || LINES < LOWEST)
        draw_too_small();
    else if (t->shows_help)
        draw_help();
    else
        draw_all(t);
    refresh();
}
