/*
 * task_queue_resume.c: task.queue_resume (lua/task_queue_resume.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static int prepare(struct prepare *p)
{
    const struct field_value *queue = prepare_value(p, "queue");

    if (queue->is_set)
        prepare_arg_text(p, queue);
    else
        prepare_arg_str(p, "*");
    return 0;
}

const struct handler handler_task_queue_resume = {
    .method = METHOD_task_queue_resume,
    .summary = "Let tasks of a queue be claimed again.",
    .params = task_queue_params,
    .result = task_queue_result,
    .script = SCRIPT_TASK_QUEUE_RESUME,
    .prepare = prepare,
};
