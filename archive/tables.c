/*
 * tables.c: see tables.h. Each statement leaves a row alone that is as new as what it brings: so it may be repeated, and come in any
 * order.
 */
#include "common/compat.h"
#include "archive/tables.h"

#include "archive/hash.h"

#include "common/mem.h"

/* ---- the tables ---- */

static const struct table_column task_columns[] = {
    {"id", COLUMN_TEXT},         {"created_at", COLUMN_TIME},  {"version", COLUMN_BIGINT},
    {"state", COLUMN_TEXT},      {"text", COLUMN_TEXT},        {"queue", COLUMN_TEXT},
    {"priority", COLUMN_INT},    {"roles", COLUMN_WORDS},      {"worker", COLUMN_TEXT},
    {"attempt", COLUMN_INT},     {"max_attempts", COLUMN_INT}, {"crashes", COLUMN_INT},
    {"max_crashes", COLUMN_INT}, {"updated_at", COLUMN_TIME},  {"ended_at", COLUMN_TIME},
    {"due_at", COLUMN_TIME},     {"is_dead", COLUMN_BOOL},     {"dead_reason", COLUMN_TEXT},
    {"waits_for", COLUMN_WORDS}, {"on_failure", COLUMN_TEXT},  {"unique_key", COLUMN_TEXT},
    {"partition", COLUMN_TEXT},  {"schedule", COLUMN_TEXT},    {"scheduled_for", COLUMN_TIME},
    {"backoff", COLUMN_TEXT},    {"lease_ms", COLUMN_BIGINT},  {"payload", COLUMN_JSON},
    {"metadata", COLUMN_JSON},   {"result", COLUMN_JSON},      {"error", COLUMN_JSON},
};

/*
 * A version that is not newer may still be what there is: when Redis has lost the newer one. What one worker has read before a task was
 * deleted, or ended and gone, may come behind another one's word that it was: it is so all the same, and only what the word did not
 * say is taken. A version does not tell these apart, since such a word has none. Its time does: Redis' are whole milliseconds, and
 * the time of an end that an event alone told is the last microsecond of its own (record_task_end()).
 */
#define IS_TOLD                                                                                    \
    "(t.ended_at IS NOT NULL AND excluded.updated_at < t.updated_at "                              \
    "AND t.updated_at <> date_trunc('milliseconds', t.updated_at))"
/* clang-format off */
#define UNLESS_TOLD(column) column " = CASE WHEN " IS_TOLD " THEN t." column " ELSE excluded." column " END, "
static const char task_sql[] =
    "ON CONFLICT (generation, id, created_at) DO UPDATE SET version = excluded.version, "
    UNLESS_TOLD("state")
    UNLESS_TOLD("worker")
    UNLESS_TOLD("ended_at")
    UNLESS_TOLD("due_at")
    UNLESS_TOLD("is_dead")
    "text = excluded.text, queue = excluded.queue, priority = excluded.priority, roles = excluded.roles, "
    "attempt = excluded.attempt, max_attempts = excluded.max_attempts, crashes = excluded.crashes, "
    "max_crashes = excluded.max_crashes, dead_reason = excluded.dead_reason, waits_for = excluded.waits_for, "
    "on_failure = excluded.on_failure, unique_key = excluded.unique_key, partition = excluded.partition, "
    "schedule = excluded.schedule, scheduled_for = excluded.scheduled_for, backoff = excluded.backoff, "
    "lease_ms = excluded.lease_ms, payload = excluded.payload, metadata = excluded.metadata, "
    "result = excluded.result, error = excluded.error, "
    "gone_at = CASE WHEN t.gone_reason = 'deleted' AND excluded.updated_at <= t.updated_at THEN t.gone_at END, "
    "gone_reason = CASE WHEN t.gone_reason = 'deleted' AND excluded.updated_at <= t.updated_at THEN t.gone_reason END, "
    "updated_at = greatest(excluded.updated_at, CASE WHEN t.gone_reason = 'deleted' OR " IS_TOLD " THEN t.updated_at END) "
    "WHERE excluded.version > t.version OR excluded.updated_at > t.updated_at";
/* clang-format on */

