/*
 * views.c: see views.h.
 */
#include "common/compat.h"
#include "client/views.h"

#include "client/peek.h"
#include "common/mem.h"

static const struct view_column worker_columns[] = {
    {{"DOMAIN", TABLE_LEFT, TABLE_KEEP}, "domain", VIEW_TEXT},
    {{"SLOT", TABLE_RIGHT, TABLE_DROP + 3}, "slot", VIEW_NUMBER},
    {{"PID", TABLE_RIGHT, TABLE_KEEP}, "pid", VIEW_NUMBER},
    {{"STATE", TABLE_LEFT, TABLE_KEEP}, "state", VIEW_TEXT},
    {{"METHOD", TABLE_LEFT, TABLE_FLEX}, "method", VIEW_TEXT},
    {{"REQ/S", TABLE_RIGHT, TABLE_KEEP}, "requests", VIEW_RATE},
    {{"REQUESTS", TABLE_RIGHT, TABLE_DROP + 2}, "requests", VIEW_NUMBER},
    {{"AGE", TABLE_RIGHT, TABLE_DROP + 1}, "age_ms", VIEW_AGE},
    {{"RESTARTS", TABLE_RIGHT, TABLE_DROP}, "restarts", VIEW_NUMBER},
};

static const struct view_column queue_columns[] = {
    {{"QUEUE", TABLE_LEFT, TABLE_FLEX}, "queue", VIEW_TEXT},
    {{"STATE", TABLE_LEFT, TABLE_KEEP}, "paused", VIEW_PAUSED},
    {{"PENDING", TABLE_RIGHT, TABLE_KEEP}, "pending", VIEW_NUMBER},
    {{"RUNNING", TABLE_RIGHT, TABLE_KEEP}, "in_progress", VIEW_NUMBER},
    {{"DELAYED", TABLE_RIGHT, TABLE_DROP + 1}, "delayed", VIEW_NUMBER},
    {{"BLOCKED", TABLE_RIGHT, TABLE_DROP + 2}, "blocked", VIEW_NUMBER},
    {{"DEAD", TABLE_RIGHT, TABLE_DROP}, "failed", VIEW_NUMBER},
    {{"OLDEST", TABLE_RIGHT, TABLE_KEEP}, "oldest_ms", VIEW_AGE},
};

static const struct view_column instance_columns[] = {
    {{"*", TABLE_LEFT, TABLE_KEEP}, "id", VIEW_LEADER},
    {{"ID", TABLE_LEFT, TABLE_ID}, "id", VIEW_TEXT},
    {{"KIND", TABLE_LEFT, TABLE_DROP}, "kind", VIEW_TEXT},
    {{"STATUS", TABLE_LEFT, TABLE_KEEP}, "status", VIEW_TEXT},
    {{"HEALTH", TABLE_LEFT, TABLE_DROP + 2}, "health", VIEW_TEXT},
    {{"ROLES", TABLE_LEFT, TABLE_DROP + 4}, "roles", VIEW_LIST},
    {{"CAP", TABLE_RIGHT, TABLE_DROP + 1}, "capacity", VIEW_NUMBER},
    {{"HELD", TABLE_RIGHT, TABLE_KEEP}, "held", VIEW_NUMBER},
    {{"LOAD", TABLE_RIGHT, TABLE_DROP + 3}, "load", VIEW_NUMBER},
    {{"BEAT", TABLE_RIGHT, TABLE_KEEP}, "beat_age_ms", VIEW_AGE},
    {{"INCARN.", TABLE_LEFT, TABLE_DROP + 5}, "incarnation", VIEW_TEXT},
};

static const struct view_column method_columns[] = {
    {{"METHOD", TABLE_LEFT, TABLE_FLEX}, NULL, VIEW_TEXT},
    {{"REQ/S", TABLE_RIGHT, TABLE_KEEP}, "requests", VIEW_RATE},
    {{"REQUESTS", TABLE_RIGHT, TABLE_KEEP}, "requests", VIEW_NUMBER},
    {{"ERRORS", TABLE_RIGHT, TABLE_KEEP}, "errors", VIEW_NUMBER},
    {{"REFUSED", TABLE_RIGHT, TABLE_DROP}, "refused", VIEW_NUMBER},
    {{"p50 ms", TABLE_RIGHT, TABLE_DROP + 1}, "p50_us", VIEW_MS},
    {{"p95 ms", TABLE_RIGHT, TABLE_DROP + 2}, "p95_us", VIEW_MS},
    {{"p99 ms", TABLE_RIGHT, TABLE_KEEP}, "p99_us", VIEW_MS},
};

