/*
 * task_queue_resume.c: task.queue_resume (lua/task_queue_resume.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

const struct handler handler_task_queue_resume = {
    .method = METHOD_task_queue_resume,
    .summary = "Let tasks of a queue be claimed again.",
    .params = task_queue_params,
    .result = task_queue_result,
    .script = SCRIPT_TASK_QUEUE_RESUME,
    .prepare = task_queue_prepare,
};
