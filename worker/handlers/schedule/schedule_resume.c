/*
 * schedule_resume.c: schedule.resume (lua/schedule_pause.lua).
 */
#include "common/compat.h"
#include "worker/handlers/schedule/schedule_tables.h"

static int prepare(struct prepare *p)
{
    prepare_arg_text(p, prepare_value(p, "id"));
    prepare_arg_int(p, 0);
    return 0;
}

const struct handler handler_schedule_resume = {
    .method = METHOD_schedule_resume,
    .summary = "Let a paused schedule go on; what was due in between is not fired.",
    .params = schedule_id_params,
    .result = schedule_fields,
    .script = SCRIPT_SCHEDULE_PAUSE,
    .prepare = prepare,
    .operation = schedule_operation,
};
