/*
 * task_create_batch.c: task.create_batch (lua/task_create_batch.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field element[] = {
    FIELD_OBJECT("", REQUIRED, task_create_batch_params, "A task, as for task.create."),
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
    FIELD_LIST("ids", REQUIRED, 1, 100, id_element, "The tasks' ids, in the order of `tasks`."),
    FIELD_LIST("existing", OPTIONAL, 1, 100, id_element,
               "Those of them that were there already, by their unique_key."),
    FIELD_END,
};

enum { AFTER_MAX = 1000 };

/* Only earlier tasks can be waited for, so that there is never a cycle; and not without end in one script call. */
static int check_after(struct prepare *p, const struct field_value *task, size_t i, size_t *sum)
{
    const struct field_value *after = &task->sub[fields_index(task_create_batch_params, "after")];
    const struct field_value
        *index = &task->sub[fields_index(task_create_batch_params, "after_index")];

    for (size_t k = 0; index->is_set && k < index->len; k++)
        if (index->sub[k].num >= (int64_t)i)
            return prepare_refuse(p, arena_printf(p->arena, "tasks[%zu].after_index[%zu]", i, k),
                                  "the number of an earlier task",
                                  arena_printf(p->arena, "number %" PRId64, index->sub[k].num));
    *sum += (after->is_set ? after->len : 0) + (index->is_set ? index->len : 0);
    if (*sum > AFTER_MAX)
        return prepare_refuse(p, arena_printf(p->arena, "tasks[%zu].after", i),
                              "at most 1000 dependencies in a batch", "more");
    return 0;
}

/* What is wrong with a task, as part of the batch: its path is put together only then. */
static int refuse_task(struct prepare *p, size_t i)
{
    const char *path = arena_printf(p->arena, "tasks[%zu].%s", i, p->problem->path);
    snprintf(p->problem->path, sizeof p->problem->path, "%s", path);
    return -1;
}

static int prepare(struct prepare *p)
{
    size_t dependencies = 0;
    const struct field_value *tasks = prepare_value(p, "tasks");

    prepare_arg_int(p, (int64_t)tasks->len);
    for (size_t i = 0; i < tasks->len; i++) {
        const struct field_value *task = &tasks->sub[i];
        if (check_after(p, task, i, &dependencies) != 0)
            return -1;
        if (task_put_create_args(p, task_create_batch_params, task->sub, "") != 0)
            return refuse_task(p, i);
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
