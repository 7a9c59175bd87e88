/*
 * task_fail.c: task.fail (lua/task_fail.lua).
 */
#include "common/compat.h"
#include "common/rnd.h"
#include "worker/handlers/task/task_tables.h"

static const struct field params[] = {
    TASK_HELD_PARAMS,
    FIELD_STR("error", REQUIRED, 1, 2000, "Why it failed."),
    FIELD_BOOL("retry", DEFAULT(true), "False: it is dead, whatever attempts it has left."),
    FIELD_BOOL("crashed", DEFAULT(false),
               "The process that worked on it died: counted, and too often is dead, too."),
    FIELD_NAME("signal", OPTIONAL, "The signal that killed it; says crashed."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_ENUM("status", REQUIRED, task_states, "delayed, or failed."),
    FIELD_BOOL("dead", REQUIRED, "True when there is no attempt left."),
    FIELD_ENUM("dead_reason", OPTIONAL, task_dead_reasons, "Why."),
    FIELD_TIME("next_run_at", OPTIONAL, "When it is tried again."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    task_put_held(p);
    prepare_arg_literal(p, prepare_value(p, "error"));
    prepare_arg_str(p, prepare_value(p, "retry")->num ? "1" : "0");
    prepare_arg_int(p, (int64_t)(rnd_u64() % 1000));
    bool is_crash = prepare_value(p, "crashed")->num || prepare_value(p, "signal")->is_set;
    prepare_arg_str(p, is_crash ? "1" : "0");
    prepare_arg_text(p, prepare_value(p, "signal"));
    return 0;
}

static void operation(const struct handler_context *ctx, struct arena *arena, struct arg_list *keys,
                      struct arg_list *args)
{
    arg_list_add_int(arena, args, ctx->opts->task.backoff_ms);
    arg_list_add_int(arena, args, ctx->opts->task.backoff_max_ms);
    task_retention_operation(ctx, arena, keys, args);
}

const struct handler handler_task_fail = {
    .method = METHOD_task_fail,
    .summary = "End an attempt without success.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_FAIL,
    .prepare = prepare,
    .operation = operation,
};