static const struct table_column task_end_columns[] = {
    {"id", COLUMN_TEXT},          {"created_at", COLUMN_TIME}, {"version", COLUMN_BIGINT},
    {"state", COLUMN_TEXT},       {"updated_at", COLUMN_TIME}, {"ended_at", COLUMN_TIME},
    {"worker", COLUMN_TEXT},      {"is_dead", COLUMN_BOOL},    {"gone_at", COLUMN_TIME},
    {"gone_reason", COLUMN_TEXT},
};
/* A walk takes for lost what was deleted before its event was read. */
static const char task_end_sql[] =
    "ON CONFLICT (generation, id, created_at) DO UPDATE SET "
    "state = CASE WHEN t.ended_at IS NULL AND excluded.ended_at IS NOT NULL THEN excluded.state "
    "ELSE t.state END, "
    "is_dead = t.is_dead OR excluded.is_dead, worker = coalesce(excluded.worker, t.worker), "
    "updated_at = greatest(t.updated_at, excluded.updated_at), "
    "ended_at = coalesce(t.ended_at, excluded.ended_at), "
    "gone_at = CASE WHEN t.gone_reason = 'lost' AND excluded.ended_at IS NOT NULL THEN NULL "
    "WHEN t.gone_reason = 'lost' AND excluded.gone_reason = 'deleted' THEN excluded.gone_at "
    "ELSE coalesce(t.gone_at, excluded.gone_at) END, "
    "gone_reason = CASE WHEN t.gone_reason = 'lost' AND excluded.ended_at IS NOT NULL THEN NULL "
    "WHEN t.gone_reason = 'lost' AND excluded.gone_reason = 'deleted' THEN 'deleted' "
    "ELSE coalesce(t.gone_reason, excluded.gone_reason) END "
    "WHERE (t.ended_at IS NULL AND excluded.ended_at IS NOT NULL) "
    "OR (t.gone_reason = 'lost' AND excluded.gone_reason = 'deleted') "
    "OR (t.gone_at IS NULL AND excluded.gone_at IS NOT NULL)";

static const struct table_column attempt_columns[] = {
    {"task_id", COLUMN_TEXT}, {"started_at", COLUMN_TIME}, {"attempt", COLUMN_INT},
    {"worker", COLUMN_TEXT},  {"ended_at", COLUMN_TIME},   {"outcome", COLUMN_TEXT},
    {"signal", COLUMN_TEXT},  {"error", COLUMN_JSON},
};
static const char attempt_sql[] =
    "ON CONFLICT (generation, task_id, started_at, attempt) DO UPDATE SET worker = "
    "excluded.worker, "
    "ended_at = excluded.ended_at, outcome = excluded.outcome, signal = excluded.signal, "
    "error = excluded.error WHERE t.ended_at IS NULL AND excluded.ended_at IS NOT NULL";

/* `running`: the start of the one that runs now, if any does. */
static const struct table_column attempt_end_columns[] = {
    {"task_id", COLUMN_TEXT}, {"created_at", COLUMN_TIME}, {"ended_at", COLUMN_TIME},
    {"outcome", COLUMN_TEXT}, {"running", COLUMN_TIME},
};
static const char attempt_end_sql[] =
    "UPDATE claudebench.attempt t SET ended_at = u.ended_at, outcome = u.outcome FROM %s "
    "WHERE t.generation = $1 AND t.task_id = u.task_id AND t.ended_at IS NULL "
    "AND t.started_at >= date_trunc('milliseconds', u.created_at) AND t.started_at <= u.ended_at "
    "AND t.started_at IS DISTINCT FROM u.running";

static const struct table_column instance_columns[] = {
    {"id", COLUMN_TEXT},           {"incarnation", COLUMN_TEXT}, {"kind", COLUMN_TEXT},
    {"state", COLUMN_TEXT},        {"roles", COLUMN_JSON},       {"queues", COLUMN_WORDS},
    {"capacity", COLUMN_INT},      {"metadata", COLUMN_JSON},    {"registered_at", COLUMN_TIME},
    {"last_seen_at", COLUMN_TIME}, {"ended_at", COLUMN_TIME},
};
static const char instance_sql[] =
    "ON CONFLICT (generation, id, incarnation) DO UPDATE SET state = excluded.state, "
    "roles = excluded.roles, queues = excluded.queues, capacity = excluded.capacity, "
    "metadata = excluded.metadata, last_seen_at = excluded.last_seen_at, "
    "ended_at = excluded.ended_at "
    "WHERE t.ended_at IS NULL AND (excluded.ended_at IS NOT NULL OR "
    "excluded.last_seen_at > t.last_seen_at)";

