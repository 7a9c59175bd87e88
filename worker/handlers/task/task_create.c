/*
 * task_create.c: task.create (lua/task_create.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field result[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task's id."),
    FIELD_STR("text", REQUIRED, 1, 500, "Its text."),
    FIELD_ENUM("status", REQUIRED, task_states, "Its state."),
    FIELD_INT("priority", REQUIRED, 0, 100, "Its priority."),
    FIELD_TIME("createdAt", REQUIRED, "When it was created."),
    FIELD_BOOL("existing", OPTIONAL,
               "True: nothing was created, a live task of the queue has the unique_key."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const struct field_value *after = prepare_value(p, "after");

    p->operations += after->is_set ? (unsigned)after->len : 0;
    return task_put_create_args(p, task_create_params, p->values, "");
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
