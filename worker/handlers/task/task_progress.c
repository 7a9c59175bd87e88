/*
 * task_progress.c: task.progress (lua/task_progress.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field params[] = {
    TASK_HELD_PARAMS,
    FIELD_NUM("percent", REQUIRED, 0, 100, "How much is done."),
    FIELD_STR("note", OPTIONAL, 1, 500, "What is being done."),
    FIELD_END,
};

static const struct field result[] = {FIELD_END};

static int prepare(struct prepare *p)
{
    task_put_held(p);
    prepare_arg_real(p, prepare_value(p, "percent"));
    prepare_arg_literal(p, prepare_value(p, "note"));
    return 0;
}

const struct handler handler_task_progress = {
    .method = METHOD_task_progress,
    .summary = "Tell how far the work on a task is.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_PROGRESS,
    .prepare = prepare,
};
