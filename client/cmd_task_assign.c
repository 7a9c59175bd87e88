/*
 * cmd_task_assign.c: claudebench task assign, reassign: what an operator says about who works on a task.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/params.h"
#include "client/session.h"
#include "client/show.h"
#include "common/exitcode.h"
#include "common/json.h"

static const struct cli_option assign_options[] = {
    {0, "idem", "KEY", "Idempotency key: repeating the command under the same key succeeds."},
    {'j', "json", NULL, "Print the result as JSON."},
    {0, NULL, NULL, NULL},
};

static const struct cli_option reassign_options[] = {
    {0, "to", "INSTANCE", "Who gets it; without it, it goes back to its queue."},
    {0, "reason", "TEXT",
     "Why: it is told in the event, and the task is not for its old holder any more."},
    {0, "idem", "KEY", "Idempotency key: repeating the command under the same key succeeds."},
    {'j', "json", NULL, "Print the result as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_task_assign(const struct cli *cli);
static int run_task_reassign(const struct cli *cli);

const struct cli_verb verb_task_assign = {
    .name = "task assign",
    .operands = "ID INSTANCE",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Give a pending task to an instance, whatever its roles.",
    .notes = "Its next claim gets the task first. Exit 73 when the task is not pending.\n",
    .options = assign_options,
    .run = run_task_assign,
};

const struct cli_verb verb_task_reassign = {
    .name = "task reassign",
    .operands = "ID",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Take a task from its holder, back to its queue or to another instance.",
    .notes = "The holder's lease ends at once, and no attempt is charged.\n"
             "Exit 73 when the task is neither in progress nor pending.\n",
    .options = reassign_options,
    .run = run_task_reassign,
};

static int run_change(const struct cli *cli, const char *method, const struct buf *params)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    int status = session_open(&s, cli);

    if (status >= 0 ||
        (status = session_call(&s, method, params, cli_value(cli, "idem", NULL), &reply)) >= 0)
        return status;
    return cli_is_set(cli, "json") ? show_json(reply.result) : show_members(reply.result);
}

static int run_task_assign(const struct cli *cli)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;

    buf_puts(&params, "{");
    for (int i = 0; i < 2; i++) {
        int status = params_put_operand(cli, &params, i, i ? "instanceId" : "taskId");
        if (status >= 0)
            return status;
    }
    buf_puts(&params, "}");
    return run_change(cli, "task.assign", &params);
}

static int run_task_reassign(const struct cli *cli)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    int status;

    buf_puts(&params, "{");
    if ((status = params_put_operand(cli, &params, 0, "id")) >= 0 ||
        (status = params_put_text(cli, &params, "to")) >= 0 ||
        (status = params_put_text(cli, &params, "reason")) >= 0)
        return status;
    buf_puts(&params, "}");
    return run_change(cli, "task.reassign", &params);
}
