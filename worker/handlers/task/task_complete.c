/*
 * task_complete.c: task.complete (lua/task_complete.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field next_fields[] = {
    FIELD_INT("maxTasks", DEFAULT(1), 1, 100, "Most tasks to lease."),
    FIELD_NAME("queue", DEFAULT("default"), "The queue to take from."),
    FIELD_LIST("roles", UNIQUE, 1, 16, task_role_element, "The worker's roles."),
    FIELD_TOKEN("incarnation", OPTIONAL, "From system.register."),
    FIELD_INT("lease_ms", OPTIONAL, 100, 86400000,
              "How long the claim holds (default: the task's)."),
    FIELD_END,
};

static const struct field params[] = {
    FIELD_TASK_ID("id", OPTIONAL, "The task; `taskId` is accepted in its place."),
    FIELD_TASK_ID("taskId", OPTIONAL, "The task."),
    FIELD_ID("workerId", OPTIONAL, "Who completes; needed for `next`."),
    FIELD_TOKEN("lease_token", OPTIONAL,
                "The token of the claim. Without it the task must be assigned, to workerId if that "
                "is given."),
    FIELD_ANY("result", OPTIONAL, "Anything, any JSON; kept byte by byte."),
    FIELD_OBJECT("next", OPTIONAL, next_fields, "Claim the next tasks in the same step."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_ENUM("status", REQUIRED, task_states, "completed."),
    FIELD_TIME("completedAt", REQUIRED, "When it was completed."),
    FIELD_LIST("tasks", OPTIONAL, 0, 100, task_claimed_element, "What `next` claimed."),
    FIELD_BOOL("paused", OPTIONAL, "True: nothing is taken from this queue for now."),
    FIELD_END,
};

static void put_next(struct prepare *p, const struct field_value *next)
{
    const struct field_value *v = next->sub;

    task_put_claim_args(p, &(struct task_claim_args){
                               .worker = prepare_value(p, "workerId"),
                               .incarnation = &v[fields_index(next_fields, "incarnation")],
                               .max_tasks = &v[fields_index(next_fields, "maxTasks")],
                               .lease_ms = &v[fields_index(next_fields, "lease_ms")],
                               .queue = &v[fields_index(next_fields, "queue")],
                               .roles = &v[fields_index(next_fields, "roles")],
                           });
}

static int prepare(struct prepare *p)
{
    const struct field_value *id = prepare_value(p, "id");
    const struct field_value *task_id = prepare_value(p, "taskId");
    const struct field_value *next = prepare_value(p, "next");

    if (id->is_set == task_id->is_set)
        return prepare_refuse(p, "id", "one of `id` and `taskId`", id->is_set ? "both" : "neither");
    if (next->is_set && !prepare_value(p, "workerId")->is_set)
        return prepare_refuse(p, "workerId", "the worker that `next` claims for", "nothing");
    id = id->is_set ? id : task_id;
    task_put_key(p, id);
    prepare_arg_text(p, id);
    prepare_arg_text(p, prepare_value(p, "lease_token"));
    prepare_arg_text(p, prepare_value(p, "workerId"));
    prepare_arg_raw(p, prepare_value(p, "result"));
    if (next->is_set) {
        p->operations++;
        put_next(p, next);
    }
    return 0;
}

const struct handler handler_task_complete = {
    .method = METHOD_task_complete,
    .summary = "Complete a task with its result, and claim the next ones.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_COMPLETE,
    .prepare = prepare,
    .operation = task_complete_operation,
};
