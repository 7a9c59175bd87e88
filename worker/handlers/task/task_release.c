/*
 * task_release.c: task.release (lua/task_release.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field params[] = {
    TASK_HELD_PARAMS,
    FIELD_END,
};

static const struct field result[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_ENUM("status", REQUIRED, task_states, "pending."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    task_put_held(p);
    return 0;
}

const struct handler handler_task_release = {
    .method = METHOD_task_release,
    .summary = "Give a task back to its queue; the attempt is not charged.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_RELEASE,
    .prepare = prepare,
};
