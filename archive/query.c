/*
 * query.c: see query.h.
 */
#include "common/compat.h"
#include "archive/query.h"

#include "archive/pg.h"
#include "archive/records.h"
#include "common/json.h"

#include <time.h>

#define ISO(column)  "to_char(" column ", 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
#define LIST(column) "CASE WHEN cardinality(" column ") > 0 THEN to_json(" column ") END"
/* µs since 1970, as whole numbers: a double would round them. */
#define MICROSECONDS(column) "(extract(epoch FROM " column ") * 1000000)::bigint"

enum column_form { FORM_STRING, FORM_LITERAL }; /* a literal: JSON already */

struct query_column {
    const char *name; /* in the JSON */
    const char *sql;
    enum column_form form;
};

/* The first one is the cursor, which is not shown. Names as task.get has them. */
static const struct query_column task_columns[] = {
    {"", MICROSECONDS("t.updated_at") " || ':' || t.id || ':' || t.generation", FORM_STRING},
    {"id", "t.id", FORM_STRING},
    {"generation", "t.generation", FORM_STRING},
    {"text", "t.text", FORM_STRING},
    {"status", "t.state", FORM_STRING},
    {"queue", "t.queue", FORM_STRING},
    {"priority", "t.priority", FORM_LITERAL},
    {"roles", LIST("t.roles"), FORM_LITERAL},
    {"assignedTo", "t.worker", FORM_STRING},
    {"attempt", "t.attempt", FORM_LITERAL},
    {"maxAttempts", "t.max_attempts", FORM_LITERAL},
    {"crashes", "nullif(t.crashes, 0)", FORM_LITERAL},
    {"version", "t.version", FORM_LITERAL},
    {"createdAt", ISO("t.created_at"), FORM_STRING},
    {"updatedAt", ISO("t.updated_at"), FORM_STRING},
    {"endedAt", ISO("t.ended_at"), FORM_STRING},
    {"next_run_at", ISO("t.due_at"), FORM_STRING},
    {"dead", "CASE WHEN t.is_dead THEN 'true' END", FORM_LITERAL},
    {"dead_reason", "t.dead_reason", FORM_STRING},
    {"waiting_for", LIST("t.waits_for"), FORM_LITERAL},
    {"unique_key", "t.unique_key", FORM_STRING},
    {"partition", "t.partition", FORM_STRING},
    {"schedule", "t.schedule", FORM_STRING},
    {"scheduledFor", ISO("t.scheduled_for"), FORM_STRING},
    {"goneAt", ISO("t.gone_at"), FORM_STRING},
    {"gone_reason", "t.gone_reason", FORM_STRING},
    {"payload", "t.payload", FORM_LITERAL},
    {"metadata", "t.metadata", FORM_LITERAL},
    {"result", "t.result", FORM_LITERAL},
    {"error", "t.error", FORM_LITERAL},
};
static const struct query_column attempt_columns[] = {
    {"",
     MICROSECONDS("t.started_at") " || ':' || t.task_id || ':' || t.generation || ':' || t.attempt",
     FORM_STRING},
    {"taskId", "t.task_id", FORM_STRING},
    {"generation", "t.generation", FORM_STRING},
    {"attempt", "t.attempt", FORM_LITERAL},
    {"worker", "t.worker", FORM_STRING},
    {"startedAt", ISO("t.started_at"), FORM_STRING},
    {"endedAt", ISO("t.ended_at"), FORM_STRING},
    {"outcome", "t.outcome", FORM_STRING},
    {"signal", "t.signal", FORM_STRING},
    {"error", "t.error", FORM_LITERAL},
};

static const struct kind {
    const char *table, *id, *time;
    const char *key; /* what the order is by */
    const struct query_column *columns;
    size_t ncolumns;
} kinds[] = {
    [QUERY_TASKS] = {"task", "id", "updated_at", "t.updated_at, t.id, t.generation", task_columns,
                     CB_ARRAY_LEN(task_columns)},
    [QUERY_ATTEMPTS] = {"attempt", "task_id", "started_at",
                        "t.started_at, t.task_id, t.generation, t.attempt", attempt_columns,
                        CB_ARRAY_LEN(attempt_columns)},
};

