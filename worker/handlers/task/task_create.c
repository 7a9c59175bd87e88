/*
 * task_create.c: task.create (lua/task_create.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field result[] = {
    FIELD_TASK_ID("id", REQUIRED, "The new task's id."),
    FIELD_STR("text", REQUIRED, 1, 500, "Its text."),
    FIELD_ENUM("status", REQUIRED, task_states, "Its state."),
    FIELD_INT("priority", REQUIRED, 0, 100, "Its priority."),
    FIELD_TIME("createdAt", REQUIRED, "When it was created."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    return task_put_create_args(p, p->values, "");
}

const struct handler handler_task_create = {
    .method = METHOD_task_create,
    .summary = "Create a task and put it on its queue.",
    .params = task_create_params,
    .result = result,
    .script = SCRIPT_TASK_CREATE,
    .prepare = prepare,
    .operation = task_create_operation,
};
