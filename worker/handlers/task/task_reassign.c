/*
 * task_reassign.c: task.reassign (lua/task_reassign.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field params[] = {
    FIELD_TASK_ID("id", REQUIRED, "A task in progress, or a pending one."),
    FIELD_ID(
        "to", OPTIONAL,
        "The instance that gets it, whatever its roles; without it, it goes back to its queue."),
    FIELD_STR("reason", OPTIONAL, 1, 500, "Why; it is told in the event."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_ID("assignedTo", REQUIRED_OR_NULL, "Who holds it now, null when it waits on its queue."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    task_put_key(p, prepare_value(p, "id"));
    prepare_arg_text(p, prepare_value(p, "id"));
    prepare_arg_text(p, prepare_value(p, "to"));
    prepare_arg_text(p, prepare_value(p, "reason"));
    prepare_arg_secret(p);
    return 0;
}

const struct handler handler_task_reassign = {
    .method = METHOD_task_reassign,
    .summary = "Take a task from its holder, back to its queue or to another instance.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_REASSIGN,
    .prepare = prepare,
    .operation = task_lease_operation,
};
