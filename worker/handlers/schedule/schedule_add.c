/*
 * schedule_add.c: schedule.add (lua/schedule_add.lua).
 *
 * The first due time of a cron expression is computed here, from the time of Redis at which the request arrived; all
 * later ones are the leader's (supervisor/scheduler.c).
 */
#include "common/compat.h"
#include "worker/handlers/schedule/schedule_tables.h"

#include "common/cron.h"
#include "worker/handlers/task/task_tables.h"

enum { EVERY_MIN_MS = 1000 };
#define EVERY_MAX_MS INT64_C(31622400000) /* 366 days */

static const struct field params[] = {
    FIELD_ID("id", OPTIONAL,
             "Its id; one is made when there is none. A schedule with that id is replaced."),
    FIELD_STR("cron", OPTIONAL, 1, CRON_MAX,
              "When: minute, hour, day of the month, month, day of the week, as in crontab(5), or "
              "@hourly, @daily, @weekly, @monthly, @yearly. Either this or every_ms."),
    FIELD_INT("every_ms", OPTIONAL, EVERY_MIN_MS, EVERY_MAX_MS,
              "An interval, counted from `start`, or else from now."),
    FIELD_STR("timezone", DEFAULT("UTC"), 1, TZ_NAME_MAX,
              "The zone that the cron expression is read in, by its IANA name."),
    FIELD_OBJECT("template", REQUIRED, task_template_params,
                 "The task, as for task.create, to be run when it is made."),
    FIELD_ENUM("missed", DEFAULT("once"), schedule_missed,
               "Due times that nobody was there to fire, for more than five seconds: none is made "
               "up for, one task stands for all, or each has its own (the latest 1000)."),
    FIELD_BOOL("paused", OPTIONAL, "Do not fire (default: as it was; a new one fires)."),
    FIELD_TIME("start", OPTIONAL, "Nothing is due before."),
    FIELD_TIME("end", OPTIONAL, "Nothing is due after."),
    FIELD_INT("if_version", OPTIONAL, 0, 9007199254740991,
              "Only if the schedule still has this version; 0: only if there is none."),
    FIELD_END,
};

static const char *const outcomes[] = {"created", "replaced", "unchanged", NULL};

static const struct field result[] = {
    FIELD_ENUM("outcome", REQUIRED, outcomes,
               "`unchanged` when there was one with the same content, to the byte."),
    FIELD_OBJECT("schedule", REQUIRED, schedule_fields, "The schedule."),
    FIELD_END,
};

/* *ret_first: wall ms, or CRON_NEVER. */
static int first_time(struct prepare *p, int64_t *ret_first)
{
    struct tz *tz CB_CLEANUP(tz_free_ptr) = NULL;
    const struct field_value *cron = prepare_value(p, "cron"), *start = prepare_value(p, "start"),
                             *end = prepare_value(p, "end");
    struct cron_problem problem;
    struct cb_error err;
    struct cron parsed;

    if (tz_load(NULL, prepare_value(p, "timezone")->str, &tz, &err) != 0)
        return prepare_refuse(p, "timezone", "the IANA name of a time zone, such as Europe/Berlin",
                              err.text);
    if (!cron->is_set)
        return 0;
    if (cron_parse(cron->str, &parsed, &problem) != 0)
        return prepare_refuse(p, "cron", problem.expected, problem.got);
    int64_t after = p->arrival_ms;
    if (start->is_set && start->num > after)
        after = start->num - 1;
    *ret_first = cron_next(&parsed, tz, after);
    if (end->is_set && *ret_first > end->num)
        *ret_first = CRON_NEVER;
    return 0;
}

static void put_time(struct prepare *p, int64_t ms)
{
    if (ms == CRON_NEVER)
        prepare_arg_str(p, "");
    else
        prepare_arg_int(p, ms);
}

static int prepare(struct prepare *p)
{
    const struct field_value *template = prepare_value(p, "template"),
                             *end = prepare_value(p, "end"), *start = prepare_value(p, "start"),
                             *paused = prepare_value(p, "paused");
    bool has_cron = prepare_value(p, "cron")->is_set;
    int64_t first = CRON_NEVER;

    if (has_cron == prepare_value(p, "every_ms")->is_set)
        return prepare_refuse(p, "cron", "either cron or every_ms", has_cron ? "both" : "neither");
    if (end->is_set && start->is_set && end->num < start->num)
        return prepare_refuse(p, "end", "a time after `start`", end->str);
    if (first_time(p, &first) != 0)
        return -1;
    prepare_arg_text(p, prepare_value(p, "id"));
    prepare_arg_number(p, prepare_value(p, "if_version"));
    prepare_arg_text(p, prepare_value(p, "cron"));
    prepare_arg_number(p, prepare_value(p, "every_ms"));
    prepare_arg_text(p, prepare_value(p, "timezone"));
    prepare_arg_text(p, prepare_value(p, "missed"));
    prepare_arg_str(p, !paused->is_set ? "" : paused->num ? "1" : "0");
    put_time(p, start->is_set ? start->num : CRON_NEVER);
    put_time(p, end->is_set ? end->num : CRON_NEVER);
    put_time(p, first);
    prepare_arg_raw(p, template);
    return task_put_create_args(p, task_template_params, template->sub, "template.");
}

static void operation(const struct handler_context *ctx, struct arena *arena, struct arg_list *keys,
                      struct arg_list *args)
{
    schedule_operation(ctx, arena, keys, args);
    arg_list_add_int(arena, args, ctx->opts->task.max_schedules);
}

const struct handler handler_schedule_add = {
    .method = METHOD_schedule_add,
    .summary = "Add a schedule, or replace the one with that id.",
    .params = params,
    .result = result,
    .script = SCRIPT_SCHEDULE_ADD,
    .prepare = prepare,
    .operation = operation,
};
