/*
 * cmd_task.c: claudebench task add, list, update, rm. (The others: cmd_task_*.c.)
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/params.h"
#include "client/session.h"
#include "client/show.h"
#include "client/table.h"
#include "client/watch.h"
#include "common/exitcode.h"

/* ---- task add ---- */

static const struct cli_option add_options[] = {
    PARAMS_TASK_OPTIONS,
    {0, "delay", "TIME", "Not before so long from now, for instance 90s, 15m or 6h."},
    {0, "run-at", "TIME", "Not before this time, for instance 2026-07-28T08:00:00+02:00."},
    {0, "after", "ID",
     "Not before this task has been completed; may be repeated, or a list with commas."},
    {0, "on-dependency-failure", "fail|ignore|block",
     "What it does when such a task fails for good or is cancelled (default fail)."},
    {0, "idem", "KEY", "Idempotency key: repeating the command under the same key adds one task."},
    {'j', "json", NULL, "Print the result as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_task_add(const struct cli *cli);

const struct cli_verb verb_task_add = {
    .name = "task add",
    .operands = "TEXT",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Create a task and put it on its queue.",
    .notes = "Prints the id of the new task, or, with --unique, of the one that was there.\n",
    .options = add_options,
    .run = run_task_add,
};

/* What a schedule's tasks cannot have. */
static int put_waits(const struct cli *cli, struct buf *params)
{
    int status = params_put_time(cli, params, "delay", "delay_ms");

    if (status < 0)
        status = params_put_text_as(cli, params, "run-at", "run_at");
    if (status < 0 && cli_is_set(cli, "after")) {
        json_put_key(params, "after");
        cli_put_list(cli, "after", params);
    }
    if (status < 0)
        status = params_put_text_as(cli, params, "on-dependency-failure", "on_dependency_failure");
    return status;
}

static int run_task_add(const struct cli *cli)
{
    struct json_item existing;
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    buf_puts(&params, "{");
    int status = params_put_task(cli, &params, cli->operands[0]);
    if (status < 0)
        status = put_waits(cli, &params);
    buf_puts(&params, "}");
    if (status >= 0 || (status = session_open(&s, cli)) >= 0 ||
        (status = session_call(&s, "task.create", &params, cli_value(cli, "idem", NULL), &reply)) >=
            0)
        return status;
    if (cli_is_set(cli, "json"))
        return show_json(reply.result);
    if (json_find(reply.result, "existing", &existing))
        cli_say("there is one with this key already");
    return show_member(reply.result, "id");
}

/* ---- task list ---- */

static const struct cli_option list_options[] = {
    {'s', "status", "STATUS",
     "Only tasks in this state: blocked, delayed, pending, in_progress, completed, failed, "
     "cancelled."},
    {'q', "queue", "QUEUE", "Only tasks of this queue."},
    {'n', "limit", "N", "At most so many (default 50)."},
    {'a', "all", NULL, "All of them, page by page."},
    {'o', "order", "ORDER", "Of tasks that have ended: newest (default) or oldest first."},
    WATCH_OPTION,
    {'j', "json", NULL, "Print one JSON object per line."},
    {0, NULL, NULL, NULL},
};

static int run_task_list(const struct cli *cli);

const struct cli_verb verb_task_list = {
    .name = "task list",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "List tasks.",
    .options = list_options,
    .run = run_task_list,
};

enum { LIST_PAGE = 200, LIST_DEFAULT = 50 };

static const struct table_column list_columns[] = {
    {"ID", TABLE_LEFT, TABLE_ID},
    {"STATUS", TABLE_LEFT, TABLE_KEEP},
    {"PRIO", TABLE_RIGHT, TABLE_DROP + 2},
    {"QUEUE", TABLE_LEFT, TABLE_DROP},
    {"TRY", TABLE_RIGHT, TABLE_DROP + 3},
    {"WORKER", TABLE_LEFT, TABLE_DROP + 1},
    {"CREATED", TABLE_LEFT, TABLE_DROP + 4},
    {"TEXT", TABLE_LEFT, TABLE_FLEX},
};

static const char *const list_members[] = {"id",      "status",     "priority",  "queue",
                                           "attempt", "assignedTo", "createdAt", "text"};

struct listing {
    const struct cli *cli;
    struct term term;
    struct table table;
    struct buf out;
    struct buf cursor; /* "" = at the start */
    int64_t left;
    int64_t shown;
    bool has_more; /* than was asked for */
    bool is_done;
};

static void list_one(struct listing *l, struct json_span task)
{
    struct buf cell = BUF_INIT;

    l->left--;
    l->shown++;
    if (cli_is_set(l->cli, "json")) {
        session_put_json(&l->out, task, l->term);
        return;
    }
    for (size_t i = 0; i < CB_ARRAY_LEN(list_members); i++) {
        struct json_item item;
        buf_reset(&cell);
        show_put_member(&cell, task, list_members[i]);
        if (i == 3 && cell.len == 0)
            buf_putc(&cell, '-');
        if (i == 1 && json_find(task, "dead", &item) && item.type == JSON_BOOL &&
            item.value.at[0] == 't')
            buf_puts(&cell, " (dead)");
        table_cell(&l->table, buf_peek(&cell), cell.len);
    }
    buf_done(&cell);
}

static void list_params(const struct listing *l, struct buf *params)
{
    buf_puts(params, "{");
    /* One more than is shown: a cursor alone does not say that there is something behind it. */
    json_put_int(params, "limit", l->left < LIST_PAGE ? l->left + 1 : LIST_PAGE);
    params_put_word(l->cli, params, "status");
    params_put_word(l->cli, params, "queue");
    json_put_text(params, "order", cli_value(l->cli, "order", "newest"));
    session_put_cursor(params, &l->cursor);
    buf_puts(params, "}");
}

/* Takes a page in; the cursor moves on. */
static void list_page(struct listing *l, struct json_span result)
{
    struct json_item tasks, task;
    struct json_iter it;

    if (json_find(result, "tasks", &tasks) && tasks.type == JSON_ARRAY) {
        json_iter_init(&it, tasks.value);
        while (!l->has_more && json_iter_next(&it, &task)) {
            l->has_more = l->left == 0;
            if (!l->has_more)
                list_one(l, task.value);
        }
    }
    l->is_done = !session_next_page(result, &l->cursor) || l->has_more;
}

static const char more_text[] = "there is more: --all, or a larger --limit";

/* What is said there would scroll it: it becomes a line of the screen. */
static bool is_on_screen(const struct listing *l)
{
    return l->term.is_tty && cli_is_set(l->cli, "watch");
}

/* Prints what there is; a table page by page would change its columns, so only JSON is written
 * early. */
static int list_flush(struct listing *l)
{
    if (!cli_is_set(l->cli, "json")) {
        if (!l->is_done)
            return -1;
        if (l->shown || l->term.is_tty)
            table_put(&l->table, l->term, &l->out);
    }
    if (l->is_done && is_on_screen(l) && l->has_more)
        buf_printf(&l->out, "%s\n", more_text);
    int status = cli_write(&l->out);
    buf_reset(&l->out);
    if (status == EXITCODE_OK && l->is_done && !is_on_screen(l) && l->has_more)
        cli_say("%s", more_text);
    return status ? status : -1;
}

static int list_all(struct listing *l, struct session *s)
{
    while (!l->is_done) {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        list_params(l, &params);
        int status = session_call(s, "task.list", &params, NULL, &reply);
        if (status < 0) {
            list_page(l, reply.result);
            status = list_flush(l);
        }
        if (status >= 0)
            return status;
    }
    return EXITCODE_OK;
}

static int show_list(const struct cli *cli, struct session *s)
{
    struct listing l = {.cli = cli, .term = term_detect(STDOUT_FILENO)};

    if (cli_int(cli, "limit", 1, INT64_MAX, LIST_DEFAULT, &l.left) != 0)
        return EXITCODE_USAGE;
    if (cli_is_set(cli, "all") && !cli_is_set(cli, "limit"))
        l.left = INT64_MAX;
    table_init(&l.table, list_columns, CB_ARRAY_LEN(list_columns));
    int status = list_all(&l, s);
    table_done(&l.table);
    buf_done(&l.out);
    buf_done(&l.cursor);
    return status;
}

static int run_task_list(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    int64_t limit;

    if (cli_int(cli, "limit", 1, INT64_MAX, LIST_DEFAULT, &limit) != 0)
        return EXITCODE_USAGE;
    int status = session_open(&s, cli);
    return status >= 0 ? status : watch(cli, &s, show_list);
}

/* ---- task update ---- */

static const struct cli_option update_options[] = {
    {'t', "text", "TEXT", "What is to be done."},
    {'s', "status", "STATUS",
     "pending: a delayed or blocked task runs now; cancelled: one of these three is given up."},
    {'p', "priority", "N", "0 to 100, higher is sooner."},
    {0, "metadata", "JSON", "A JSON object in place of the one there was."},
    {0, "if-version", "N", "Only if the task still has this version."},
    {0, "idem", "KEY", "Idempotency key: repeating the command under the same key changes once."},
    {'j', "json", NULL, "Print the task as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_task_update(const struct cli *cli);

const struct cli_verb verb_task_update = {
    .name = "task update",
    .operands = "ID",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Change a task's text, priority, metadata or state.",
    .notes = "Prints the task as it is then.\n",
    .options = update_options,
    .run = run_task_update,
};

static int update_params(const struct cli *cli, struct buf *params)
{
    int status = -1;

    params_put_id(cli, params);
    if ((status = params_put_int(cli, params, "if-version", "if_version")) >= 0)
        return status;
    json_put_key(params, "updates");
    buf_puts(params, "{");
    size_t before = params->len;
    if ((status = params_put_text(cli, params, "text")) >= 0 ||
        (status = params_put_text(cli, params, "status")) >= 0 ||
        (status = params_put_int(cli, params, "priority", "priority")) >= 0 ||
        (status = params_put_literal(cli, params, "metadata", "metadata")) >= 0)
        return status;
    if (params->len == before)
        return cli_wrong_use(cli->verb, "nothing to change");
    buf_puts(params, "}}");
    return -1;
}

static int run_task_update(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    int status = update_params(cli, &params);

    if (status >= 0 || (status = session_open(&s, cli)) >= 0 ||
        (status = session_call(&s, "task.update", &params, cli_value(cli, "idem", NULL), &reply)) >=
            0)
        return status;
    return cli_is_set(cli, "json") ? show_json(reply.result) : show_members(reply.result);
}

/* ---- task rm ---- */

static const struct cli_option rm_options[] = {
    {0, "idem", "KEY", "Idempotency key: repeating the command under the same key succeeds."},
    {0, "if-version", "N", "Only if the task still has this version."},
    {'j', "json", NULL, "Print the result as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_task_rm(const struct cli *cli);

const struct cli_verb verb_task_rm = {
    .name = "task rm",
    .also = "task remove",
    .operands = "ID",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Remove a task that nobody works on.",
    .notes = "`task remove` is the same.\n",
    .options = rm_options,
    .run = run_task_rm,
};

static int run_task_rm(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    params_put_id(cli, &params);
    int status = params_put_int(cli, &params, "if-version", "if_version");
    buf_puts(&params, "}");
    if (status >= 0 || (status = session_open(&s, cli)) >= 0)
        return status;
    status = session_call(&s, "task.delete", &params, cli_value(cli, "idem", NULL), &reply);
    if (status >= 0)
        return status;
    return cli_is_set(cli, "json") ? show_json(reply.result) : EXITCODE_OK;
}
