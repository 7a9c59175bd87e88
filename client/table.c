/*
 * table.c: see table.h. Owns copies of the cells.
 */
#include "common/compat.h"
#include "client/table.h"

#include "common/mem.h"

enum { GAP = 2, NARROWEST = 3 };

#define DROPPED SIZE_MAX /* in place of a width or an index: none */

void table_init(struct table *t, const struct table_column *columns, size_t ncolumns)
{
    cb_assert(ncolumns > 0 && ncolumns <= TABLE_COLUMNS_MAX);
    *t = (struct table){.columns = columns, .ncolumns = ncolumns};
}

void table_done(struct table *t)
{
    for (size_t i = 0; i < t->ncells; i++)
        free(t->cells[i]);
    free(t->cells);
    *t = (struct table){0};
}

void table_cell(struct table *t, const char *s, size_t len)
{
    struct buf text = BUF_INIT;

    if (t->ncells == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->cells = mem_realloc(t->cells, t->cap * sizeof *t->cells);
    }
    term_put(&text, s, len);
    t->cells[t->ncells++] = buf_take(&text);
}

void table_cell_str(struct table *t, const char *s)
{
    table_cell(t, s, strlen(s));
}

void table_cellf(struct table *t, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    table_cell(t, buf_peek(&text), text.len);
    buf_done(&text);
}

static void measure(const struct table *t, size_t *widths)
{
    for (size_t c = 0; c < t->ncolumns; c++)
        widths[c] = term_width(t->columns[c].title, strlen(t->columns[c].title));
    for (size_t i = 0; i < t->ncells; i++) {
        size_t w = term_width(t->cells[i], strlen(t->cells[i]));
        if (w > widths[i % t->ncolumns])
            widths[i % t->ncolumns] = w;
    }
}

static size_t total_width(const struct table *t, const size_t *widths)
{
    size_t total = 0;

    for (size_t c = 0; c < t->ncolumns; c++)
        if (widths[c] != DROPPED)
            total += widths[c] + GAP;
    return total - GAP;
}

/* Cuts a column down to `least`, but no more than is needed. */
static void cut_column(const struct table *t, size_t *widths, size_t column, size_t least,
                       size_t limit)
{
    size_t total = total_width(t, widths);

    if (total <= limit || widths[column] == DROPPED || widths[column] <= least)
        return;
    size_t excess = total - limit;
    widths[column] = widths[column] > excess + least ? widths[column] - excess : least;
}

static size_t flexible_column(const struct table *t)
{
    for (size_t c = 0; c < t->ncolumns; c++)
        if (t->columns[c].fit == TABLE_FLEX)
            return c;
    return DROPPED;
}

static bool is_id(const struct table *t, size_t column)
{
    return t->columns[column].fit == TABLE_ID;
}

/* The widest of those that can be cut further; of ids only when nothing else can. */
static size_t widest_column(const struct table *t, const size_t *widths)
{
    size_t widest = DROPPED;

    for (int of_ids = 0; of_ids <= 1 && widest == DROPPED; of_ids++)
        for (size_t c = 0; c < t->ncolumns; c++)
            if (widths[c] != DROPPED && widths[c] > NARROWEST && is_id(t, c) == of_ids &&
                (widest == DROPPED || widths[c] > widths[widest]))
                widest = c;
    return widest;
}

static bool is_empty(const struct table *t, size_t column)
{
    for (size_t i = column; i < t->ncells; i += t->ncolumns)
        if (t->cells[i][0] && strcmp(t->cells[i], "-") != 0)
            return false;
    return t->ncells > 0;
}

static void drop_empty(const struct table *t, size_t *widths, size_t limit)
{
    for (size_t c = t->ncolumns; c-- > 0 && total_width(t, widths) > limit;)
        if (!is_id(t, c) && is_empty(t, c))
            widths[c] = DROPPED;
}

/* The column to leave out next, DROPPED when none may be. */
static size_t next_to_drop(const struct table *t, const size_t *widths)
{
    size_t next = DROPPED;

    for (size_t c = 0; c < t->ncolumns; c++)
        if (widths[c] != DROPPED && t->columns[c].fit >= TABLE_DROP &&
            (next == DROPPED || t->columns[c].fit > t->columns[next].fit))
            next = c;
    return next;
}

/* Makes the widths fit into `limit` columns, as table.h says. */
static void squeeze(const struct table *t, size_t *widths, size_t limit)
{
    size_t flexible = flexible_column(t), full = 0;

    drop_empty(t, widths, limit);
    if (flexible != DROPPED && widths[flexible] != DROPPED) {
        full = widths[flexible];
        cut_column(t, widths, flexible, TABLE_FLEX_WIDTH, limit);
    }
    for (size_t c = 0; c < t->ncolumns; c++)
        if (c != flexible && !is_id(t, c))
            cut_column(t, widths, c, TABLE_WIDE, limit);
    for (size_t c; total_width(t, widths) > limit && (c = next_to_drop(t, widths)) != DROPPED;)
        widths[c] = DROPPED;
    while (total_width(t, widths) > limit) {
        size_t c = widest_column(t, widths);
        if (c == DROPPED)
            return;
        widths[c]--;
    }
    if (full && widths[flexible] < full) { /* what a dropped column has left over */
        size_t more = limit - total_width(t, widths);
        widths[flexible] = widths[flexible] + more < full ? widths[flexible] + more : full;
    }
}

static void put_spaces(struct buf *out, size_t n)
{
    while (n-- > 0)
        buf_putc(out, ' ');
}

/* Appends the cell and returns the columns that it is short of its width. */
static size_t put_cell(struct buf *out, const char *s, size_t width, enum table_align align)
{
    size_t len = strlen(s);
    size_t w = term_width(s, len);

    if (w > width) {
        len = term_fit(s, len, width - 1);
        buf_append(out, s, len);
        buf_puts(out, "…");
        return width - term_width(s, len) - 1;
    }
    if (align == TABLE_RIGHT)
        put_spaces(out, width - w);
    buf_append(out, s, len);
    return align == TABLE_RIGHT ? 0 : width - w;
}

/* The spaces behind a cell are written with the next one, so that no line ends in spaces. */
static void put_row(const struct table *t, const size_t *widths, const char *const *cells,
                    struct buf *out)
{
    size_t owed = 0;

    for (size_t c = 0; c < t->ncolumns; c++) {
        if (widths[c] == DROPPED)
            continue;
        put_spaces(out, owed);
        owed = put_cell(out, cells[c], widths[c], t->columns[c].align) + GAP;
    }
}

void table_put(const struct table *t, struct term term, struct buf *out)
{
    size_t widths[TABLE_COLUMNS_MAX];
    const char *titles[TABLE_COLUMNS_MAX];

    cb_assert(t->ncells % t->ncolumns == 0);
    measure(t, widths);
    if (term.width > 0)
        squeeze(t, widths, (size_t)term.width);
    for (size_t c = 0; c < t->ncolumns; c++)
        titles[c] = t->columns[c].title;
    if (term.has_color)
        buf_puts(out, "\033[1m");
    put_row(t, widths, titles, out);
    if (term.has_color)
        buf_puts(out, "\033[0m");
    buf_putc(out, '\n');
    for (size_t i = 0; i < t->ncells; i += t->ncolumns) {
        put_row(t, widths, (const char *const *)&t->cells[i], out);
        buf_putc(out, '\n');
    }
}
