/*
 * cmd_schedule.c: claudebench schedule add, list, show, pause, resume, remove.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/interval.h"
#include "client/params.h"
#include "client/session.h"
#include "client/show.h"
#include "client/table.h"
#include "client/watch.h"
#include "common/exitcode.h"
#include "common/rfc3339.h"

#include <time.h>

/* The one request of a verb. */
static int call_once(const struct cli *cli, const char *method, struct requests_reply *reply,
                     const struct buf *params, const char *idem)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    int status = session_open(&s, cli);

    return status >= 0 ? status : session_call(&s, method, params, idem, reply);
}

/* ---- schedule add ---- */

static const struct cli_option add_options[] = {
    {0, "id", "ID",
     "Its name; one is made when there is none. The schedule of that name is replaced."},
    {0, "cron", "EXPRESSION",
     "When: minute, hour, day of the month, month, day of the week, as in crontab(5), or @hourly, "
     "@daily, @weekly, @monthly, @yearly."},
    {0, "every", "INTERVAL", "How often: a number with its unit, such as 90s, 15m, 6h or 1d."},
    {'z', "timezone", "ZONE",
     "The zone of the cron expression, such as Europe/Berlin (default UTC)."},
    {0, "missed", "POLICY",
     "Due times that nobody was there to fire: skip, once (default; one task for all of them) or "
     "all."},
    {0, "start", "TIME", "Nothing is due before (RFC 3339, such as 2026-12-01T08:00:00Z)."},
    {0, "end", "TIME", "Nothing is due after."},
    {0, "paused", NULL, "Add it paused."},
    {0, "if-version", "N", "Only if it still has this version; 0: only if there is none."},
    PARAMS_TASK_OPTIONS,
    {0, "idem", "KEY",
     "Idempotency key: repeating the command under the same key adds one schedule."},
    {'j', "json", NULL, "Print the result as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_schedule_add(const struct cli *cli);

const struct cli_verb verb_schedule_add = {
    .name = "schedule add",
    .operands = "TEXT",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Have a task made again and again, or change when.",
    .notes = "Prints the id of the schedule. TEXT and the options that task add has too describe "
             "the task.\n",
    .options = add_options,
    .run = run_schedule_add,
};

static int put_when(const struct cli *cli, struct buf *params)
{
    const char *every = cli_value(cli, "every", NULL);
    int64_t ms;

    if ((every != NULL) == cli_is_set(cli, "cron"))
        return cli_wrong_use(cli->verb, every ? "either --cron or --every, not both"
                                              : "when? Give --cron or --every");
    if (!every)
        return params_put_text(cli, params, "cron");
    if (interval_parse(every, true, &ms) != 0 || ms == 0)
        return cli_wrong_use(
            cli->verb, "--every: \"%s\" is not a number with its unit (ms, s, m, h, d)", every);
    json_put_int(params, "every_ms", ms);
    return -1;
}

static int add_params(const struct cli *cli, struct buf *params)
{
    static const char *const texts[] = {"id", "timezone", "missed", "start", "end"};
    int status;

    buf_puts(params, "{");
    if ((status = put_when(cli, params)) >= 0)
        return status;
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++)
        if ((status = params_put_text(cli, params, texts[i])) >= 0)
            return status;
    if (cli_is_set(cli, "paused")) {
        json_put_key(params, "paused");
        buf_puts(params, "true");
    }
    if ((status = params_put_int(cli, params, "if-version", "if_version")) >= 0)
        return status;
    json_put_key(params, "template");
    buf_puts(params, "{");
    if ((status = params_put_task(cli, params, cli->operands[0])) >= 0)
        return status;
    buf_puts(params, "}}");
    return -1;
}

static int run_schedule_add(const struct cli *cli)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    struct json_item schedule;
    int status = add_params(cli, &params);

    if (status >= 0 || (status = call_once(cli, "schedule.add", &reply, &params,
                                           cli_value(cli, "idem", NULL))) >= 0)
        return status;
    if (cli_is_set(cli, "json"))
        return show_json(reply.result);
    return json_find(reply.result, "schedule", &schedule) ? show_member(schedule.value, "id")
                                                          : EXITCODE_SOFTWARE;
}

/* ---- schedule list ---- */