static const struct table_column decision_columns[] = {
    {"id", COLUMN_TEXT},    {"opened_at", COLUMN_TIME},   {"status", COLUMN_TEXT},
    {"role", COLUMN_TEXT},  {"electorate", COLUMN_LINES}, {"votes", COLUMN_JSON},
    {"value", COLUMN_JSON}, {"ends_at", COLUMN_TIME},     {"closed_at", COLUMN_TIME},
};
static const char decision_sql[] =
    "ON CONFLICT (generation, id, opened_at) DO UPDATE SET status = excluded.status, "
    "votes = excluded.votes, value = excluded.value, closed_at = excluded.closed_at "
    "WHERE t.closed_at IS NULL";

static const struct table_column schedule_columns[] = {
    {"id", COLUMN_TEXT},         {"version", COLUMN_BIGINT}, {"status", COLUMN_TEXT},
    {"fired", COLUMN_BIGINT},    {"dropped", COLUMN_BIGINT}, {"document", COLUMN_JSON},
    {"updated_at", COLUMN_TIME},
};
/*
 * A schedule ends without a new version. One that was removed has no version for that at all: what another worker has read before comes
 * behind it in vain, by its time.
 */
static const char schedule_sql[] =
    "ON CONFLICT (generation, id) DO UPDATE SET version = excluded.version, "
    "status = excluded.status, fired = excluded.fired, dropped = excluded.dropped, "
    "document = excluded.document, updated_at = excluded.updated_at, removed_at = NULL "
    "WHERE (t.removed_at IS NULL OR t.removed_at <= excluded.updated_at) AND "
    "((excluded.version, excluded.fired + excluded.dropped) > (t.version, t.fired + t.dropped) "
    "OR excluded.updated_at > t.updated_at OR (excluded.version = t.version AND "
    "excluded.fired + excluded.dropped = t.fired + t.dropped AND excluded.status = 'ended' AND "
    "t.status <> 'ended'))";

static const struct table_column schedule_end_columns[] = {
    {"id", COLUMN_TEXT},
    {"removed_at", COLUMN_TIME},
};
static const char schedule_end_sql[] =
    "UPDATE claudebench.schedule t SET removed_at = u.removed_at FROM %s "
    "WHERE t.generation = $1 AND t.id = u.id AND t.removed_at IS NULL";

static const struct table_column audit_columns[] = {
    {"entry", COLUMN_TEXT}, {"recorded_at", COLUMN_TIME}, {"at", COLUMN_TIME},
    {"kind", COLUMN_TEXT},  {"session", COLUMN_TEXT},     {"agent", COLUMN_TEXT},
    {"actor", COLUMN_TEXT}, {"tool", COLUMN_TEXT},        {"decision", COLUMN_TEXT},
    {"rule", COLUMN_TEXT},  {"data", COLUMN_JSON},
};

#define COLUMNS(c) c, CB_ARRAY_LEN(c)
static const struct table_def defs[] = {
    [TABLE_TASK] = {"task", COLUMNS(task_columns), 1, "task", "claudebench.task", task_sql},
    [TABLE_TASK_END] = {"task_end", COLUMNS(task_end_columns), 1, "task", "claudebench.task",
                        task_end_sql},
    [TABLE_ATTEMPT] = {"attempt", COLUMNS(attempt_columns), 1, "attempt", "claudebench.attempt",
                       attempt_sql},
    [TABLE_ATTEMPT_END] = {"attempt_end", COLUMNS(attempt_end_columns), -1, NULL, NULL,
                           attempt_end_sql},
    [TABLE_INSTANCE] = {"instance", COLUMNS(instance_columns), -1, NULL, "claudebench.instance",
                        instance_sql},
    [TABLE_DECISION] = {"decision", COLUMNS(decision_columns), 1, "decision",
                        "claudebench.decision", decision_sql},
    [TABLE_SCHEDULE] = {"schedule", COLUMNS(schedule_columns), -1, NULL, "claudebench.schedule",
                        schedule_sql},
    [TABLE_SCHEDULE_END] = {"schedule_end", COLUMNS(schedule_end_columns), -1, NULL, NULL,
                            schedule_end_sql},
    [TABLE_AUDIT] = {"audit_record", COLUMNS(audit_columns), 1, "audit_record",
                     "claudebench.audit_record", "ON CONFLICT DO NOTHING"},
};

const struct table_def *table_def(enum table_id id)
{
    return &defs[id];
}

/* ---- statements ---- */

static void put_names(const struct table_def *d, struct buf *out)
{
    for (int i = 0; i < d->ncolumns; i++)
        buf_printf(out, "%s%s", i ? ", " : "", d->columns[i].name);
}

