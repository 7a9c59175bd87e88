/*
 * task_create_batch.c: task.create_batch (lua/task_create_batch.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field element[] = {
    FIELD_OBJECT("", REQUIRED, task_create_params, "A task, as for task.create."),
    FIELD_END,
};

static const struct field params[] = {
    FIELD_LIST("tasks", REQUIRED, 1, 100, element,
               "The tasks, in the order in which they are to come."),
    FIELD_END,
};

static const struct field id_element[] = {
    FIELD_TASK_ID("", REQUIRED, "A task's id."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_LIST("ids", REQUIRED, 1, 100, id_element, "The new tasks' ids, in the order of `tasks`."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const struct field_value *tasks = prepare_value(p, "tasks");

    prepare_arg_int(p, (int64_t)tasks->len);
    for (size_t i = 0; i < tasks->len; i++) {
        const char *path = arena_printf(p->arena, "tasks[%zu].", i);
        if (task_put_create_args(p, tasks->sub[i].sub, path) != 0)
            return -1;
    }
    p->operations = (unsigned)tasks->len;
    return 0;
}

const struct handler handler_task_create_batch = {
    .method = METHOD_task_create_batch,
    .summary = "Create up to 100 tasks, all or none.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_CREATE_BATCH,
    .prepare = prepare,
    .operation = task_create_operation,
};
