/*
 * cmd_query.c: claudebench archive query: what the archive has of tasks and attempts, for people and programs.
 */
#include "common/compat.h"
#include "client/archive_verbs.h"

#include "archive/migrate.h"
#include "archive/open.h"
#include "archive/query.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "client/interval.h"
#include "client/table.h"
#include "common/json.h"
#include "common/rfc3339.h"

enum { SHOWN = 50, PAGE = 500 };

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_JSONL };

struct listing {
    const struct cli *cli;
    struct archive_session a;
    struct query_filter filter;
    enum format format;
    int64_t left; /* that may still be shown */
    int64_t shown;
    struct buf cursor; /* behind the last one that was shown; empty: there is nothing behind it */
};

static void listing_done(struct listing *l)
{
    archive_close(&l->a);
    buf_done(&l->cursor);
}

/* ---- what is asked for ---- */

static int check_state(const struct cli *cli)
{
    static const char *const states[] = {"blocked",   "delayed", "pending",   "in_progress",
                                         "completed", "failed",  "cancelled", "unknown"};
    const char *state = cli_value(cli, "state", NULL);

    if (!state)
        return -1;
    for (size_t i = 0; i < CB_ARRAY_LEN(states); i++)
        if (strcmp(state, states[i]) == 0)
            return -1;
    return cli_wrong_use(cli->verb,
                         "--state: \"%s\" is none of blocked, delayed, pending, in_progress, "
                         "completed, failed, cancelled, unknown",
                         state);
}

/* A time, or how long ago. */
static int read_time(const struct cli *cli, const char *name, int64_t *ret_ms)
{
    const char *s = cli_value(cli, name, NULL);
    int64_t ms;

    if (!s)
        return -1;
    bool is_time = rfc3339_parse(s, strlen(s), &ms) == 0;
    bool is_length = !is_time && interval_parse(s, false, &ms) == 0;
    if (is_length)
        ms = clock_wall_ms() - ms;
    if ((is_time || is_length) && ms <= 0)
        return cli_wrong_use(cli->verb, "--%s: \"%s\" is not after the beginning of 1970", name, s);
    if (is_time || is_length) {
        *ret_ms = ms;
        return -1;
    }
    return cli_wrong_use(cli->verb,
                         "--%s: \"%s\" is neither a time, such as 2026-07-28T08:00:00Z, nor a "
                         "length of time, such as 90s, 15m or 6h",
                         name, s);
}

static int check_kind(const struct cli *cli, enum query_kind kind)
{
    static const char *const of_tasks[] = {"state", "queue", "search", "open", "dead", "lost"};

    if (kind == QUERY_TASKS && cli_is_set(cli, "outcome"))
        return cli_wrong_use(cli->verb, "--outcome goes with --attempts");
    for (size_t i = 0; kind == QUERY_ATTEMPTS && i < CB_ARRAY_LEN(of_tasks); i++)
        if (cli_is_set(cli, of_tasks[i]))
            return cli_wrong_use(cli->verb, "--%s does not go with --attempts", of_tasks[i]);
    if (cli_is_set(cli, "json") && cli_is_set(cli, "jsonl"))
        return cli_wrong_use(cli->verb, "--json and --jsonl are two ways to print it");
    return -1;
}

/* Returns -1 to go on, or the exit code after a message. */
static int read_command_line(struct listing *l)
{
    const struct cli *cli = l->cli;
    struct query_filter *f = &l->filter;
    int status;

    f->kind = cli_is_set(cli, "attempts") ? QUERY_ATTEMPTS : QUERY_TASKS;
    f->ids = cli->operands;
    f->nids = cli->noperands;
    f->generation = cli_value(cli, "generation", NULL);
    f->state = cli_value(cli, "state", NULL);
    f->queue = cli_value(cli, "queue", NULL);
    f->worker = cli_value(cli, "worker", NULL);
    f->words = cli_value(cli, "search", NULL);
    f->outcome = cli_value(cli, "outcome", NULL);
    f->is_open = cli_is_set(cli, "open");
    f->is_dead = cli_is_set(cli, "dead");
    f->is_lost = cli_is_set(cli, "lost");
    f->after = cli_value(cli, "after", NULL);
    l->format = cli_is_set(cli, "json")    ? FORMAT_JSON
                : cli_is_set(cli, "jsonl") ? FORMAT_JSONL
                                           : FORMAT_TABLE;
    if ((status = check_kind(cli, f->kind)) >= 0 || (status = check_state(cli)) >= 0 ||
        (status = read_time(cli, "since", &f->since_ms)) >= 0 ||
        (status = read_time(cli, "until", &f->until_ms)) >= 0)
        return status;
    return cli_int(cli, "limit", 0, INT64_MAX, SHOWN, &l->left) == 0 ? -1 : EXITCODE_USAGE;
}

