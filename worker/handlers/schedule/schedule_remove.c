/*
 * schedule_remove.c: schedule.remove (lua/schedule_remove.lua).
 */
#include "common/compat.h"
#include "worker/handlers/schedule/schedule_tables.h"

static const struct field params[] = {
    FIELD_ID("id", REQUIRED, "The schedule."),
    FIELD_INT("if_version", OPTIONAL, 1, 9007199254740991,
              "Only if the schedule still has this version."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_ID("id", REQUIRED, "The schedule that is no more."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    prepare_arg_text(p, prepare_value(p, "id"));
    prepare_arg_number(p, prepare_value(p, "if_version"));
    return 0;
}

const struct handler handler_schedule_remove = {
    .method = METHOD_schedule_remove,
    .summary = "Remove a schedule; the tasks that came of it stay.",
    .params = params,
    .result = result,
    .script = SCRIPT_SCHEDULE_REMOVE,
    .prepare = prepare,
    .operation = schedule_operation,
};
