/*
 * task_update.c: task.update (lua/task_update.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field update_fields[] = {
    FIELD_STR("text", OPTIONAL, 1, 500, "What is to be done."),
    FIELD_ENUM("status", OPTIONAL, task_states,
               "A delayed or blocked task may be made pending, these three may be cancelled; every "
               "other move is refused."),
    FIELD_INT("priority", OPTIONAL, 0, 100, "Higher is sooner."),
    FIELD_OBJECT("metadata", OPTIONAL, NULL, "In place of all there was."),
    FIELD_END,
};

static const struct field params[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_OBJECT("updates", REQUIRED, update_fields, "What is to change."),
    TASK_IF_VERSION,
    FIELD_END,
};

static const struct field_value *update_value(const struct prepare *p, const char *name)
{
    return &prepare_value(p, "updates")->sub[fields_index(update_fields, name)];
}

static int prepare(struct prepare *p)
{
    const struct field_value *text = update_value(p, "text");
    int64_t limit = p->ctx->opts->limits.text_bytes;

    if (text->is_set && (int64_t)text->len > limit)
        return prepare_refuse(p, "updates.text",
                              arena_printf(p->arena, "at most %" PRId64 " bytes", limit),
                              arena_printf(p->arena, "%zu bytes", text->len));
    task_put_versioned(p);
    prepare_arg_literal(p, text);
    prepare_arg_text(p, update_value(p, "status"));
    prepare_arg_number(p, update_value(p, "priority"));
    prepare_arg_raw(p, update_value(p, "metadata"));
    return 0;
}

const struct handler handler_task_update = {
    .method = METHOD_task_update,
    .summary = "Change a task's text, priority, metadata or state.",
    .params = params,
    .result = task_fields,
    .script = SCRIPT_TASK_UPDATE,
    .prepare = prepare,
    .operation = task_retention_operation,
};
