/*
 * task_get.c: task.get (lua/task_get.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field params[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    task_put_key(p, prepare_value(p, "id"));
    prepare_arg_text(p, prepare_value(p, "id"));
    return 0;
}

const struct handler handler_task_get = {
    .method = METHOD_task_get,
    .summary = "Show one task, with payload and result.",
    .params = params,
    .result = task_fields,
    .script = SCRIPT_TASK_GET,
    .prepare = prepare,
};
