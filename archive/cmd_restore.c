/*
 * cmd_restore.c: claudebench archive restore: puts the open tasks and the schedules of the archive back into a Redis that has lost them.
 *
 * Tasks go by lua/archive_restore.lua, in pages of one cursor, those that wait for others last; schedules by schedule.add, under the
 * condition that there is none of that id. Both leave alone what is there, so a restore that was interrupted is begun again.
 */
#include "common/compat.h"
#include "client/archive_verbs.h"

#include "archive/open.h"
#include "common/arena.h"
#include "common/exitcode.h"
#include "common/fault.h"
#include "common/json.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/scripts.h"

enum {
    PAGE = 200, /* tasks that are read at once, and put back by one call of the script… */
    CALL_BYTES = 2 << 20, /* …unless they are larger: Redis does nothing else meanwhile */
    FETCH_BYTES = 16
                  << 20, /* …and so many are read, as far as those before tell how large they are */
};

struct restore {
    const struct cli *cli;
    struct archive_session a;
    struct redis_target target; /* as the daemon's user: clients may not run scripts */
    struct redis_link *link;
    char *generation;
    char *last_number;
    int64_t tasks, there, schedules;
};

static void restore_done(struct restore *r)
{
    redis_link_free(r->link);
    redis_target_done(&r->target);
    free(r->generation);
    free(r->last_number);
    archive_close(&r->a);
}

static int redis_failed(const struct cb_error *err)
{
    cli_say("Redis: %s", err->text);
    return err->code == REDIS_LOST ? EXITCODE_UNAVAILABLE : EXITCODE_SOFTWARE;
}

static int open_redis(struct restore *r)
{
    struct cb_error err = {0};

    if (connect_target(r->a.s.opts, CONNECT_DAEMON, &r->target, &err) != 0) {
        cli_say("%s", err.text);
        return EXITCODE_CONFIG;
    }
    if (redis_link_open(&r->target, "claudebench", &r->link, &err) == 0)
        return -1;
    r->link = NULL;
    return redis_failed(&err);
}

/* ---- which generation ---- */

/* The one that was archived last, of those that Redis does not have now; -1 to go on. */
static int find_generation(struct restore *r)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    reply_t *meta CB_CLEANUP(reply_free_ptr) = NULL;
    PGresult *found CB_CLEANUP(pg_result_free) = NULL;
    struct cb_error err = {0};
    const char *prefix = r->a.s.opts->redis.prefix;

    if (redis_link_callv(r->link, &meta, &err, "HMGET", keys_make(&a, prefix, KEY_META),
                         "generation", "restoring", NULL) != 0)
        return redis_failed(&err);
    const char *begun = reply_str(reply_at(meta, 1));
    char *only CB_CLEANUP(mem_free_ptr) = mem_printf("%.*s", (int)strcspn(begun, " "), begun);
    const char *asked = cli_value(r->cli, "generation", NULL);
    const char *values[] = {prefix, reply_str(reply_at(meta, 0)),
                            asked     ? asked
                            : only[0] ? only
                                      : NULL};
    if (pg_query(r->a.pg,
                 "SELECT generation, last_number FROM claudebench.generation WHERE prefix = $1 AND "
                 "CASE WHEN $3::text IS NULL THEN generation <> $2 ELSE generation = $3 END "
                 "ORDER BY last_seen_at DESC LIMIT 1",
                 3, values, &found, &err) != 0)
        return archive_failed("the archive", &err);
    if (PQntuples(found) == 0) {
        cli_say(
            "the archive has no %s of %s to restore; claudebench archive status shows what it has",
            asked ? asked : "other generation", prefix);
        return EXITCODE_NOINPUT;
    }
    r->generation = mem_strdup(PQgetvalue(found, 0, 0));
    r->last_number = mem_strdup(PQgetvalue(found, 0, 1));
    return -1;
}

/* ---- the script ---- */

static void begin_call(const struct restore *r, struct arena *a, const char *step,
                       struct script_call *call)
{
    const struct options *opts = r->a.s.opts;

    script_call_init(call, SCRIPT_ARCHIVE_RESTORE);
    script_call_key(call, keys_make(a, opts->redis.prefix, KEY_EVENTS));
    script_call_key(call, keys_make(a, opts->redis.prefix, KEY_META));
    script_call_key(call, keys_make(a, opts->redis.prefix, KEY_CLOCK));
    script_call_arg_str(call, arena_printf(a, "%s:", opts->redis.prefix));
    script_call_arg_str(call, options_events_policy(opts, a));
    script_call_arg_str(call, r->generation);
    script_call_arg_str(call, step);
}