static const struct cli_option list_options[] = {
    {'s', "status", "STATUS", "Only schedules in this state: active, paused, ended."},
    WATCH_OPTION,
    {'j', "json", NULL, "Print one JSON object per line."},
    {0, NULL, NULL, NULL},
};

static int run_schedule_list(const struct cli *cli);

const struct cli_verb verb_schedule_list = {
    .name = "schedule list",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "List the schedules.",
    .notes = "NEXT is in your local time.\n",
    .options = list_options,
    .run = run_schedule_list,
};

enum { LIST_PAGE = 200 };

static const struct table_column list_columns[] = {
    {"ID", TABLE_LEFT, TABLE_KEEP},   {"STATUS", TABLE_LEFT, TABLE_KEEP},
    {"WHEN", TABLE_LEFT, TABLE_KEEP}, {"ZONE", TABLE_LEFT, TABLE_DROP},
    {"NEXT", TABLE_LEFT, TABLE_KEEP}, {"FIRED", TABLE_RIGHT, TABLE_DROP + 1},
    {"TEXT", TABLE_LEFT, TABLE_FLEX},
};

struct listing {
    const struct cli *cli;
    struct term term;
    struct table table;
    struct buf out;
    struct buf cursor; /* "" = at the start */
    bool is_done;
    bool has_rows;
};

/* A time of the result in local time, with the name of its zone; "-" when there is none. */
static void put_local_time(struct buf *cell, struct json_span object, const char *member)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    char local[64];
    int64_t ms;
    struct tm tm;

    show_put_member(&text, object, member);
    if (rfc3339_parse(buf_peek(&text), text.len, &ms) != 0) {
        buf_puts(cell, "-");
        return;
    }
    time_t t = (time_t)(ms / 1000);
    if (localtime_r(&t, &tm) && strftime(local, sizeof local, "%Y-%m-%d %H:%M:%S %Z", &tm) > 0)
        buf_puts(cell, local);
}

static void put_when_cell(struct buf *cell, struct json_span schedule)
{
    struct json_item every;
    int64_t ms;

    if (json_find(schedule, "every_ms", &every) && json_decode_int(every.value, &ms) == 0 &&
        ms > 0) {
        buf_puts(cell, "every ");
        interval_put(cell, ms);
    } else {
        show_put_member(cell, schedule, "cron");
    }
}

static void put_status(struct buf *cell, struct json_span schedule)
{
    struct json_item blocked;

    show_put_member(cell, schedule, "status");
    if (json_find(schedule, "blocked", &blocked))
        buf_puts(cell, " (blocked)");
}

static void list_row(struct listing *l, struct json_span schedule)
{
    struct buf cells[CB_ARRAY_LEN(list_columns)] = {BUF_INIT};
    struct json_item template;

    show_put_member(&cells[0], schedule, "id");
    put_status(&cells[1], schedule);
    put_when_cell(&cells[2], schedule);
    show_put_member(&cells[3], schedule, "timezone");
    put_local_time(&cells[4], schedule, "next_run_at");
    show_put_member(&cells[5], schedule, "fired");
    if (json_find(schedule, "template", &template))
        show_put_member(&cells[6], template.value, "text");
    for (size_t i = 0; i < CB_ARRAY_LEN(cells); i++) {
        table_cell(&l->table, buf_peek(&cells[i]), cells[i].len);
        buf_done(&cells[i]);
    }
    l->has_rows = true;
}

static void list_params(const struct listing *l, struct buf *params)
{
    buf_puts(params, "{");
    json_put_int(params, "limit", LIST_PAGE);
    params_put_word(l->cli, params, "status");
    session_put_cursor(params, &l->cursor);
    buf_puts(params, "}");
}

/* Takes a page in; the cursor moves on. */
static void list_page(struct listing *l, struct json_span result)
{
    struct json_item schedules, schedule;
    struct json_iter it;

    if (json_find(result, "schedules", &schedules) && schedules.type == JSON_ARRAY) {
        json_iter_init(&it, schedules.value);
        while (json_iter_next(&it, &schedule)) {
            if (cli_is_set(l->cli, "json"))
                session_put_json(&l->out, schedule.value, l->term);
            else
                list_row(l, schedule.value);
        }
    }
    l->is_done = !session_next_page(result, &l->cursor);
    if (l->is_done && !cli_is_set(l->cli, "json") && (l->has_rows || l->term.is_tty))
        table_put(&l->table, l->term, &l->out);
}

