/*
 * task_complete_batch.c: task.complete_batch (lua/task_complete_batch.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field item_fields[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_TOKEN("lease_token", OPTIONAL,
                "The token of the claim. Without it the task must be assigned, to workerId if that "
                "is given."),
    FIELD_ANY("result", OPTIONAL, "Anything, any JSON; kept byte by byte."),
    FIELD_END,
};
static const struct field item_element[] = {
    FIELD_OBJECT("", REQUIRED, item_fields, "A task with its result."),
    FIELD_END,
};

static const struct field params[] = {
    FIELD_LIST("items", REQUIRED, 1, 100, item_element, "The tasks to complete, each by itself."),
    FIELD_ID("workerId", OPTIONAL, "Who completes."),
    FIELD_END,
};

static const struct field outcome_fields[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_ENUM("status", OPTIONAL, task_states, "completed."),
    FIELD_OBJECT("error", OPTIONAL, task_error_fields, "Why it was not completed."),
    FIELD_END,
};
static const struct field outcome_element[] = {
    FIELD_OBJECT("", REQUIRED, outcome_fields, "What became of one item: status or error."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_LIST("items", REQUIRED, 1, 100, outcome_element,
               "The outcomes, in the order of `items`."),
    FIELD_END,
};

static const struct field_value *value_of(const struct field_value *item, const char *name)
{
    return &item->sub[fields_index(item_fields, name)];
}

static int prepare(struct prepare *p)
{
    const struct field_value *items = prepare_value(p, "items");
    int64_t limit = p->ctx->opts->limits.params_bytes;

    prepare_arg_text(p, prepare_value(p, "workerId"));
    prepare_arg_int(p, (int64_t)items->len);
    for (size_t i = 0; i < items->len; i++) {
        const struct field_value *item = &items->sub[i];
        const struct field_value *its_result = value_of(item, "result");
        if ((int64_t)its_result->raw.len > limit)
            return prepare_refuse(p, arena_printf(p->arena, "items[%zu].result", i),
                                  arena_printf(p->arena, "at most %" PRId64 " bytes", limit),
                                  arena_printf(p->arena, "%zu bytes", its_result->raw.len));
        task_put_key(p, value_of(item, "id"));
        prepare_arg_text(p, value_of(item, "id"));
        prepare_arg_text(p, value_of(item, "lease_token"));
        prepare_arg_raw(p, its_result);
    }
    p->operations = (unsigned)items->len;
    return 0;
}

const struct handler handler_task_complete_batch = {
    .method = METHOD_task_complete_batch,
    .summary = "Complete up to 100 tasks, each by itself.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_COMPLETE_BATCH,
    .prepare = prepare,
    .operation = task_complete_operation,
};
