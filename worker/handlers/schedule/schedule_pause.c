/*
 * schedule_pause.c: schedule.pause (lua/schedule_pause.lua).
 */
#include "common/compat.h"
#include "worker/handlers/schedule/schedule_tables.h"

static int prepare(struct prepare *p)
{
    prepare_arg_text(p, prepare_value(p, "id"));
    prepare_arg_int(p, 1);
    return 0;
}

const struct handler handler_schedule_pause = {
    .method = METHOD_schedule_pause,
    .summary = "Pause a schedule: nothing is due until it is resumed.",
    .params = schedule_id_params,
    .result = schedule_fields,
    .script = SCRIPT_SCHEDULE_PAUSE,
    .prepare = prepare,
    .operation = schedule_operation,
};
