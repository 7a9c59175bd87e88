/*
 * cmd_task_queues.c: claudebench task queues, pause, resume.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/peek.h"
#include "client/session.h"
#include "client/show.h"
#include "client/table.h"
#include "client/watch.h"
#include "common/exitcode.h"

enum { QUEUES_PAGE = 100 };

static const struct cli_option json_only[] = {
    {'j', "json", NULL, "Print JSON."},
    {0, NULL, NULL, NULL},
};

static const struct cli_option queues_options[] = {
    WATCH_OPTION,
    {'j', "json", NULL, "Print JSON."},
    {0, NULL, NULL, NULL},
};

static int run_task_queues(const struct cli *cli);
static int run_task_pause(const struct cli *cli);
static int run_task_resume(const struct cli *cli);

const struct cli_verb verb_task_queues = {
    .name = "task queues",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "List the queues with their counts.",
    .notes = "OLDEST is the age of the oldest pending task. With --json one object per line.\n",
    .options = queues_options,
    .run = run_task_queues,
};

const struct cli_verb verb_task_pause = {
    .name = "task pause",
    .operands = "[QUEUE]",
    .min_operands = 0,
    .max_operands = 1,
    .summary = "Let nothing be claimed from a queue, or from any, for now.",
    .notes = "Tasks are still created, and those that run go on.\n",
    .options = json_only,
    .run = run_task_pause,
};

const struct cli_verb verb_task_resume = {
    .name = "task resume",
    .operands = "[QUEUE]",
    .min_operands = 0,
    .max_operands = 1,
    .summary = "Let tasks of a queue be claimed again.",
    .notes = "Without QUEUE: ends a `task pause` without one; queues that were paused by name stay "
             "paused.\n",
    .options = json_only,
    .run = run_task_resume,
};

const struct cli_verb verb_ctl_pause = {
    .name = "ctl pause",
    .operands = "[QUEUE]",
    .min_operands = 0,
    .max_operands = 1,
    .summary = "The same as task pause.",
    .notes = NULL,
    .options = json_only,
    .run = run_task_pause,
};

const struct cli_verb verb_ctl_resume = {
    .name = "ctl resume",
    .operands = "[QUEUE]",
    .min_operands = 0,
    .max_operands = 1,
    .summary = "The same as task resume.",
    .notes = NULL,
    .options = json_only,
    .run = run_task_resume,
};

/* ---- task queues ---- */

static const struct table_column columns[] = {
    {"QUEUE", TABLE_LEFT, TABLE_FLEX},        {"STATE", TABLE_LEFT, TABLE_KEEP},
    {"PENDING", TABLE_RIGHT, TABLE_KEEP},     {"DELAYED", TABLE_RIGHT, TABLE_DROP + 1},
    {"BLOCKED", TABLE_RIGHT, TABLE_DROP + 2}, {"RUNNING", TABLE_RIGHT, TABLE_KEEP},
    {"DEAD", TABLE_RIGHT, TABLE_DROP},        {"OLDEST", TABLE_RIGHT, TABLE_DROP},
};

static void put_count(struct table *table, struct json_span queue, const char *name)
{
    struct buf cell CB_CLEANUP(buf_done) = BUF_INIT;

    show_put_member(&cell, queue, name);
    table_cell(table, buf_peek(&cell), cell.len);
}

static void put_age(struct table *table, struct json_span queue)
{
    struct buf cell CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item item;

    if (peek_find(queue, "oldest_ms", &item))
        peek_put_short_age(&cell, peek_int(queue, "oldest_ms"));
    else
        buf_puts(&cell, "-");
    table_cell(table, buf_peek(&cell), cell.len);
}

static void put_row(struct table *table, struct json_span queue)
{
    struct json_item paused;
    bool is_paused = json_find(queue, "paused", &paused) && paused.value.at[0] == 't';

    put_count(table, queue, "queue");
    table_cell_str(table, is_paused ? "paused" : "open");
    put_count(table, queue, "pending");
    put_count(table, queue, "delayed");
    put_count(table, queue, "blocked");
    put_count(table, queue, "in_progress");
    put_count(table, queue, "failed");
    put_age(table, queue);
}

struct queues {
    const struct cli *cli;
    struct term term;
    struct table table;
    struct buf out;
    struct buf cursor;
};

static void take_page(struct queues *q, struct json_span result)
{
    struct json_item list, queue;
    struct json_iter it;

    if (json_find(result, "queues", &list) && list.type == JSON_ARRAY) {
        json_iter_init(&it, list.value);
        while (json_iter_next(&it, &queue)) {
            if (cli_is_set(q->cli, "json"))
                session_put_json(&q->out, queue.value, q->term);
            else
                put_row(&q->table, queue.value);
        }
    }
    session_next_page(result, &q->cursor);
}

static int list_queues(struct queues *q, struct session *s)
{
    int status = -1;

    do {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        buf_printf(&params, "{\"limit\":%d", QUEUES_PAGE);
        session_put_cursor(&params, &q->cursor);
        buf_puts(&params, "}");
        status = session_call(s, "task.queues", &params, NULL, &reply);
        if (status < 0)
            take_page(q, reply.result);
    } while (status < 0 && q->cursor.len);
    return status;
}

static int show_queues(const struct cli *cli, struct session *s)
{
    struct queues q = {.cli = cli, .term = term_detect(STDOUT_FILENO)};

    table_init(&q.table, columns, CB_ARRAY_LEN(columns));
    int status = list_queues(&q, s);
    if (status < 0) {
        if (!cli_is_set(cli, "json") && (q.table.ncells || q.term.is_tty))
            table_put(&q.table, q.term, &q.out);
        status = cli_write(&q.out);
    }
    table_done(&q.table);
    buf_done(&q.out);
    buf_done(&q.cursor);
    return status;
}

static int run_task_queues(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    int status = session_open(&s, cli);

    return status >= 0 ? status : watch(cli, &s, show_queues);
}

/* ---- task pause, task resume ---- */

static int switch_queue(const struct cli *cli, const char *method)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    struct json_item paused;
    int status = session_open(&s, cli);

    buf_puts(&params, "{");
    if (cli->noperands > 0)
        json_put_text(&params, "queue", cli->operands[0]);
    buf_puts(&params, "}");
    if (status >= 0 || (status = session_call(&s, method, &params, NULL, &reply)) >= 0)
        return status;
    if (cli_is_set(cli, "json"))
        return show_json(reply.result);
    bool is_paused = json_find(reply.result, "paused", &paused) && paused.value.at[0] == 't';
    if (is_paused && strcmp(method, "task.queue_resume") == 0)
        cli_say("still paused: all queues are (claudebench task resume)");
    return EXITCODE_OK;
}

static int run_task_pause(const struct cli *cli)
{
    return switch_queue(cli, "task.queue_pause");
}

static int run_task_resume(const struct cli *cli)
{
    return switch_queue(cli, "task.queue_resume");
}
