/*
 * task_assign.c: task.assign (lua/task_assign.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field params[] = {
    FIELD_TASK_ID("taskId", REQUIRED, "A pending task."),
    FIELD_ID("instanceId", REQUIRED,
             "A registered instance that is alive, whatever its roles: an assignment overrules the "
             "task's."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_TASK_ID("taskId", REQUIRED, "The task, in progress from now on."),
    FIELD_ID("instanceId", REQUIRED, "Who holds it; its next task.claim returns it first."),
    FIELD_TIME("assignedAt", REQUIRED, "When its lease began."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    task_put_key(p, prepare_value(p, "taskId"));
    prepare_arg_text(p, prepare_value(p, "taskId"));
    prepare_arg_text(p, prepare_value(p, "instanceId"));
    prepare_arg_secret(p);
    return 0;
}

const struct handler handler_task_assign = {
    .method = METHOD_task_assign,
    .summary = "Lease a pending task to an instance that has not asked for it.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_ASSIGN,
    .prepare = prepare,
    .operation = task_lease_operation,
};
