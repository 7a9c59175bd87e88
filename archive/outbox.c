/*
 * outbox.c: see outbox.h.
 */
#include "common/compat.h"
#include "archive/outbox.h"

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/handlers/task/task_tables.h"

enum {
    TRY_MS = 2000,
    LOOK_MS = 5000,  /* without a notification: one may have been lost with a connection */
    AGAIN_MS = 1000, /* while rows are left, or something is wrong */
    PAGE = 100,
    CALL_BYTES = 1024 * 1024,
    EXPIRE_MS = 3600000,
    EXPIRE_ROWS = 5000,
    INVALID_PARAMS = -32602
};

/* A row in hand. */
struct outbox_row {
    const char *id;
    struct arg_list args; /* of the script; empty: it is refused already */
    const char *task;     /* what came of it */
    const char *error;    /* …or the error as JSON; neither: it is left */
};

void outbox_init(struct outbox *o, struct source *source, struct pg *pg)
{
    *o = (struct outbox){.source = source, .pg = pg};
    o->ctx = (struct handler_context){.opts = source->opts, .prefix = source->opts->redis.prefix};
    o->done_ids = mem_calloc(PAGE, sizeof *o->done_ids);
}

static void forget_done(struct outbox *o)
{
    arena_done(&o->done);
    o->done = (struct arena)ARENA_INIT;
    o->ndone = 0;
}

void outbox_done(struct outbox *o)
{
    forget_done(o);
    free(o->done_ids);
}

void outbox_reset(struct outbox *o)
{
    forget_done(o);
    o->has_lock = false;
    o->number[0] = '\0';
    o->try_at_ms = 0;
}

bool outbox_is_ours(const struct outbox *o)
{
    return o->has_lock;
}

/* ---- Redis ---- */

static void begin_call(const struct outbox *o, struct arena *a, const char *number,
                       struct script_call *call)
{
    const struct options *opts = o->source->opts;

    script_call_init(call, SCRIPT_OUTBOX_CREATE);
    script_call_key(call, keys_make(a, opts->redis.prefix, KEY_OUTBOX));
    script_call_key(call, keys_make(a, opts->redis.prefix, KEY_EVENTS));
    script_call_arg_str(call, arena_printf(a, "%s:", opts->redis.prefix));
    script_call_arg_str(call, options_events_policy(opts, a));
    script_call_arg_int(call, opts->task.max_pending);
    script_call_arg_str(call, number);
}

/*
 * Runs it. 0; 1: not now (Redis is full, say, which must not keep the archive from its other work); -1: the connection is lost.
 */
static int run_call(struct outbox *o, struct script_call *call, reply_t **ret, struct cb_error *err)
{
    unsigned times;
    int status = scripts_run(o->source->link, call, ret, err);

    script_call_done(call);
    if (status == 0 || err->code == REDIS_LOST || err->code == REDIS_PROTOCOL)
        return status;
    if (log_repeat_may(&o->said, err->text, &times))
        log_event(EV_archive_outbox_waits, LOG_S("error", err->text), LOG_I("times", times));
    o->look_at_ms = clock_mono_ms() + AGAIN_MS;
    return 1;
}

/* ---- becoming the keeper of the outbox ---- */

/* Marks of rows that PostgreSQL knows the outcome of: the one before us died between its commit and their removal. */
static int find_done(struct outbox *o, const reply_t *marks, struct cb_error *err)
{
    CB_CLEANUP(buf_done) struct buf list = BUF_INIT;
    PGresult *rows CB_CLEANUP(pg_result_free) = NULL;

    buf_putc(&list, '{');
    for (size_t i = 0; i < reply_count(marks); i++) {
        buf_puts(&list, i ? "," : "");
        pg_put_element(&list, reply_str(reply_at(marks, i)));
    }
    buf_putc(&list, '}');
    const char *values[] = {buf_peek(&list)};
    if (pg_query(
            o->pg,
            "SELECT m FROM unnest($1::bigint[]) m WHERE NOT EXISTS "
            "(SELECT FROM claudebench.outbox o WHERE o.id = m AND o.done_at IS NULL) LIMIT 100",
            1, values, &rows, err) != 0)
        return -1;
    forget_done(o);
    for (int i = 0; i < PQntuples(rows) && i < PAGE; i++)
        o->done_ids[o->ndone++] = arena_printf(&o->done, "%s", PQgetvalue(rows, i, 0));
    return 0;
}

