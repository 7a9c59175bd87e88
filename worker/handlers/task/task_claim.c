/*
 * task_claim.c: task.claim (lua/task_claim.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field params[] = {
    FIELD_ID("workerId", REQUIRED, "Who claims."),
    FIELD_INT("maxTasks", DEFAULT(1), 1, 100, "Most tasks to lease."),
    FIELD_NAME("queue", DEFAULT("default"), "The queue to take from."),
    FIELD_LIST("roles", UNIQUE, 1, 16, task_role_element,
               "The worker's roles; tasks that ask for one of them are its, too."),
    FIELD_TOKEN("incarnation", OPTIONAL,
                "From system.register: refused when the instance was registered again."),
    FIELD_INT("lease_ms", OPTIONAL, 100, 86400000,
              "How long the claim holds without a renewal (default: the task's)."),
    FIELD_INT(
        "wait_ms", DEFAULT(0), 0, 30000,
        "How long to wait for a task when there is none. The answer may then come as a wake."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_BOOL("claimed", REQUIRED, "Whether there was anything."),
    FIELD_TASK_ID("taskId", OPTIONAL, "The first task's id."),
    FIELD_LIST("tasks", REQUIRED, 0, 100, task_claimed_element, "The tasks, best first."),
    FIELD_BOOL("wake", OPTIONAL, "After a wait: there may be a task now; claim again at once."),
    FIELD_BOOL("paused", OPTIONAL, "True: nothing is taken from this queue for now."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    task_put_claim_args(p, &(struct task_claim_args){
                               .worker = prepare_value(p, "workerId"),
                               .incarnation = prepare_value(p, "incarnation"),
                               .max_tasks = prepare_value(p, "maxTasks"),
                               .lease_ms = prepare_value(p, "lease_ms"),
                               .queue = prepare_value(p, "queue"),
                               .roles = prepare_value(p, "roles"),
                           });
    prepare_arg_number(p, prepare_value(p, "wait_ms"));
    return 0;
}

static void operation(const struct handler_context *ctx, struct arena *arena, struct arg_list *keys,
                      struct arg_list *args)
{
    task_lease_operation(ctx, arena, keys, args);
    arg_list_add_int(arena, args, ctx->opts->task.deny_ms);
    arg_list_add_int(arena, args, ctx->opts->limits.waiters);
    task_operation_assignment(ctx, arena, args);
}

const struct handler handler_task_claim = {
    .method = METHOD_task_claim,
    .summary = "Lease the next tasks of a queue.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_CLAIM,
    .prepare = prepare,
    .operation = operation,
};
