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

/* Without a length it never makes a lease shorter, so that a late repeat of it does no harm. With one, it could undo a
 * longer renewal that came between. */
static int prepare(struct prepare *p)
{
    const struct field_value *extend = prepare_value(p, "extend_ms");

    task_put_held(p);
    prepare_arg_number(p, extend);
    p->is_repeatable = !extend->is_set;
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