/* Returns -1 to go on, or the exit code after a message. */
static int run_call(struct restore *r, struct script_call *call)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct cb_error err = {0};
    int status = scripts_run(r->link, call, &reply, &err);

    script_call_done(call);
    if (status != 0)
        return redis_failed(&err);
    if (strcmp(reply_str(reply_at(reply, 0)), "failed") == 0) {
        cli_say("not all was restored, and nothing is claimed until it is; when this is mended, "
                "restore again: %s",
                reply_str(reply_at(reply, 1)));
        return EXITCODE_SOFTWARE;
    }
    if (strcmp(reply_str(reply_at(reply, 0)), "ok") != 0) {
        cli_say("nothing was restored into %s: %s", r->a.s.opts->redis.prefix,
                reply_str(reply_at(reply, 1)));
        return EXITCODE_CONFLICT;
    }
    r->tasks += reply_int(reply_at(reply, 1));
    r->there += reply_int(reply_at(reply, 2));
    return -1;
}

static int run_step(struct restore *r, const char *step, const char *argument)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    struct script_call call;

    begin_call(r, &a, step, &call);
    if (argument)
        script_call_arg_str(&call, argument);
    return run_call(r, &call);
}

/* ---- tasks ---- */

/* In the order that the script wants; what a task waits for with the state that it has by now. */
static const char tasks_sql[] =
    "DECLARE open_tasks NO SCROLL CURSOR FOR SELECT t.id, t.state, t.text, t.queue, t.priority, "
    "array_to_string(t.roles, ' '), t.attempt, t.max_attempts, nullif(t.crashes, 0), "
    "t.max_crashes, floor(extract(epoch FROM t.created_at) * 1000)::bigint, t.version, "
    "(extract(epoch FROM t.due_at) * 1000)::bigint, t.unique_key, t.partition, "
    "(extract(epoch FROM t.scheduled_for) * 1000)::bigint || ' ' || t.schedule, t.backoff, "
    "t.lease_ms, t.payload, t.metadata, t.error, "
    "(SELECT string_agg(w || ' ' || CASE WHEN d.state IN ('completed', 'failed', 'cancelled') THEN "
    "d.state WHEN d.id IS NULL OR d.gone_at IS NOT NULL THEN 'deleted' ELSE 'open' END, ' ' "
    "ORDER BY n) FROM unnest(t.waits_for) WITH ORDINALITY AS u (w, n) "
    "LEFT JOIN claudebench.task d ON d.generation = t.generation AND d.id = w), t.on_failure "
    "FROM claudebench.task t WHERE t.generation = %s AND t.ended_at IS NULL AND t.gone_at IS NULL "
    "AND t.state IN ('blocked', 'delayed', 'pending', 'in_progress') "
    "AND num_nulls(t.text, t.queue, t.priority, t.max_attempts, t.max_crashes) = 0 "
    "ORDER BY t.state = 'blocked', t.id";
enum { COLUMN_OF_TEXT = 2 };

static int open_cursor(struct restore *r)
{
    struct cb_error err = {0};
    char *name = PQescapeLiteral(pg_conn(r->a.pg), r->generation, strlen(r->generation));
    char *sql CB_CLEANUP(mem_free_ptr) = NULL;

    if (name)
        sql = mem_printf(tasks_sql, name);
    PQfreemem(name);
    if (!sql || pg_exec(r->a.pg, "BEGIN READ ONLY", NULL, &err) != 0 ||
        pg_exec(r->a.pg, sql, NULL, &err) != 0)
        return archive_failed("the archive", &err);
    return -1;
}

static void add_task(struct script_call *call, struct arena *a, const PGresult *rows, int row)
{
    for (int c = 0; c < PQnfields(rows); c++) {
        struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
        size_t len = (size_t)PQgetlength(rows, row, c);
        if (c != COLUMN_OF_TEXT) {
            script_call_arg(call, PQgetvalue(rows, row, c), len);
            continue;
        }
        json_put_string(&text, PQgetvalue(rows, row, c), len);
        script_call_arg_str(call, arena_printf(a, "%s", buf_peek(&text)));
    }
}

static size_t task_bytes(const PGresult *rows, int row)
{
    size_t bytes = 0;

    for (int c = 0; c < PQnfields(rows); c++)
        bytes += (size_t)PQgetlength(rows, row, c);
    return bytes;
}

/* From row *row on, which it moves: as many as fit, and one in any case. */
static int restore_some(struct restore *r, const PGresult *rows, int *row, size_t *bytes)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    struct script_call call;
    size_t total = 0, next = task_bytes(rows, *row);

    begin_call(r, &a, "tasks", &call);
    do {
        add_task(&call, &a, rows, (*row)++);
        total += next;
        next = *row < PQntuples(rows) ? task_bytes(rows, *row) : CALL_BYTES;
    } while (total + next < CALL_BYTES);
    *bytes += total;
    fault_point("restore.page");
    return run_call(r, &call);
}

