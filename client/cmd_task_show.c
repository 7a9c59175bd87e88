/*
 * cmd_task_show.c: claudebench task show.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/params.h"
#include "client/session.h"
#include "client/show.h"
#include "client/table.h"
#include "client/watch.h"
#include "common/exitcode.h"

static const struct cli_option show_options[] = {
    WATCH_OPTION,
    {'j', "json", NULL, "Print the task as JSON, as it was stored."},
    {0, NULL, NULL, NULL},
};

static int run_task_show(const struct cli *cli);

const struct cli_verb verb_task_show = {
    .name = "task show",
    .operands = "ID",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Show one task with payload, result and error.",
    .options = show_options,
    .run = run_task_show,
};

/* How its last attempts ended. */
static const struct table_column attempt_columns[] = {
    {"TRY", TABLE_RIGHT, TABLE_KEEP},        {"OUTCOME", TABLE_LEFT, TABLE_KEEP},
    {"SIGNAL", TABLE_LEFT, TABLE_DROP + 1},  {"WORKER", TABLE_LEFT, TABLE_KEEP},
    {"STARTED", TABLE_LEFT, TABLE_DROP + 2}, {"ENDED", TABLE_LEFT, TABLE_DROP},
    {"ERROR", TABLE_LEFT, TABLE_FLEX},
};
static const char *const attempt_members[] = {"attempt",   "outcome", "signal", "worker",
                                              "startedAt", "endedAt", "error"};

static void put_attempts(struct json_span attempts, struct buf *out)
{
    struct buf cell CB_CLEANUP(buf_done) = BUF_INIT;
    struct table table CB_CLEANUP(table_done);
    struct json_iter it;
    struct json_item attempt;

    table_init(&table, attempt_columns, CB_ARRAY_LEN(attempt_columns));
    json_iter_init(&it, attempts);
    while (json_iter_next(&it, &attempt)) {
        for (size_t i = 0; i < CB_ARRAY_LEN(attempt_members); i++) {
            buf_reset(&cell);
            show_put_member(&cell, attempt.value, attempt_members[i]);
            table_cell(&table, cell.len ? buf_peek(&cell) : "-", cell.len ? cell.len : 1);
        }
    }
    buf_putc(out, '\n');
    table_put(&table, term_detect(STDOUT_FILENO), out);
}

/* A member a line, and the attempts as a table below them. */
static int show_whole(struct json_span task)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item attempts;
    int status = show_members_but(task, "attempts");

    if (status != EXITCODE_OK || !json_find(task, "attempts", &attempts) ||
        attempts.type != JSON_ARRAY)
        return status;
    put_attempts(attempts.value, &out);
    return cli_write(&out);
}

static int show_task(const struct cli *cli, struct session *s)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;

    params_put_id(cli, &params);
    buf_puts(&params, "}");
    int status = session_call(s, "task.get", &params, NULL, &reply);
    if (status >= 0)
        return status;
    return cli_is_set(cli, "json") ? show_json(reply.result) : show_whole(reply.result);
}

static int run_task_show(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    int status = session_open(&s, cli);

    return status >= 0 ? status : watch(cli, &s, show_task);
}
