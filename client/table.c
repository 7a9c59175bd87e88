/*
 * table.c: see table.h. Owns copies of the cells.
 */
#include "common/compat.h"
#include "client/table.h"

#include "common/mem.h"

enum { GAP = 2, FLEXIBLE_MIN = 8 };

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

/* Takes from the flexible column what does not fit. */
static void squeeze(const struct table *t, size_t *widths, int limit)
{
    size_t total = GAP * (t->ncolumns - 1);

    for (size_t c = 0; c < t->ncolumns; c++)
        total += widths[c];
    if (limit <= 0 || total <= (size_t)limit)
        return;
    for (size_t c = 0; c < t->ncolumns; c++) {
        if (!t->columns[c].is_flexible)
            continue;
        size_t excess = total - (size_t)limit;
        size_t least = widths[c] < FLEXIBLE_MIN ? widths[c] : FLEXIBLE_MIN;
        widths[c] = widths[c] > excess + least ? widths[c] - excess : least;
        return;
    }
}

static void put_spaces(struct buf *out, size_t n)
{
    while (n-- > 0)
        buf_putc(out, ' ');
}

static void put_cell(struct buf *out, const char *s, size_t width, enum table_align align,
                     bool is_last)
{
    size_t len = strlen(s);
    size_t w = term_width(s, len);

    if (w > width) {
        len = term_fit(s, len, width > 1 ? width - 1 : 0);
        w = term_width(s, len) + 1;
        buf_append(out, s, len);
        buf_puts(out, "…");
    } else {
        if (align == TABLE_RIGHT)
            put_spaces(out, width - w);
        buf_append(out, s, len);
        if (align == TABLE_RIGHT)
            w = width;
    }
    if (!is_last)
        put_spaces(out, width - w + GAP);
}

void table_put(const struct table *t, struct term term, struct buf *out)
{
    size_t widths[TABLE_COLUMNS_MAX];

    cb_assert(t->ncells % t->ncolumns == 0);
    measure(t, widths);
    squeeze(t, widths, term.width);
    if (term.has_color)
        buf_puts(out, "\033[1m");
    for (size_t c = 0; c < t->ncolumns; c++)
        put_cell(out, t->columns[c].title, widths[c], t->columns[c].align, c + 1 == t->ncolumns);
    if (term.has_color)
        buf_puts(out, "\033[0m");
    buf_putc(out, '\n');
    for (size_t i = 0; i < t->ncells; i++) {
        size_t c = i % t->ncolumns;
        put_cell(out, t->cells[i], widths[c], t->columns[c].align, c + 1 == t->ncolumns);
        if (c + 1 == t->ncolumns)
            buf_putc(out, '\n');
    }
}
