/*
 * task_delete.c: task.delete (lua/task_delete.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const char *const deleted[] = {"deleted", NULL};

static const struct field params[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task; nobody may be working on it."),
    TASK_IF_VERSION,
    FIELD_END,
};

static const struct field result[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task that is no more."),
    FIELD_ENUM("status", REQUIRED, deleted, "deleted."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    task_put_versioned(p);
    return 0;
}

const struct handler handler_task_delete = {
    .method = METHOD_task_delete,
    .summary = "Remove a task that nobody works on.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_DELETE,
    .prepare = prepare,
};
