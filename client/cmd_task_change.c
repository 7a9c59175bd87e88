/*
 * cmd_task_change.c: claudebench task cancel, task retry: one task, several, or all of a kind.
 *
 * With --all the ids are collected first, page by page of task.list, and then changed, CHANGE_WINDOW at a time: what a worker
 * fails again meanwhile is not met a second time. A task that has changed or gone meanwhile is no error then.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/interrupt.h"
#include "client/params.h"
#include "client/progress.h"
#include "client/session.h"
#include "client/show.h"
#include "common/exitcode.h"
#include "common/mem.h"

enum { CHANGE_PAGE = 500, CHANGE_WINDOW = 64, CHANGE_TIMEOUT_MS = 60000, ID_SIZE = 24 };

static const struct cli_option cancel_options[] = {
    {0, "reason", "TEXT", "Why; kept as the task's error."},
    {0, "all", NULL, "All tasks that have not ended, of --queue, --status or both."},
    {'s', "status", "STATUS", "With --all: only blocked, delayed, pending or in_progress ones."},
    {'q', "queue", "QUEUE", "With --all: only tasks of this queue."},
    {0, "if-version", "N", "Only if the (one) task still has this version."},
    {'j', "json", NULL, "Print {\"id\":…,\"status\":…} or {\"id\":…,\"error\":…} for each."},
    {0, NULL, NULL, NULL},
};

static const struct cli_option retry_options[] = {
    {0, "attempts", "N", "So many more attempts (default: all of them anew)."},
    {0, "all", NULL, "All of a kind: --dead, --cancelled or both."},
    {0, "dead", NULL, "With --all: those that failed for good."},
    {0, "cancelled", NULL, "With --all: those that were cancelled."},
    {'q', "queue", "QUEUE", "With --all: only tasks of this queue."},
    {0, "if-version", "N", "Only if the (one) task still has this version."},
    {'j', "json", NULL, "Print {\"id\":…,\"status\":…} or {\"id\":…,\"error\":…} for each."},
    {0, NULL, NULL, NULL},
};

static int run_task_cancel(const struct cli *cli);
static int run_task_retry(const struct cli *cli);

const struct cli_verb verb_task_cancel = {
    .name = "task cancel",
    .operands = "[ID]...",
    .min_operands = 0,
    .max_operands = -1,
    .summary = "End tasks that have not ended; a running one loses its lease at once.",
    .notes = "Exit 73 when one had ended already, 66 when there is none with an id.\n",
    .options = cancel_options,
    .run = run_task_cancel,
};

const struct cli_verb verb_task_retry = {
    .name = "task retry",
    .operands = "[ID]...",
    .min_operands = 0,
    .max_operands = -1,
    .summary = "Bring dead or cancelled tasks back to their queues.",
    .notes = "What failed because it waited for such a task is not brought back with it.\n"
             "Exit 73 when one is neither dead nor cancelled, 66 when there is none with an id.\n",
    .options = retry_options,
    .run = run_task_retry,
};

struct change {
    const struct cli *cli;
    struct session s;
    const char *method;
    const char *done_word; /* "cancelled" */
    struct buf more;       /* members of the params behind the id */
    char (*ids)[ID_SIZE];
    size_t count, cap;
    size_t next; /* the first that was not sent */
    size_t done, skipped;
    bool is_all;
    int exit_code; /* of the first failure */
    struct progress progress;
    struct buf out;
};

/* ---- which ones ---- */

static void add_id(struct change *c, const char *id)
{
    if (c->count == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 256;
        c->ids = mem_realloc(c->ids, c->cap * sizeof *c->ids);
    }
    snprintf(c->ids[c->count++], ID_SIZE, "%s", id);
}

static void take_page(struct change *c, struct json_span result, struct buf *cursor)
{
    struct json_item tasks, task;
    struct json_iter it;
    struct buf id CB_CLEANUP(buf_done) = BUF_INIT;

    if (json_find(result, "tasks", &tasks) && tasks.type == JSON_ARRAY) {
        json_iter_init(&it, tasks.value);
        while (json_iter_next(&it, &task)) {
            buf_reset(&id);
            show_put_member(&id, task.value, "id");
            add_id(c, buf_peek(&id));
        }
    }
    session_next_page(result, cursor);
}