/* ---- the statement ---- */

/* The number of the parameter that the value has become. */
static int bind(struct query *q, const char *value)
{
    cb_assert(q->nvalues < QUERY_PARAMS_MAX);
    q->values[q->nvalues++] = value;
    return q->nvalues;
}

static void where_equal(struct query *q, const char *column, const char *value)
{
    if (value)
        buf_printf(&q->sql, " AND t.%s = $%d", column, bind(q, value));
}

static const char *number(struct query *q, int64_t n)
{
    return arena_printf(&q->arena, "%" PRId64, n);
}

#define AT_US "(timestamptz 'epoch' + $%d::bigint * interval '1 microsecond')"

static void where_time(struct query *q, const struct kind *k, const char *compare, int64_t ms)
{
    if (ms > 0)
        buf_printf(&q->sql, " AND t.%s %s " AT_US, k->time, compare, bind(q, number(q, ms * 1000)));
}

static void where_ids(struct query *q, const struct kind *k, const struct query_filter *f)
{
    struct buf list CB_CLEANUP(buf_done) = BUF_INIT;

    if (f->nids == 0)
        return;
    for (int i = 0; i < f->nids; i++) {
        buf_putc(&list, i ? ',' : '{');
        pg_put_element(&list, f->ids[i]);
    }
    buf_putc(&list, '}');
    buf_printf(&q->sql, " AND t.%s = ANY ($%d::text[])", k->id,
               bind(q, arena_printf(&q->arena, "%s", buf_peek(&list))));
}

/* A task's id is the microsecond of its creation, which names its partition. Ids that are none of ours are looked for in all. */
static void where_created(struct query *q, const struct query_filter *f)
{
    struct buf list CB_CLEANUP(buf_done) = BUF_INIT;

    if (f->nids == 0 || f->kind != QUERY_TASKS)
        return;
    for (int i = 0; i < f->nids; i++) {
        char day[32];
        int64_t us = record_task_created_us(f->ids[i]);
        time_t s = (time_t)(us / 1000000);
        struct tm tm;
        if (us < 0 || !gmtime_r(&s, &tm) ||
            strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &tm) == 0)
            return;
        buf_printf(&list, "%s\"%s.%06dZ\"", i ? "," : "{", day, (int)(us % 1000000));
    }
    buf_putc(&list, '}');
    buf_printf(&q->sql, " AND t.created_at = ANY ($%d::timestamptz[])",
               bind(q, arena_printf(&q->arena, "%s", buf_peek(&list))));
}

/* "<µs>:<id>:<generation>[:<attempt>]" */
static int where_behind(struct query *q, const struct query_filter *f, const struct kind *k)
{
    static const size_t parts[] = {[QUERY_TASKS] = 3, [QUERY_ATTEMPTS] = 4};
    char *rest = arena_printf(&q->arena, "%s", f->after), *part[4] = {NULL};
    size_t n = 0;

    for (char *p = rest; p && n < CB_ARRAY_LEN(part); n++) {
        part[n] = p;
        p = strchr(p, ':');
        if (p)
            *p++ = '\0';
        else if (n + 1 < parts[f->kind])
            return -1;
        rest = p;
    }
    if (rest || n != parts[f->kind] || !part[0][0] || strlen(part[0]) > 18 ||
        part[0][strspn(part[0], "0123456789")])
        return -1;
    int at = bind(q, part[0]);
    /* The first comparison is for the index, which need not have all columns of the key. */
    buf_printf(&q->sql, " AND t.%s <= " AT_US " AND (%s) < (" AT_US ", $%d, $%d", k->time, at,
               k->key, at, bind(q, part[1]), bind(q, part[2]));
    if (n == 4) {
        if (strlen(part[3]) > 9 || !part[3][0] || part[3][strspn(part[3], "0123456789")])
            return -1;
        buf_printf(&q->sql, ", $%d::integer", bind(q, part[3]));
    }
    buf_putc(&q->sql, ')');
    return 0;
}