/* ---- the database ---- */

static int query_failed(const struct listing *l, const struct cb_error *err)
{
    struct cb_error again = {0};
    int version = 0;

    if (err->code == PG_SCHEMA && migrate_version(l->a.pg, &version, &again) == 0 &&
        version > migrate_latest()) {
        cli_say("the archive's schema is %d, newer than this program's %d: use the claudebench "
                "that migrated it (%s)",
                version, migrate_latest(), err->text);
        return EXITCODE_CONFIG;
    }
    return archive_failed("the archive", err);
}

/* A page, and one row more if there is one: then there is something behind the page. */
static int read_page(struct listing *l, int most, PGresult **ret_rows)
{
    struct query q CB_CLEANUP(query_done) = QUERY_INIT;
    struct cb_error err = {0};

    if (cli_is_set(l->cli, "explain"))
        buf_puts(&q.sql, "EXPLAIN ");
    if (query_make(&q, &l->filter, most + 1) != 0)
        return cli_wrong_use(l->cli->verb, "--after: \"%s\" is not what an earlier page gave",
                             l->filter.after);
    if (pg_query(l->a.pg, buf_peek(&q.sql), q.nvalues, q.values, ret_rows, &err) != 0)
        return query_failed(l, &err);
    return -1;
}

/* ---- output ---- */

static const struct table_column task_table[] = {
    {"ID", TABLE_LEFT, TABLE_KEEP},     {"STATE", TABLE_LEFT, TABLE_KEEP},
    {"QUEUE", TABLE_LEFT, TABLE_DROP},  {"TRY", TABLE_RIGHT, TABLE_DROP + 2},
    {"WORKER", TABLE_LEFT, TABLE_DROP}, {"CHANGED", TABLE_LEFT, TABLE_DROP + 1},
    {"TEXT", TABLE_LEFT, TABLE_FLEX},
};
static const struct table_column attempt_table[] = {
    {"TASK", TABLE_LEFT, TABLE_KEEP},   {"TRY", TABLE_RIGHT, TABLE_DROP + 2},
    {"WORKER", TABLE_LEFT, TABLE_DROP}, {"STARTED", TABLE_LEFT, TABLE_KEEP},
    {"ENDED", TABLE_LEFT, TABLE_DROP},  {"OUTCOME", TABLE_LEFT, TABLE_KEEP},
    {"ERROR", TABLE_LEFT, TABLE_FLEX},
};
static const char *const task_cells[] = {"id",         "status",    "queue", "attempt",
                                         "assignedTo", "updatedAt", "text"};
static const char *const attempt_cells[] = {"taskId",  "attempt", "worker", "startedAt",
                                            "endedAt", "outcome", "error"};

static void put_table(const struct listing *l, const PGresult *rows, int n, struct buf *out)
{
    bool is_tasks = l->filter.kind == QUERY_TASKS;
    const char *const *cells = is_tasks ? task_cells : attempt_cells;
    size_t ncells = is_tasks ? CB_ARRAY_LEN(task_cells) : CB_ARRAY_LEN(attempt_cells);
    struct table t;

    table_init(&t, is_tasks ? task_table : attempt_table, ncells);
    for (int i = 0; i < n; i++)
        for (size_t c = 0; c < ncells; c++) {
            const char *s = query_value(l->filter.kind, rows, i, cells[c]);
            bool is_gone = is_tasks && strcmp(cells[c], "status") == 0 &&
                           *query_value(l->filter.kind, rows, i, "gone_reason");
            if (is_gone)
                table_cellf(&t, "%s (%s)", s, query_value(l->filter.kind, rows, i, "gone_reason"));
            else
                table_cell_str(&t, *s ? s : "-");
        }
    if (n > 0)
        table_put(&t, term_detect(STDOUT_FILENO), out);
    table_done(&t);
}

static void put_json(const struct listing *l, const PGresult *rows, int n, struct buf *out)
{
    CB_CLEANUP(buf_done) struct buf json = BUF_INIT;
    struct term term = term_detect(STDOUT_FILENO);

    for (int i = 0; i < n; i++) {
        buf_reset(&json);
        query_put_json(l->filter.kind, rows, i, &json);
        if (l->format == FORMAT_JSON && l->shown + i > 0)
            buf_putc(out, ',');
        if (term.is_tty)
            term_put_json(out, json.data, json.len);
        else
            buf_append(out, json.data, json.len);
        if (l->format == FORMAT_JSONL)
            buf_putc(out, '\n');
    }
}