static int draw_number(struct outbox *o, bool *ret_is_redis, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct script_call call;

    begin_call(o, &a, "", &call);
    script_call_arg_int(&call, 0);
    *ret_is_redis = true;
    int status = run_call(o, &call, &reply, err);
    if (status != 0)
        return status;
    *ret_is_redis = false;
    if (find_done(o, reply_at(reply, 1), err) != 0)
        return -1;
    snprintf(o->number, sizeof o->number, "%s", reply_str(reply_at(reply, 0)));
    snprintf(o->after, sizeof o->after, "0");
    o->has_left = false;
    o->look_at_ms = 0;
    return 0;
}

static int try_lock(struct outbox *o, struct cb_error *err)
{
    const char *values[] = {o->source->opts->redis.prefix};
    PGresult *lock CB_CLEANUP(pg_result_free) = NULL;

    o->try_at_ms = clock_mono_ms() + TRY_MS;
    if (pg_query(o->pg, "SELECT pg_try_advisory_lock(hashtext('claudebench.outbox'), hashtext($1))",
                 1, values, &lock, err) != 0)
        return -1;
    if (strcmp(PQgetvalue(lock, 0, 0), "t") != 0)
        return 0;
    if (pg_exec(o->pg, "LISTEN claudebench_outbox", NULL, err) != 0)
        return -1;
    o->has_lock = true;
    log_event(EV_archive_outbox, LOG_S("prefix", o->source->opts->redis.prefix));
    return 0;
}

/* Was there a notification? */
static bool is_notified(struct outbox *o)
{
    bool is = false;
    PGconn *conn = pg_conn(o->pg);

    if (conn && PQconsumeInput(conn) == 1)
        for (PGnotify *n; (n = PQnotifies(conn)) != NULL; is = true)
            PQfreemem(n);
    return is;
}

/* ---- a page of rows ---- */

static const char *error_json(struct arena *a, int code, const char *message, const char *data)
{
    CB_CLEANUP(buf_done) struct buf out = BUF_INIT;

    buf_printf(&out, "{\"code\":%d,\"message\":", code);
    json_put_cstr(&out, message);
    buf_printf(&out, ",\"data\":%s}", data[0] ? data : "{}");
    return arena_printf(a, "%s", buf_peek(&out));
}

static void refuse(struct outbox_row *row, struct arena *a, const struct field_problem *problem)
{
    CB_CLEANUP(buf_done) struct buf data = BUF_INIT;

    buf_puts(&data, "{\"path\":");
    json_put_cstr(&data, problem->path);
    buf_puts(&data, ",\"expected\":");
    json_put_cstr(&data, problem->expected);
    buf_puts(&data, ",\"got\":");
    json_put_cstr(&data, problem->got);
    buf_putc(&data, '}');
    row->error = error_json(
        a, INVALID_PARAMS,
        arena_printf(a, "invalid params:%s%s%s expected %s, got %s", problem->path[0] ? " " : "",
                     problem->path, problem->path[0] ? ":" : "", problem->expected, problem->got),
        buf_peek(&data));
}

/* The row's JSON as the script's arguments, by the table of task.create. */
static void prepare_row(struct outbox *o, struct outbox_row *row, struct arena *a, const char *text,
                        size_t len)
{
    struct field_problem problem = {.code = INVALID_PARAMS};
    struct field_value *values = arena_alloc(a, (fields_count(task_create_params) + 1) *
                                                    sizeof *values);
    struct prepare p = {.ctx = &o->ctx, .arena = a, .values = values, .problem = &problem};
    struct json_span params;
    struct json_error wrong;
    enum json_type type;

    if (json_check(text, len, &params, &type, &wrong) != 0) {
        snprintf(problem.expected, sizeof problem.expected, "JSON that can be kept");
        snprintf(problem.got, sizeof problem.got, "%.70s", wrong.text);
        refuse(row, a, &problem);
    } else if (fields_parse(task_create_params, params, a, values, &problem) != 0 ||
               task_put_create_args(&p, task_create_params, values, "") != 0) {
        refuse(row, a, &problem);
    } else {
        row->args = p.args;
    }
}

