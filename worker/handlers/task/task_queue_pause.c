/*
 * task_queue_pause.c: task.queue_pause (lua/task_queue_pause.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

const struct handler handler_task_queue_pause = {
    .method = METHOD_task_queue_pause,
    .summary = "Let nothing be claimed from a queue for now.",
    .params = task_queue_params,
    .result = task_queue_result,
    .script = SCRIPT_TASK_QUEUE_PAUSE,
    .prepare = task_queue_prepare,
};
