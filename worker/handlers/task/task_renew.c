/*
 * task_renew.c: task.renew (lua/task_renew.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field params[] = {
    TASK_HELD_PARAMS,
    FIELD_INT(
        "extend_ms", OPTIONAL, 100, 86400000,
        "From now (default: the task's lease, never cutting short what the claim asked for)."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_TIME("lease_until", REQUIRED, "When the lease ends now."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    task_put_held(p);
    prepare_arg_number(p, prepare_value(p, "extend_ms"));
    return 0;
}

const struct handler handler_task_renew = {
    .method = METHOD_task_renew,
    .summary = "Extend a lease.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_RENEW,
    .prepare = prepare,
    .operation = task_lease_operation,
};
