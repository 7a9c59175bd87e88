/*
 * task_tables.h: field tables and argument builders that several task handlers share.
 */
#ifndef CB_WORKER_TASK_TABLES_H
#define CB_WORKER_TASK_TABLES_H

#include "worker/handler.h"

/* The states of a task, in the order of its life. */
extern const char *const task_states[];
extern const char *const task_dead_reasons[];

/* A task as get and list show it. */
extern const struct field task_fields[];
/* A task as its holder gets it, with its token. */
extern const struct field task_claimed_fields[];
extern const struct field task_claimed_element[];

/* What task.queue_pause and task.queue_resume take and give. */
extern const struct field task_queue_params[];
extern const struct field task_queue_result[];
int task_queue_prepare(struct prepare *p);

/* Is it a cursor as task.list and task.audit make them, of a stage up to this digit? A caller who gives something else could
 * reach keys of another kind. */
bool task_is_cursor(const char *s, char last_stage);

/* An error inside a result: one item of a batch that failed. */
extern const struct field task_error_fields[];

/* Longest time from now that a task may be put off by: ten years. */
#define TASK_DELAY_MAX_MS INT64_C(315360000000)
/* What a schedule's template takes; task.create, with what a task may wait for behind it; and one element of
 * task.create_batch, with `after_index` behind that. A row of one has the same place in the next. */
extern const struct field task_template_params[];
extern const struct field task_create_params[];
extern const struct field task_create_batch_params[];
extern const struct field task_role_element[];

/* The nine arguments of lua/include/create.lua for one task; `values` is parallel to `table`, one of the three above; `path` is
 * put before a field's name in a problem ("tasks[3]."). That `after_index` names earlier tasks has been checked. 0 or -1. */
int task_put_create_args(struct prepare *p, const struct field *table,
                         const struct field_value *values, const char *path);
/* task.max_pending, for the two creating scripts. */
void task_create_operation(const struct handler_context *ctx, struct arena *arena,
                           struct arg_list *keys, struct arg_list *args);

/* task.lease_ms, for scripts that lease tasks. */
void task_lease_operation(const struct handler_context *ctx, struct arena *arena,
                          struct arg_list *keys, struct arg_list *args);
/* The four of lua/include/retention.lua, for scripts that end tasks. */
void task_retention_operation(const struct handler_context *ctx, struct arena *arena,
                              struct arg_list *keys, struct arg_list *args);
/* task.lease_ms, these four of retention, task.deny_ms and task.assignment, for the scripts that complete tasks and may
 * claim. */
void task_complete_operation(const struct handler_context *ctx, struct arena *arena,
                             struct arg_list *keys, struct arg_list *args);

/* The two arguments of lua/include/claim.lua: who claims what, of these in one text, and the secret of the leases. */
struct task_claim_args {
    const struct field_value *worker, *incarnation, *max_tasks, *lease_ms, *queue, *roles;
};
void task_put_claim_args(struct prepare *p, const struct task_claim_args *a);

/* The word of task.assignment. */
void task_operation_assignment(const struct handler_context *ctx, struct arena *arena,
                               struct arg_list *args);
/* What the holder of a lease says who it is with: the rows, and their key and two arguments. */
#define TASK_HELD_PARAMS                                                                           \
    FIELD_TASK_ID("id", REQUIRED, "The task."),                                                    \
        FIELD_TOKEN("lease_token", REQUIRED, "The token of the claim.")
void task_put_held(struct prepare *p);

/* The optimistic check of what changes a task: the row, and key, id and version as arguments. */
#define TASK_IF_VERSION                                                                            \
    FIELD_INT("if_version", OPTIONAL, 1, 9007199254740991,                                         \
              "Only if the task still has this version.")
void task_put_versioned(struct prepare *p);

/* The key of the task whose id is in `v`. */
void task_put_key(struct prepare *p, const struct field_value *v);

#endif
