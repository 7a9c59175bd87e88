/*
 * schedule_get.c: schedule.get (lua/schedule_get.lua).
 */
#include "common/compat.h"
#include "worker/handlers/schedule/schedule_tables.h"

static int prepare(struct prepare *p)
{
    prepare_arg_text(p, prepare_value(p, "id"));
    return 0;
}

const struct handler handler_schedule_get = {
    .method = METHOD_schedule_get,
    .summary = "Show one schedule.",
    .params = schedule_id_params,
    .result = schedule_fields,
    .script = SCRIPT_SCHEDULE_GET,
    .prepare = prepare,
    .operation = schedule_operation,
};