/* "Taken" is only told to people: what counts is done_at. A row that somebody changes just now is for the next pass. */
static const char page_sql[] =
    "WITH page AS (SELECT id FROM claudebench.outbox WHERE prefix = $1 AND done_at IS NULL AND "
    "id > $2::bigint ORDER BY id LIMIT $3::integer FOR UPDATE SKIP LOCKED), "
    "taken AS (UPDATE claudebench.outbox o SET taken_at = coalesce(o.taken_at, now()) FROM page "
    "WHERE o.id = page.id RETURNING o.id, o.task) SELECT id, task FROM taken ORDER BY id";

static int read_page(struct outbox *o, struct arena *a, struct outbox_row rows[PAGE], int *ret_n,
                     struct cb_error *err)
{
    char most[16];
    const char *values[] = {o->source->opts->redis.prefix, o->after, most};
    PGresult *found CB_CLEANUP(pg_result_free) = NULL;

    snprintf(most, sizeof most, "%d", PAGE);
    if (pg_query(o->pg, page_sql, 3, values, &found, err) != 0)
        return -1;
    *ret_n = PQntuples(found);
    for (int i = 0; i < *ret_n; i++) {
        size_t len = (size_t)PQgetlength(found, i, 1);
        char *text = arena_alloc(a, len + 1);
        memcpy(text, PQgetvalue(found, i, 1), len + 1);
        rows[i] = (struct outbox_row){.id = arena_printf(a, "%s", PQgetvalue(found, i, 0))};
        prepare_row(o, &rows[i], a, text, len);
    }
    return 0;
}

/* ---- their tasks ---- */

static void take_outcome(struct outbox *o, struct outbox_row *row, struct arena *a,
                         const reply_t *outcome)
{
    const char *what = reply_str(reply_at(outcome, 0)), *more = reply_str(reply_at(outcome, 1));
    unsigned times;

    if (strcmp(what, "made") == 0) {
        row->task = arena_printf(a, "%s", more);
    } else if (strcmp(what, "error") == 0) {
        row->error = error_json(a, (int)reply_int(reply_at(outcome, 1)),
                                reply_str(reply_at(outcome, 2)), reply_str(reply_at(outcome, 3)));
    } else {
        o->has_left = true;
        if (strcmp(what, "failed") == 0 && log_repeat_may(&o->said, more, &times))
            log_event(EV_archive_outbox_waits, LOG_S("row", row->id), LOG_S("error", more),
                      LOG_I("times", times));
    }
}

/* The script for some of the rows, from *at on. 0, 1: not now; -1. */
static int make_some(struct outbox *o, struct outbox_row *rows, int n, int *at, struct arena *a,
                     struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct outbox_row *asked[PAGE];
    struct script_call call;
    size_t bytes = 0, nasked = 0;

    begin_call(o, a, o->number, &call);
    script_call_arg_int(&call, (int64_t)o->ndone);
    for (size_t i = 0; i < o->ndone; i++)
        script_call_arg_str(&call, o->done_ids[i]);
    for (; *at < n && bytes < CALL_BYTES; (*at)++) {
        struct outbox_row *row = &rows[*at];
        if (row->error)
            continue;
        script_call_arg_str(&call, row->id);
        for (size_t i = 0; i < row->args.len; i++) {
            script_call_arg(&call, row->args.items[i].data, row->args.items[i].len);
            bytes += row->args.items[i].len;
        }
        asked[nasked++] = row;
    }
    int status = run_call(o, &call, &reply, err);
    if (status != 0)
        return status;
    if (strcmp(reply_str(reply_at(reply, 0)), "ok") != 0) {
        o->number[0] = '\0'; /* another one came after us, or Redis has lost it */
        return 1;
    }
    forget_done(o);
    for (size_t i = 0; i < nasked; i++)
        take_outcome(o, asked[i], a, reply_at(reply, i + 1));
    return 0;
}

static void put_or_null(struct buf *list, const char *s)
{
    if (s)
        pg_put_element(list, s);
    else
        buf_puts(list, "NULL");
}