/* Returns -1 to go on, or the exit code. */
static int put_page(struct listing *l, const PGresult *rows, int n)
{
    CB_CLEANUP(buf_done) struct buf out = BUF_INIT;

    if (l->format == FORMAT_TABLE)
        put_table(l, rows, n, &out);
    else
        put_json(l, rows, n, &out);
    int status = cli_write(&out);
    return status == EXITCODE_OK ? -1 : status;
}

static int put_plan(const PGresult *rows)
{
    CB_CLEANUP(buf_done) struct buf out = BUF_INIT;

    for (int i = 0; i < PQntuples(rows); i++)
        buf_printf(&out, "%s\n", PQgetvalue(rows, i, 0));
    return cli_write(&out);
}

/* What stands around the rows: members of one object, or a word to a person. */
static int put_head(const struct listing *l)
{
    CB_CLEANUP(buf_done) struct buf out = BUF_INIT;

    if (l->format != FORMAT_JSON || cli_is_set(l->cli, "explain"))
        return -1;
    buf_printf(&out, "{\"%s\":[", l->filter.kind == QUERY_TASKS ? "tasks" : "attempts");
    int status = cli_write(&out);
    return status == EXITCODE_OK ? -1 : status;
}

static int put_tail(const struct listing *l)
{
    CB_CLEANUP(buf_done) struct buf out = BUF_INIT;

    if (l->format == FORMAT_JSON) {
        buf_puts(&out, "],\"next\":");
        if (l->cursor.len)
            json_put_cstr(&out, buf_peek(&l->cursor));
        else
            buf_puts(&out, "null");
        buf_puts(&out, "}\n");
        return cli_write(&out);
    }
    if (l->cursor.len)
        cli_say("there is more: --after %s, or a larger --limit", buf_peek(&l->cursor));
    return EXITCODE_OK;
}

/* ---- the verb ---- */

static int list(struct listing *l)
{
    int status = put_head(l);
    bool is_all = l->left == 0;

    while (status < 0) {
        PGresult *rows CB_CLEANUP(pg_result_free) = NULL;
        int most = is_all || l->left > PAGE ? PAGE : (int)l->left;
        if ((status = read_page(l, most, &rows)) >= 0)
            break;
        if (cli_is_set(l->cli, "explain"))
            return put_plan(rows);
        int n = PQntuples(rows) > most ? most : PQntuples(rows);
        if ((status = put_page(l, rows, n)) >= 0)
            break;
        buf_reset(&l->cursor);
        if (PQntuples(rows) > most)
            buf_puts(&l->cursor, query_cursor(l->filter.kind, rows, n - 1));
        l->filter.after = buf_peek(&l->cursor);
        l->shown += n;
        l->left -= is_all ? 0 : n;
        if (l->cursor.len == 0 || (!is_all && l->left == 0))
            return put_tail(l);
    }
    return status;
}

/* Other options may have left them out. */
static bool has_conditions(const struct listing *l)
{
    const struct query_filter *f = &l->filter;

    return cli_is_set(l->cli, "after") || f->generation || f->state || f->queue || f->worker ||
           f->words || f->outcome || f->is_open || f->is_dead || f->is_lost || f->since_ms ||
           f->until_ms;
}

static void say_nothing_found(const struct listing *l)
{
    bool is_attempts = l->filter.kind == QUERY_ATTEMPTS;
    const char *how = has_conditions(l) ? ", as far as the options go" : "";

    if (l->filter.nids == 1)
        cli_say("no %s %s in the archive%s", is_attempts ? "attempt of task" : "task",
                l->filter.ids[0], how);
    else
        cli_say("%s of these %d tasks in the archive%s", is_attempts ? "no attempt" : "none",
                l->filter.nids, how);
}

int archive_query_run(const struct cli *cli)
{
    CB_CLEANUP(listing_done) struct listing l = {.cli = cli};

    int status = read_command_line(&l);
    if (status < 0)
        status = archive_open(&l.a, cli);
    if (status < 0)
        status = archive_check_schema(&l.a);
    if (status >= 0)
        return status;
    l.filter.prefix = l.a.s.opts->redis.prefix;
    status = list(&l);
    if (status != EXITCODE_OK || l.shown > 0 || cli->noperands == 0 || cli_is_set(cli, "explain"))
        return status;
    say_nothing_found(&l); /* who asks for tasks by name wants to know that there are none */
    return EXITCODE_NOINPUT;
}
