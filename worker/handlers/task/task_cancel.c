/*
 * task_cancel.c: task.cancel (lua/task_cancel.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field params[] = {
    FIELD_TASK_ID("id", REQUIRED, "A task that has not ended."),
    FIELD_STR("reason", OPTIONAL, 1, 500, "Why; kept as its error."),
    TASK_IF_VERSION,
    FIELD_END,
};

static const struct field result[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_ENUM("status", REQUIRED, task_states, "cancelled."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    task_put_versioned(p);
    prepare_arg_literal(p, prepare_value(p, "reason"));
    return 0;
}

const struct handler handler_task_cancel = {
    .method = METHOD_task_cancel,
    .summary = "End a task that has not ended, whoever works on it.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_CANCEL,
    .prepare = prepare,
    .operation = task_retention_operation,
};