static void put_values(const struct table_def *d, struct buf *out)
{
    for (int i = 0; i < d->ncolumns; i++) {
        const struct table_column *c = &d->columns[i];
        if (c->type == COLUMN_WORDS || c->type == COLUMN_LINES)
            buf_printf(out, ", string_to_array(coalesce(u.%s, ''), %s)", c->name,
                       c->type == COLUMN_WORDS ? "' '" : "E'\\n'");
        else
            buf_printf(out, ", u.%s", c->name);
    }
}

static void put_unnest(const struct table_def *d, struct buf *out)
{
    buf_puts(out, "unnest(");
    for (int i = 0; i < d->ncolumns; i++)
        buf_printf(out, "%s$%d::%s", i ? ", " : "", i + 2, column_type_sql(d->columns[i].type));
    buf_puts(out, ") AS u (");
    put_names(d, out);
    buf_putc(out, ')');
}

void table_put_sql(enum table_id id, struct buf *out)
{
    const struct table_def *d = &defs[id];

    if (!d->into) {
        const char *place = strstr(d->sql, "%s");
        buf_append(out, d->sql, (size_t)(place - d->sql));
        put_unnest(d, out);
        buf_puts(out, place + 2);
        return;
    }
    buf_printf(out, "INSERT INTO %s AS t (generation, ", d->into);
    put_names(d, out);
    buf_puts(out, ") SELECT $1");
    put_values(d, out);
    buf_puts(out, " FROM ");
    put_unnest(d, out);
    buf_printf(out, " %s", d->sql);
}

/* ---- batches ---- */

struct batch_key {
    UT_hash_handle hh;
    char key[]; /* the table's number and what names the row */
};

void batch_init(struct batch *b)
{
    *b = (struct batch){.keys = NULL};
    for (int i = 0; i < TABLE_COUNT; i++) {
        struct table_rows *t = &b->tables[i];
        t->def = &defs[i];
        cb_assert(t->def->ncolumns <= TABLE_COLUMNS_MAX);
        for (int c = 0; c < t->def->ncolumns; c++)
            column_init(&t->columns[c], t->def->columns[c].type);
    }
}

static void forget_keys(struct batch *b)
{
    struct batch_key *k = b->keys, *next;

    HASH_CLEAR(hh, b->keys);
    for (; k; k = next) {
        next = k->hh.next;
        free(k);
    }
}

void batch_reset(struct batch *b)
{
    for (int i = 0; i < TABLE_COUNT; i++) {
        struct table_rows *t = &b->tables[i];
        for (int c = 0; t->rows > 0 && c < t->def->ncolumns; c++)
            column_reset(&t->columns[c]);
        t->rows = 0;
    }
    forget_keys(b);
    b->bytes = 0;
    b->rows = 0;
}

void batch_done(struct batch *b)
{
    forget_keys(b);
    for (int i = 0; i < TABLE_COUNT; i++)
        for (int c = 0; c < defs[i].ncolumns; c++)
            column_done(&b->tables[i].columns[c]);
}

bool batch_begin_row(struct batch *b, enum table_id table, const char *key)
{
    size_t len = strlen(key);
    struct batch_key *k = mem_alloc(sizeof *k + len + 2), *found = NULL;

    k->key[0] = (char)('A' + table);
    memcpy(k->key + 1, key, len);
    HASH_FIND(hh, b->keys, k->key, len + 1, found);
    if (found) {
        free(k);
        return false;
    }
    HASH_ADD_KEYPTR(hh, b->keys, k->key, len + 1, k);
    return true;
}

static struct column *next_column(struct batch *b, enum table_id table)
{
    struct table_rows *t = &b->tables[table];

    cb_assert(t->at < t->def->ncolumns);
    return &t->columns[t->at++];
}

void batch_text(struct batch *b, enum table_id table, const char *s, size_t len)
{
    struct column *c = next_column(b, table);

    b->bytes += len;
    if (s)
        column_text(c, s, len);
    else
        column_null(c);
}

void batch_cstr(struct batch *b, enum table_id table, const char *s)
{
    batch_text(b, table, s, s ? strlen(s) : 0);
}

void batch_int(struct batch *b, enum table_id table, int64_t n)
{
    column_int(next_column(b, table), n);
}

void batch_null(struct batch *b, enum table_id table)
{
    column_null(next_column(b, table));
}

void batch_end_row(struct batch *b, enum table_id table)
{
    struct table_rows *t = &b->tables[table];

    cb_assert(t->at == t->def->ncolumns);
    t->at = 0;
    t->rows++;
    b->rows++;
    b->bytes += 100;
}
