/*
 * task_retry.c: task.retry (lua/task_retry.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field params[] = {
    FIELD_TASK_ID("id", REQUIRED, "A task that failed for good, or was cancelled."),
    FIELD_INT("attempts", OPTIONAL, 1, 1000,
              "So many more attempts (default: all of them anew, the count begins at 0)."),
    TASK_IF_VERSION,
    FIELD_END,
};

static const struct field result[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_ENUM("status", REQUIRED, task_states, "pending."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    task_put_versioned(p);
    prepare_arg_number(p, prepare_value(p, "attempts"));
    return 0;
}

const struct handler handler_task_retry = {
    .method = METHOD_task_retry,
    .summary = "Bring a dead or cancelled task back to its queue.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_RETRY,
    .prepare = prepare,
};