static void put_page_params(const struct change *c, const char *status, const struct buf *cursor,
                            struct buf *params)
{
    buf_puts(params, "{");
    json_put_int(params, "limit", CHANGE_PAGE);
    json_put_text(params, "status", status);
    params_put_word(c->cli, params, "queue");
    session_put_cursor(params, cursor);
    buf_puts(params, "}");
}

/* Collects the ids of all tasks in a state. -1, or the exit code after a message. */
static int collect(struct change *c, const char *status)
{
    struct buf cursor CB_CLEANUP(buf_done) = BUF_INIT;
    int result = -1;

    do {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        put_page_params(c, status, &cursor, &params);
        result = session_call(&c->s, "task.list", &params, NULL, &reply);
        if (result < 0)
            take_page(c, reply.result, &cursor);
    } while (result < 0 && cursor.len && !interrupt_came());
    return result;
}

/* ---- changing them ---- */

static void put_id(const char *id, struct buf *params)
{
    buf_puts(params, "{");
    json_put_text(params, "id", id);
}

static void submit(struct change *c)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;

    put_id(c->ids[c->next], &params);
    if (c->more.len > 0) {
        buf_putc(&params, ',');
        buf_append(&params, c->more.data, c->more.len);
    }
    buf_putc(&params, '}');
    struct requests_call call = {
        .method = c->method,
        .params = params.data,
        .params_len = params.len,
        .timeout_ms = CHANGE_TIMEOUT_MS,
        .tag = c->next++,
    };
    requests_client_submit(c->s.rc, &call);
}

static void put_outcome(struct change *c, const char *id, const struct requests_reply *reply)
{
    struct term term = c->progress.term;

    if (reply->outcome == REQUESTS_RESULT) {
        session_put_json(&c->out, reply->result, term);
        return;
    }
    struct buf row CB_CLEANUP(buf_done) = BUF_INIT;
    put_id(id, &row);
    json_put_key(&row, "error");
    buf_puts(&row, "{");
    if (reply->outcome == REQUESTS_ERROR)
        json_put_int(&row, "code", reply->code);
    json_put_text(&row, "message", reply->message);
    buf_puts(&row, "}}");
    session_put_json(&c->out, (struct json_span){row.data, row.len}, term);
}

static void take(struct change *c, const struct requests_reply *reply)
{
    const char *id = c->ids[reply->tag];
    bool is_moved = reply->outcome == REQUESTS_ERROR &&
                    (reply->code == -32004 || reply->code == -32005);

    if (cli_is_set(c->cli, "json"))
        put_outcome(c, id, reply);
    if (reply->outcome == REQUESTS_RESULT) {
        c->done++;
    } else if (c->is_all && is_moved) {
        c->skipped++;
    } else {
        progress_clear(&c->progress);
        int code = session_report(id, reply);
        c->exit_code = c->exit_code ? c->exit_code : code;
    }
}

static void change_all(struct change *c)
{
    while (c->next < c->count || requests_client_in_flight(c->s.rc) > 0) {
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        while (c->next < c->count && !interrupt_came() &&
               requests_client_in_flight(c->s.rc) < CHANGE_WINDOW)
            submit(c);
        if (interrupt_came() && requests_client_in_flight(c->s.rc) == 0)
            break;
        if (requests_client_next(c->s.rc, INTERRUPT_LOOK_MS, &reply))
            take(c, &reply);
        if (c->is_all)
            progress_update(&c->progress, (int64_t)c->done, (int64_t)c->count, c->done_word);
        if (c->out.len > 65536) {
            cli_write(&c->out);
            buf_reset(&c->out);
        }
    }
    progress_clear(&c->progress);
}

static int say_totals(struct change *c)
{
    if (c->is_all && !cli_is_set(c->cli, "json")) {
        buf_printf(&c->out, "%zu task%s %s", c->done, c->done == 1 ? "" : "s", c->done_word);
        if (c->skipped)
            buf_printf(&c->out, ", %zu had changed meanwhile", c->skipped);
        buf_puts(&c->out, "\n");
    }
    int status = cli_write(&c->out);
    return c->exit_code ? c->exit_code : status;
}

static void change_done(struct change *c)
{
    buf_done(&c->more);
    buf_done(&c->out);
    free(c->ids);
    session_close(&c->s);
}