static int restore_tasks(struct restore *r)
{
    struct cb_error err = {0};
    int status = open_cursor(r), n = PAGE;

    while (status < 0 && n > 0) {
        PGresult *rows CB_CLEANUP(pg_result_free) = NULL;
        char *sql CB_CLEANUP(mem_free_ptr) = mem_printf("FETCH %d FROM open_tasks", n);
        size_t bytes = 1;
        if (pg_exec(r->a.pg, sql, &rows, &err) != 0)
            return archive_failed("the archive", &err);
        for (int row = 0; status < 0 && row < PQntuples(rows);)
            status = restore_some(r, rows, &row, &bytes);
        size_t fitting = (size_t)PQntuples(rows) * FETCH_BYTES / bytes;
        n = PQntuples(rows) == 0 ? 0 : fitting > PAGE ? PAGE : fitting < 1 ? 1 : (int)fitting;
    }
    if (status < 0 && pg_exec(r->a.pg, "COMMIT", NULL, &err) != 0)
        return archive_failed("the archive", &err);
    return status;
}

/* ---- schedules ---- */

static void put_members(struct buf *out, struct json_span document)
{
    static const char *const names[] = {"id",     "cron",  "every_ms", "timezone",
                                        "missed", "start", "end",      "template"};
    struct json_item item;

    buf_putc(out, '{');
    for (size_t i = 0; i < CB_ARRAY_LEN(names); i++)
        if (json_find(document, names[i], &item)) {
            json_put_key(out, names[i]);
            buf_append(out, item.value.at, item.value.len);
        }
    if (json_find(document, "status", &item) && json_string_equals(item.value, "paused"))
        buf_puts(out, ",\"paused\":true");
    buf_puts(out, ",\"if_version\":0}");
}

static int restore_schedule(struct restore *r, const char *text, size_t len)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    struct json_span document;
    enum json_type type;

    if (json_check(text, len, &document, &type, NULL) != 0 || type != JSON_OBJECT)
        return -1;
    put_members(&params, document);
    int status = session_call(&r->a.s, "schedule.add", &params, NULL, &reply);
    r->schedules += status < 0;
    return status == EXITCODE_CONFLICT ? -1 : status; /* there is one */
}

static int restore_schedules(struct restore *r)
{
    const char *values[] = {r->generation};
    PGresult *rows CB_CLEANUP(pg_result_free) = NULL;
    struct cb_error err = {0};
    int status;

    if (pg_query(
            r->a.pg,
            "SELECT document FROM claudebench.schedule WHERE generation = $1 AND removed_at IS "
            "NULL AND status <> 'ended' ORDER BY id",
            1, values, &rows, &err) != 0)
        return archive_failed("the archive", &err);
    if (PQntuples(rows) == 0)
        return -1;
    status = session_connect(&r->a.s, NULL, 0, 0);
    for (int i = 0; status < 0 && i < PQntuples(rows); i++)
        status = restore_schedule(r, PQgetvalue(rows, i, 0), (size_t)PQgetlength(rows, i, 0));
    return status;
}

/* The archive reads all that Redis has, once it learns which generation these data are: no event tells of what was restored. */
static int ask_for_walk(struct restore *r)
{
    const char *values[] = {r->generation};
    struct cb_error err = {0};

    if (pg_query(r->a.pg,
                 "UPDATE claudebench.generation SET walked_at = NULL WHERE generation = $1", 1,
                 values, NULL, &err) != 0)
        return archive_failed("the archive", &err);
    return -1;
}

int archive_restore_run(const struct cli *cli)
{
    CB_CLEANUP(restore_done) struct restore r = {.cli = cli};

    int status = archive_open(&r.a, cli);
    if (status < 0)
        status = archive_check_schema(&r.a);
    if (status < 0)
        status = open_redis(&r);
    if (status < 0)
        status = find_generation(&r);
    if (status < 0)
        status = run_step(&r, "begin", r.last_number);
    if (status < 0)
        status = restore_tasks(&r);
    if (status < 0)
        status = restore_schedules(&r);
    if (status < 0)
        status = ask_for_walk(&r);
    if (status < 0)
        status = run_step(&r, "end", NULL);
    if (status >= 0)
        return status;
    printf("restored %" PRId64 " tasks and %" PRId64 " schedules of generation %s", r.tasks,
           r.schedules, r.generation);
    if (r.there > 0)
        printf("; %" PRId64 " tasks were there", r.there);
    putchar('\n');
    return EXITCODE_OK;
}