static void where_task(struct query *q, const struct query_filter *f)
{
    where_equal(q, "state", f->state);
    where_equal(q, "queue", f->queue);
    if (f->is_open)
        buf_puts(&q->sql, " AND t.ended_at IS NULL AND t.gone_at IS NULL");
    if (f->is_dead)
        buf_puts(&q->sql, " AND t.is_dead");
    if (f->is_lost)
        buf_puts(&q->sql, " AND t.gone_reason = 'lost'");
    if (f->words)
        buf_printf(&q->sql,
                   " AND to_tsvector('simple'::regconfig, coalesce(t.text, '')) @@ "
                   "websearch_to_tsquery('simple'::regconfig, $%d)",
                   bind(q, f->words));
}

/* ORDER BY: each column of the key from the last to the first. */
static void put_order(const struct kind *k, struct buf *out)
{
    buf_puts(out, " ORDER BY ");
    for (const char *p = k->key; *p; p++) {
        if (*p == ',')
            buf_puts(out, " DESC");
        buf_putc(out, *p);
    }
    buf_puts(out, " DESC");
}

int query_make(struct query *q, const struct query_filter *f, int most)
{
    const struct kind *k = &kinds[f->kind];

    for (size_t i = 0; i < k->ncolumns; i++)
        buf_printf(&q->sql, "%s%s", i ? ", " : "SELECT ", k->columns[i].sql);
    buf_printf(&q->sql, " FROM claudebench.%s t WHERE", k->table);
    if (f->generation)
        buf_printf(&q->sql, " t.generation = $%d", bind(q, f->generation));
    else
        buf_printf(&q->sql,
                   " t.generation = ANY (ARRAY(SELECT generation FROM claudebench.generation "
                   "WHERE prefix = $%d))",
                   bind(q, f->prefix));
    where_ids(q, k, f);
    where_created(q, f);
    where_equal(q, "worker", f->worker);
    if (f->kind == QUERY_TASKS)
        where_task(q, f);
    else
        where_equal(q, "outcome", f->outcome);
    where_time(q, k, ">=", f->since_ms);
    where_time(q, k, "<", f->until_ms);
    if (f->after && where_behind(q, f, k) != 0)
        return -1;
    put_order(k, &q->sql);
    buf_printf(&q->sql, " LIMIT $%d::integer", bind(q, number(q, most)));
    return 0;
}

void query_done(struct query *q)
{
    buf_done(&q->sql);
    arena_done(&q->arena);
}

/* ---- rows ---- */

/* JSON as it came, on one line: between its tokens a newline is as good as a space, and within them there is none. */
static void put_literal(struct buf *out, const char *s, size_t len)
{
    buf_append(out, s, len);
    for (char *p = out->data + out->len - len; p < out->data + out->len; p++)
        if (*p == '\n' || *p == '\r')
            *p = ' ';
}

void query_put_json(enum query_kind kind, const PGresult *rows, int row, struct buf *out)
{
    const struct kind *k = &kinds[kind];

    buf_putc(out, '{');
    for (int i = 1; i < (int)k->ncolumns; i++) {
        if (PQgetisnull(rows, row, i))
            continue;
        json_put_key(out, k->columns[i].name);
        if (k->columns[i].form == FORM_STRING)
            json_put_string(out, PQgetvalue(rows, row, i), (size_t)PQgetlength(rows, row, i));
        else
            put_literal(out, PQgetvalue(rows, row, i), (size_t)PQgetlength(rows, row, i));
    }
    buf_putc(out, '}');
}

const char *query_value(enum query_kind kind, const PGresult *rows, int row, const char *name)
{
    const struct kind *k = &kinds[kind];

    for (int i = 0; i < (int)k->ncolumns; i++)
        if (strcmp(k->columns[i].name, name) == 0)
            return PQgetvalue(rows, row, i);
    cb_assert(!"a column that there is");
    return "";
}

const char *query_cursor(enum query_kind kind, const PGresult *rows, int row)
{
    return query_value(kind, rows, row, "");
}