#define VIEW(title, path, key, columns, empty, ...)                                                \
    {                                                                                              \
        title, path, key, columns, CB_ARRAY_LEN(columns), empty,                                   \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
const struct view views[VIEWS] = {
    [VIEW_WORKERS] = VIEW("workers", "workers", "pid", worker_columns, "no workers", NULL),
    [VIEW_QUEUES] = VIEW("queues", "figures.queues", "queue", queue_columns, "no queue has tasks",
                         "pending", "in_progress", "failed"),
    [VIEW_INSTANCES] = VIEW("instances", "figures.instances", "id", instance_columns,
                            "no instances", NULL),
    [VIEW_METHODS] = VIEW("methods", "methods", NULL, method_columns, "no requests yet", NULL),
};

/* ---- cells ---- */

static bool is_same(struct json_span a, struct json_span b)
{
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

/* The row of the earlier status that is about the same thing. */
static bool find_before(const struct view *v, const struct json_item *row,
                        const struct view_context *ctx, struct json_item *ret)
{
    struct json_item list, key, other;
    struct json_iter it;

    if (ctx->before.len == 0 || !peek_find(ctx->before, v->path, &list) ||
        (v->key && !peek_find(row->value, v->key, &key)))
        return false;
    json_iter_init(&it, list.value);
    while (json_iter_next(&it, ret)) {
        if (v->key ? peek_find(ret->value, v->key, &other) && is_same(other.value, key.value)
                   : is_same(ret->key, row->key))
            return true;
    }
    return false;
}

static double rate(const struct view *v, const struct view_column *c, const struct json_item *row,
                   const struct view_context *ctx)
{
    struct json_item before;

    if (ctx->seconds <= 0 || !find_before(v, row, ctx, &before))
        return 0;
    double more = peek_number(row->value, c->path) - peek_number(before.value, c->path);
    return more > 0 ? more / ctx->seconds : 0;
}

static void put_list(struct json_span row, const char *path, struct buf *out)
{
    struct json_item list, item;
    struct json_iter it;
    size_t n = 0;

    if (peek_count(row, path) > 0 && peek_find(row, path, &list)) {
        json_iter_init(&it, list.value);
        for (; json_iter_next(&it, &item); n++) {
            buf_puts(out, n ? "," : "");
            peek_put(item.value, "", out);
        }
    }
    if (n == 0)
        buf_puts(out, "-");
}

void view_put_cell(const struct view *v, const struct view_column *c, const struct json_item *row,
                   const struct view_context *ctx, struct buf *out)
{
    struct json_item item;

    if (!c->path) {
        json_decode_string(row->key, out);
    } else if (c->kind == VIEW_RATE) {
        peek_put_rate(out, rate(v, c, row, ctx));
    } else if (c->kind == VIEW_LIST) {
        put_list(row->value, c->path, out);
    } else if (!peek_find(row->value, c->path, &item)) {
        buf_puts(out, "-");
    } else if (c->kind == VIEW_AGE) {
        peek_put_short_age(out, peek_int(row->value, c->path));
    } else if (c->kind == VIEW_MS) {
        buf_printf(out, "%.2f", peek_number(row->value, c->path) / 1000);
    } else if (c->kind == VIEW_PAUSED) {
        buf_puts(out, peek_is_true(row->value, c->path) ? "paused" : "open");
    } else if (c->kind == VIEW_LEADER) {
        buf_puts(out, ctx->leader.len > 0 && is_same(item.value, ctx->leader) ? "*" : "");
    } else {
        peek_put(row->value, c->path, out);
    }
}

bool view_is_number(const struct view_column *c)
{
    return c->path && (c->kind == VIEW_NUMBER || c->kind == VIEW_AGE || c->kind == VIEW_MS ||
                       c->kind == VIEW_RATE);
}

double view_number(const struct view *v, const struct view_column *c, const struct json_item *row,
                   const struct view_context *ctx)
{
    return c->kind == VIEW_RATE ? rate(v, c, row, ctx) : peek_number(row->value, c->path);
}

/* ---- a whole table ---- */

struct row {
    struct json_item item;
    const struct view *view;
    size_t place; /* in which it came */
};

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    const char *const *order = x->view->order;

    for (size_t i = 0; i < CB_ARRAY_LEN(x->view->order) && order[i]; i++) {
        double left = peek_number(x->item.value, order[i]);
        double right = peek_number(y->item.value, order[i]);
        if (left != right)
            return left < right ? 1 : -1;
    }
    return (x->place > y->place) - (x->place < y->place);
}

static size_t sorted_rows(const struct view *v, struct json_span list, struct row **ret)
{
    struct row *rows = mem_calloc(peek_count(list, "") + 1, sizeof *rows);
    struct json_item item;
    struct json_iter it;
    size_t n = 0;

    json_iter_init(&it, list);
    while (json_iter_next(&it, &item))
        if (item.type == JSON_OBJECT) {
            rows[n] = (struct row){.item = item, .view = v, .place = n};
            n++;
        }
    qsort(rows, n, sizeof *rows, compare_rows);
    *ret = rows;
    return n;
}

void view_put(const struct view *v, struct json_span list, const struct view_context *ctx,
              struct term term, struct buf *out)
{
    struct table_column heads[TABLE_COLUMNS_MAX];
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct table t CB_CLEANUP(table_done);
    struct row *rows;
    size_t n = 0, nrows = sorted_rows(v, list, &rows);

    for (size_t i = 0; i < v->ncolumns; i++)
        if (v->columns[i].kind != VIEW_RATE)
            heads[n++] = v->columns[i].column;
    table_init(&t, heads, n);
    for (size_t r = 0; r < nrows; r++)
        for (size_t i = 0; i < v->ncolumns; i++) {
            if (v->columns[i].kind == VIEW_RATE)
                continue;
            buf_reset(&text);
            view_put_cell(v, &v->columns[i], &rows[r].item, ctx, &text);
            table_cell(&t, buf_peek(&text), text.len);
        }
    free(rows);
    table_put(&t, term, out);
}
