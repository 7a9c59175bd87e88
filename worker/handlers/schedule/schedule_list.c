/*
 * schedule_list.c: schedule.list (lua/schedule_list.lua).
 */
#include "common/compat.h"
#include "worker/handlers/schedule/schedule_tables.h"

static const struct field params[] = {
    FIELD_ENUM("status", OPTIONAL, schedule_statuses, "Only schedules in this state."),
    FIELD_ID("cursor", OPTIONAL, "`next` of the page before."),
    FIELD_INT("limit", DEFAULT(50), 1, 500, "Most schedules on this page."),
    FIELD_END,
};

static const struct field schedule_element[] = {
    FIELD_OBJECT("", REQUIRED, schedule_fields, "A schedule."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_LIST("schedules", REQUIRED, 0, 500, schedule_element,
               "The page, in the order of their ids; it may be empty and have a next one."),
    FIELD_ID("next", OPTIONAL, "Where the next page begins; absent on the last one."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    prepare_arg_text(p, prepare_value(p, "status"));
    prepare_arg_number(p, prepare_value(p, "limit"));
    prepare_arg_text(p, prepare_value(p, "cursor"));
    return 0;
}

const struct handler handler_schedule_list = {
    .method = METHOD_schedule_list,
    .summary = "List schedules, page by page.",
    .params = params,
    .result = result,
    .script = SCRIPT_SCHEDULE_LIST,
    .prepare = prepare,
    .operation = schedule_operation,
};