/* `states` of --all, NULL-terminated. */
static int change(struct change *c, const char *const *states)
{
    int status = session_load(&c->s, c->cli);

    if (status < 0)
        status = session_connect(&c->s, NULL, CHANGE_WINDOW, 0);
    interrupt_catch();
    for (size_t i = 0; status < 0 && c->is_all && states[i]; i++)
        status = collect(c, states[i]);
    for (int i = 0; i < c->cli->noperands; i++)
        add_id(c, c->cli->operands[i]);
    if (status < 0) {
        progress_init(&c->progress, c->cli->verb->name);
        change_all(c);
        status = say_totals(c);
    }
    return status;
}

/* ---- the verbs ---- */

/* Ids or --all; one id with --if-version. -1, or the exit code after a message. */
static int check_operands(const struct cli *cli)
{
    bool is_all = cli_is_set(cli, "all");

    if (is_all == (cli->noperands > 0))
        return cli_wrong_use(cli->verb,
                             is_all ? "ids, or --all: not both" : "which task? Give ids, or --all");
    if (!is_all && cli_is_set(cli, "queue"))
        return cli_wrong_use(cli->verb, "--queue goes with --all");
    if (cli_is_set(cli, "if-version") && cli->noperands != 1)
        return cli_wrong_use(cli->verb, "--if-version goes with one id");
    for (int i = 0; i < cli->noperands; i++)
        if (strlen(cli->operands[i]) >= ID_SIZE ||
            !json_is_utf8(cli->operands[i], strlen(cli->operands[i])))
            return cli_wrong_use(cli->verb, "%.30s is no task id", cli->operands[i]);
    return -1;
}

/* The braces of the members that come behind the id are put_id()'s and submit()'s. */
static int put_more(struct change *c, int (*put)(const struct cli *, struct buf *))
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;

    buf_puts(&params, "{");
    int status = params_put_int(c->cli, &params, "if-version", "if_version");
    if (status < 0)
        status = put(c->cli, &params);
    buf_append(&c->more, params.data + 1, params.len - 1);
    return status;
}

static int put_reason(const struct cli *cli, struct buf *params)
{
    return params_put_text(cli, params, "reason");
}

static int put_attempts(const struct cli *cli, struct buf *params)
{
    return params_put_int(cli, params, "attempts", "attempts");
}

static int cancel_states(const struct cli *cli, const char **states)
{
    static const char *const live[] = {"blocked", "delayed", "pending", "in_progress"};
    const char *only = cli_value(cli, "status", NULL);
    size_t n = 0;

    if (!cli_is_set(cli, "all"))
        return only ? cli_wrong_use(cli->verb, "--status goes with --all") : -1;
    if (!only && !cli_is_set(cli, "queue"))
        return cli_wrong_use(cli->verb, "--all of which --queue or --status?");
    for (size_t i = 0; i < CB_ARRAY_LEN(live); i++)
        if (!only || strcmp(only, live[i]) == 0)
            states[n++] = live[i];
    return n ? -1
             : cli_wrong_use(cli->verb,
                             "--status: \"%s\" is not blocked, delayed, pending or in_progress",
                             only);
}

static int retry_states(const struct cli *cli, const char **states)
{
    size_t n = 0;

    if (!cli_is_set(cli, "all"))
        return cli_is_set(cli, "dead") || cli_is_set(cli, "cancelled")
                   ? cli_wrong_use(cli->verb, "--dead and --cancelled go with --all")
                   : -1;
    if (cli_is_set(cli, "dead"))
        states[n++] = "failed";
    if (cli_is_set(cli, "cancelled"))
        states[n++] = "cancelled";
    return n ? -1 : cli_wrong_use(cli->verb, "--all of which: --dead or --cancelled?");
}

static int run(struct change *c, int (*states_of)(const struct cli *, const char **),
               int (*put)(const struct cli *, struct buf *))
{
    const char *states[5] = {NULL};
    int status = check_operands(c->cli);

    c->is_all = cli_is_set(c->cli, "all");
    if (status < 0)
        status = states_of(c->cli, states);
    if (status < 0)
        status = put_more(c, put);
    if (status < 0)
        status = change(c, states);
    change_done(c);
    interrupt_end();
    return status;
}

static int run_task_cancel(const struct cli *cli)
{
    struct change c = {
        .cli = cli, .s = SESSION_INIT, .method = "task.cancel", .done_word = "cancelled"};
    return run(&c, cancel_states, put_reason);
}

static int run_task_retry(const struct cli *cli)
{
    struct change c = {
        .cli = cli, .s = SESSION_INIT, .method = "task.retry", .done_word = "retried"};
    return run(&c, retry_states, put_attempts);
}
