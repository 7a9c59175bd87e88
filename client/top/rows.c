/*
 * rows.c: see top.h.
 */
#include "common/compat.h"
#include "client/top/top.h"

#include "client/peek.h"
#include "common/mem.h"

#include <strings.h>

struct row {
    struct json_item item;
    size_t place; /* in which it came */
    double number;
    struct buf text;
};

struct order {
    bool is_number, is_descending;
};

static struct view_context context_of(const struct top *t)
{
    struct json_item leader;
    struct view_context ctx = {.before = t->before.status,
                               .seconds = (double)(t->now.at_ms - t->before.at_ms) / 1000};

    if (peek_find(t->now.status, "figures.leader", &leader))
        ctx.leader = leader.value;
    return ctx;
}

bool rows_find_column(const struct view *v, const char *title, size_t *ret)
{
    for (size_t i = 0; i < v->ncolumns; i++) {
        if (strcasecmp(v->columns[i].column.title, title) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* ---- sorting ---- */

static int compare(const void *a, const void *b, void *arg)
{
    const struct row *x = a, *y = b;
    const struct order *order = arg;
    int found = 0;

    if (order->is_number)
        found = (x->number > y->number) - (x->number < y->number);
    else
        found = strcmp(buf_peek(&x->text), buf_peek(&y->text));
    if (order->is_descending)
        found = -found;
    return found ? found : (x->place > y->place) - (x->place < y->place);
}

static size_t collect(const struct top *t, const struct view_context *ctx, struct row **ret)
{
    const struct view *v = &views[t->view];
    const struct view_column *by = &v->columns[t->sort[t->view].column];
    struct json_item list, item;
    struct json_iter it;
    size_t n = 0, all = peek_count(t->now.status, v->path);
    struct row *rows = mem_calloc(all + 1, sizeof *rows);

    if (all > 0 && peek_find(t->now.status, v->path, &list)) {
        json_iter_init(&it, list.value);
        while (json_iter_next(&it, &item)) {
            if (item.type != JSON_OBJECT)
                continue;
            rows[n] = (struct row){.item = item, .place = n, .text = BUF_INIT};
            if (view_is_number(by))
                rows[n].number = view_number(v, by, &item, ctx);
            else
                view_put_cell(v, by, &item, ctx, &rows[n].text);
            n++;
        }
    }
    *ret = rows;
    return n;
}

/* ---- the table ---- */

/* The title of the column that it is sorted by says so, and which way. */
static void make_heads(const struct top *t, const struct order *order,
                       struct table_column heads[TABLE_COLUMNS_MAX], struct buf *title)
{
    const struct view *v = &views[t->view];
    size_t by = t->sort[t->view].column;
    const char *mark = terminal_is_utf8() ? (order->is_descending ? "▾" : "▴")
                                          : (order->is_descending ? "v" : "^");

    for (size_t i = 0; i < v->ncolumns; i++)
        heads[i] = v->columns[i].column;
    buf_puts(title, heads[by].title);
    buf_puts(title, mark);
    heads[by].title = buf_peek(title);
    if (heads[by].fit >= TABLE_DROP)
        heads[by].fit = TABLE_ID; /* it is what one wants to see */
}

void rows_put(struct top *t, int width, struct buf *out)
{
    const struct view *v = &views[t->view];
    const struct view_context ctx = context_of(t);
    const struct sort *sort = &t->sort[t->view];
    bool is_number = view_is_number(&v->columns[sort->column]);
    struct order order = {.is_number = is_number, .is_descending = is_number != sort->is_reverse};
    struct table_column heads[TABLE_COLUMNS_MAX];
    struct buf title CB_CLEANUP(buf_done) = BUF_INIT, text CB_CLEANUP(buf_done) = BUF_INIT;
    struct table table CB_CLEANUP(table_done);
    struct row *rows;

    t->nrows = collect(t, &ctx, &rows);
    qsort_r(rows, t->nrows, sizeof *rows, compare, &order);
    make_heads(t, &order, heads, &title);
    table_init(&table, heads, v->ncolumns);
    for (size_t r = 0; r < t->nrows; r++) {
        for (size_t i = 0; i < v->ncolumns; i++) {
            buf_reset(&text);
            view_put_cell(v, &v->columns[i], &rows[r].item, &ctx, &text);
            table_cell(&table, buf_peek(&text), text.len);
        }
        buf_done(&rows[r].text);
    }
    free(rows);
    table_put(&table, (struct term){.is_tty = true, .width = width}, out);
}