static int list_all(struct listing *l, struct session *s)
{
    int status = EXITCODE_OK;

    while (status == EXITCODE_OK && !l->is_done) {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        list_params(l, &params);
        status = session_call(s, "schedule.list", &params, NULL, &reply);
        if (status < 0) {
            list_page(l, reply.result);
            status = cli_write(&l->out);
            buf_reset(&l->out);
        }
    }
    return status;
}

static int show_list(const struct cli *cli, struct session *s)
{
    struct listing l = {.cli = cli, .term = term_detect(STDOUT_FILENO)};

    table_init(&l.table, list_columns, CB_ARRAY_LEN(list_columns));
    int status = list_all(&l, s);
    table_done(&l.table);
    buf_done(&l.out);
    buf_done(&l.cursor);
    return status;
}

static int run_schedule_list(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    int status = session_open(&s, cli);

    return status >= 0 ? status : watch(cli, &s, show_list);
}

/* ---- schedule show, pause, resume, remove ---- */

static const struct cli_option show_options[] = {
    {'j', "json", NULL, "Print the schedule as JSON."},
    {0, NULL, NULL, NULL},
};
static const struct cli_option switch_options[] = {
    {0, "idem", "KEY", "Idempotency key: repeating the command under the same key succeeds."},
    {'j', "json", NULL, "Print the schedule as JSON."},
    {0, NULL, NULL, NULL},
};
static const struct cli_option remove_options[] = {
    {0, "if-version", "N", "Only if it still has this version."},
    {0, "idem", "KEY", "Idempotency key: repeating the command under the same key succeeds."},
    {'j', "json", NULL, "Print the result as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_schedule_show(const struct cli *cli)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;

    params_put_id(cli, &params);
    buf_puts(&params, "}");
    int status = call_once(cli, "schedule.get", &reply, &params, NULL);
    if (status >= 0)
        return status;
    return cli_is_set(cli, "json") ? show_json(reply.result) : show_members(reply.result);
}

static int run_switch(const struct cli *cli, const char *method)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;

    params_put_id(cli, &params);
    buf_puts(&params, "}");
    int status = call_once(cli, method, &reply, &params, cli_value(cli, "idem", NULL));
    if (status >= 0)
        return status;
    return cli_is_set(cli, "json") ? show_json(reply.result) : EXITCODE_OK;
}

static int run_schedule_pause(const struct cli *cli)
{
    return run_switch(cli, "schedule.pause");
}

static int run_schedule_resume(const struct cli *cli)
{
    return run_switch(cli, "schedule.resume");
}

static int run_schedule_remove(const struct cli *cli)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;

    params_put_id(cli, &params);
    int status = params_put_int(cli, &params, "if-version", "if_version");
    buf_puts(&params, "}");
    if (status < 0)
        status = call_once(cli, "schedule.remove", &reply, &params, cli_value(cli, "idem", NULL));
    if (status >= 0)
        return status;
    return cli_is_set(cli, "json") ? show_json(reply.result) : EXITCODE_OK;
}

#define VERB_BY_ID(verb_, name_, summary_, options_)                                               \
    const struct cli_verb verb_schedule_##verb_ = {                                                \
        .name = name_,                                                                             \
        .operands = "ID",                                                                          \
        .min_operands = 1,                                                                         \
        .max_operands = 1,                                                                         \
        .summary = summary_,                                                                       \
        .options = options_,                                                                       \
        .run = run_schedule_##verb_,                                                               \
    }

VERB_BY_ID(show, "schedule show", "Show one schedule.", show_options);
VERB_BY_ID(pause, "schedule pause", "Let a schedule rest.", switch_options);
VERB_BY_ID(resume, "schedule resume", "Let a schedule go on, without what was due meanwhile.",
           switch_options);

const struct cli_verb verb_schedule_remove = {
    .name = "schedule remove",
    .also = "schedule rm",
    .operands = "ID",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Remove a schedule; its tasks stay.",
    .notes = "`schedule rm` is the same.\n",
    .options = remove_options,
    .run = run_schedule_remove,
};