static int note_outcomes(struct outbox *o, const struct outbox_row *rows, int n,
                         struct cb_error *err)
{
    CB_CLEANUP(buf_done) struct buf ids = BUF_INIT;
    CB_CLEANUP(buf_done) struct buf tasks = BUF_INIT;
    CB_CLEANUP(buf_done) struct buf errors = BUF_INIT;

    for (int i = 0; i < n; i++) {
        const char *separator = ids.len ? "," : "{";
        if (!rows[i].task && !rows[i].error)
            continue;
        buf_printf(&ids, "%s%s", separator, rows[i].id);
        buf_puts(&tasks, separator);
        put_or_null(&tasks, rows[i].task);
        buf_puts(&errors, separator);
        put_or_null(&errors, rows[i].error);
        if (rows[i].task)
            o->done_ids[o->ndone++] = arena_printf(&o->done, "%s", rows[i].id);
    }
    if (ids.len == 0)
        return 0;
    buf_putc(&ids, '}');
    buf_putc(&tasks, '}');
    buf_putc(&errors, '}');
    const char *values[] = {buf_peek(&ids), buf_peek(&tasks), buf_peek(&errors)};
    int status = pg_query(
        o->pg,
        "UPDATE claudebench.outbox o SET done_at = now(), task_id = u.task, "
        "error = u.error::json "
        "FROM unnest($1::bigint[], $2::text[], $3::text[]) AS u (id, task, error) "
        "WHERE o.id = u.id AND o.done_at IS NULL",
        3, values, NULL, err);
    if (status != 0)
        forget_done(o); /* the marks stay: who knows what was committed */
    return status;
}

/* 1: there may be more rows at once; 0: not. */
static int serve_page(struct outbox *o, bool *ret_is_redis, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    struct outbox_row rows[PAGE];
    int n = 0, at = 0, status = 0;

    *ret_is_redis = false;
    if (read_page(o, &a, rows, &n, err) != 0)
        return -1;
    *ret_is_redis = true;
    fault_point("outbox.before_create");
    while (status == 0 && (at < n || (n == 0 && o->ndone > 0)))
        status = make_some(o, rows, n, &at, &a, err);
    if (status < 0)
        return -1;
    fault_point("outbox.after_create");
    *ret_is_redis = false;
    if (note_outcomes(o, rows, n, err) != 0)
        return -1;
    fault_point("outbox.after_done");
    if (status > 0)
        return 0;
    if (n == PAGE) {
        snprintf(o->after, sizeof o->after, "%s", rows[n - 1].id);
        return 1;
    }
    snprintf(o->after, sizeof o->after, "0");
    o->look_at_ms = clock_mono_ms() + (o->has_left ? AGAIN_MS : o->ndone > 0 ? 0 : LOOK_MS);
    o->has_left = false;
    return 0;
}

/* ---- retention ---- */

static int expire(struct outbox *o, struct cb_error *err)
{
    char days[24], most[16];
    const char *values[] = {days, most};
    int64_t keep_days = o->source->opts->archive.keep_days;

    o->expire_at_ms = clock_mono_ms() + EXPIRE_MS;
    if (keep_days == 0)
        return 0;
    snprintf(days, sizeof days, "%" PRId64, keep_days);
    snprintf(most, sizeof most, "%d", EXPIRE_ROWS);
    return pg_query(o->pg,
                    "DELETE FROM claudebench.outbox WHERE ctid = ANY (ARRAY(SELECT ctid FROM "
                    "claudebench.outbox WHERE done_at < now() - $1::integer * interval '1 day' "
                    "LIMIT $2::integer))",
                    2, values, NULL, err);
}

int outbox_turn(struct outbox *o, bool *ret_is_redis, struct cb_error *err)
{
    int64_t now = clock_mono_ms();

    *ret_is_redis = false;
    if (!o->has_lock)
        return now >= o->try_at_ms ? try_lock(o, err) : 0;
    if (is_notified(o))
        o->look_at_ms = 0;
    if (now < o->look_at_ms)
        return now >= o->expire_at_ms ? expire(o, err) : 0;
    if (!o->number[0]) {
        int status = draw_number(o, ret_is_redis, err);
        return status < 0 ? -1 : 0;
    }
    return serve_page(o, ret_is_redis, err);
}
