/*
 * task_tables.c: see task_tables.h.
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

const char *const task_states[] = {"delayed", "pending",   "in_progress", "completed",
                                   "failed",  "cancelled", NULL};

const struct field task_role_element[] = {FIELD_NAME("", REQUIRED, "A role."), FIELD_END};

static const struct field progress_fields[] = {
    FIELD_NUM("percent", REQUIRED, 0, 100, "How much is done."),
    FIELD_STR("note", OPTIONAL, 1, 500, "What is being done."),
    FIELD_TIME("at", REQUIRED, "When the holder said so."),
    FIELD_END,
};

#define TASK_FIELDS                                                                                \
    FIELD_TASK_ID("id", REQUIRED, "The task's id."),                                               \
        FIELD_STR("text", REQUIRED, 1, 500, "What is to be done."),                                \
        FIELD_ENUM("status", REQUIRED, task_states, "Its state."),                                 \
        FIELD_INT("priority", REQUIRED, 0, 100, "Higher is sooner."),                              \
        FIELD_NAME("queue", REQUIRED, "Its queue."),                                               \
        FIELD_INT("attempt", REQUIRED, 0, INT32_MAX, "Attempts charged so far."),                  \
        FIELD_INT("maxAttempts", REQUIRED, 1, INT32_MAX, "Attempts that it may use."),             \
        FIELD_INT("version", REQUIRED, 1, INT64_MAX, "Grows with every change."),                  \
        FIELD_TIME("createdAt", REQUIRED, "When it was created."),                                 \
        FIELD_TIME("updatedAt", REQUIRED, "When it changed last."),                                \
        FIELD_LIST("roles", OPTIONAL, 1, 4, task_role_element,                                     \
                   "Roles of which a worker needs one."),                                          \
        FIELD_ID("assignedTo", OPTIONAL, "Who holds it."),                                         \
        FIELD_TIME("lease_until", OPTIONAL, "When its lease ends, unless it is renewed."),         \
        FIELD_TIME("next_run_at", OPTIONAL, "When a delayed task is pending again."),              \
        FIELD_TIME("completedAt", OPTIONAL, "When it was completed."),                             \
        FIELD_TIME("endedAt", OPTIONAL, "When it failed or was cancelled."),                       \
        FIELD_BOOL("dead", OPTIONAL, "True when it failed for good."),                             \
        FIELD_OBJECT("metadata", OPTIONAL, NULL, "What its creator said about it."),               \
        FIELD_ANY("error", OPTIONAL, "Why the last attempt failed."),                              \
        FIELD_INT("crashes", OPTIONAL, 0, INT32_MAX, "How often its worker died."),                \
        FIELD_OBJECT("progress", OPTIONAL, progress_fields, "How far its holder is."),             \
        FIELD_ID("schedule", OPTIONAL, "The schedule that it came of."),                           \
        FIELD_TIME("scheduledFor", OPTIONAL, "When that was due."),                                \
        FIELD_ANY("payload", OPTIONAL, "What its creator gave it to work on."),                    \
        FIELD_ANY("result", OPTIONAL, "What its holder completed it with.")

const struct field task_fields[] = {TASK_FIELDS, FIELD_END};

const struct field task_claimed_fields[] = {
    TASK_FIELDS,
    FIELD_TOKEN("lease_token", REQUIRED, "Proves the lease; goes to nobody else."),
    FIELD_END,
};

const struct field task_claimed_element[] = {
    FIELD_OBJECT("", REQUIRED, task_claimed_fields, "A task, with its lease."),
    FIELD_END,
};

const struct field task_error_fields[] = {
    FIELD_INT("code", REQUIRED, -33000, -32000, "As the code of an error reply."),
    FIELD_STR("message", REQUIRED, 1, 1000, "For people."),
    FIELD_OBJECT("data", REQUIRED, NULL, "Details, as in an error reply."),
    FIELD_END,
};

const struct field task_create_params[] = {
    FIELD_STR("text", REQUIRED, 1, 500, "What is to be done."),
    FIELD_INT("priority", DEFAULT(50), 0, 100, "Higher is sooner."),
    FIELD_OBJECT("metadata", OPTIONAL, NULL, "Anything about the task; kept as it is."),
    FIELD_ANY("payload", OPTIONAL, "Anything to work on, any JSON; kept byte by byte."),
    FIELD_INT("max_attempts", OPTIONAL, 1, 1000,
              "Attempts that it may use (default: task.max_attempts)."),
    FIELD_INT("max_crashes", OPTIONAL, 1, 1000,
              "Workers that it may lose (default: task.max_crashes)."),
    FIELD_INT("backoff_ms", OPTIONAL, 0, 86400000,
              "Delay after the first failure; doubles each time (default: task.backoff_ms)."),
    FIELD_INT("lease_ms", OPTIONAL, 100, 86400000,
              "How long a claim holds without a renewal (default: task.lease_ms)."),
    {.name = "queue",
     .type = FIELD_TYPE_NAME,
     .fallback = "\"default\"",
     .min = 1,
     .max = 64,
     .text = "The queue to put it on."},
    {.name = "roles",
     .type = FIELD_TYPE_LIST,
     .flags = FIELD_UNIQUE,
     .min = 1,
     .max = 4,
     .sub = task_role_element,
     .text = "Only workers with one of these roles may claim it."},
    FIELD_END,
};

void task_operation_int(struct arena *arena, struct arg_list *args, int64_t n)
{
    const char *text = arena_int(arena, n);
    arg_list_add(arena, args, text, strlen(text));
}

void task_operation_assignment(const struct handler_context *ctx, struct arena *arena,
                               struct arg_list *args)
{
    const char *mode = options_assignment_name(ctx->opts->task.assignment);
    arg_list_add(arena, args, mode, strlen(mode));
}

void task_put_key(struct prepare *p, const struct field_value *v)
{
    prepare_key(p, keys_make(p->arena, p->ctx->prefix, KEY_TASK, v->str));
}

static const struct field_value *create_value(const struct field_value *values, const char *name)
{
    return &values[fields_index(task_create_params, name)];
}

static void put_int_or(struct prepare *p, const struct field_value *v, int64_t fallback)
{
    prepare_arg_int(p, v->is_set ? v->num : fallback);
}

static void extra_key(struct buf *doc, const char *name)
{
    if (doc->len == 0)
        buf_putc(doc, '{');
    json_put_key(doc, name);
}

static void put_extra_int(struct buf *doc, const char *name, const struct field_value *v)
{
    if (!v->is_set)
        return;
    extra_key(doc, name);
    buf_printf(doc, "%" PRId64, v->num);
}

/* What few tasks have travels in one argument, so that the others do not pay for it: a document of ours. */
static void put_create_extras(struct prepare *p, const struct field_value *values)
{
    struct buf doc = BUF_INIT;

    put_extra_int(&doc, "backoff_ms", create_value(values, "backoff_ms"));
    put_extra_int(&doc, "lease_ms", create_value(values, "lease_ms"));
    if (doc.len > 0)
        buf_putc(&doc, '}');
    prepare_arg(p, arena_strndup(p->arena, buf_peek(&doc), doc.len), doc.len);
    buf_done(&doc);
}

int task_put_create_args(struct prepare *p, const struct field_value *values, const char *path)
{
    const struct options *opts = p->ctx->opts;
    const struct field_value *text = create_value(values, "text");
    const struct field_value *payload = create_value(values, "payload");
    const struct field_value *metadata = create_value(values, "metadata");

    if ((int64_t)text->len > opts->limits.text_bytes)
        return prepare_refuse(
            p, arena_printf(p->arena, "%stext", path),
            arena_printf(p->arena, "at most %" PRId64 " bytes", opts->limits.text_bytes),
            arena_printf(p->arena, "%zu bytes", text->len));
    if ((int64_t)(payload->raw.len + metadata->raw.len) > opts->limits.params_bytes)
        return prepare_refuse(
            p, arena_printf(p->arena, "%spayload", path),
            arena_printf(p->arena, "at most %" PRId64 " bytes with the metadata",
                         opts->limits.params_bytes),
            arena_printf(p->arena, "%zu bytes", payload->raw.len + metadata->raw.len));
    prepare_arg_literal(p, text);
    prepare_arg_number(p, create_value(values, "priority"));
    prepare_arg_text(p, create_value(values, "queue"));
    prepare_arg_raw(p, payload);
    prepare_arg_raw(p, metadata);
    put_int_or(p, create_value(values, "max_attempts"), opts->task.max_attempts);
    put_int_or(p, create_value(values, "max_crashes"), opts->task.max_crashes);
    prepare_arg_names(p, create_value(values, "roles"));
    put_create_extras(p, values);
    return 0;
}

void task_create_operation(const struct handler_context *ctx, struct arena *arena,
                           struct arg_list *keys, struct arg_list *args)
{
    (void)keys;
    task_operation_int(arena, args, ctx->opts->task.max_pending);
}

void task_lease_operation(const struct handler_context *ctx, struct arena *arena,
                          struct arg_list *keys, struct arg_list *args)
{
    (void)keys;
    task_operation_int(arena, args, ctx->opts->task.lease_ms);
}

void task_retention_operation(const struct handler_context *ctx, struct arena *arena,
                              struct arg_list *keys, struct arg_list *args)
{
    (void)keys;
    task_operation_int(arena, args, ctx->opts->task.keep_finished);
    task_operation_int(arena, args, ctx->opts->task.keep_finished_ms);
    task_operation_int(arena, args, ctx->opts->task.keep_finished_min_ms);
}

void task_complete_operation(const struct handler_context *ctx, struct arena *arena,
                             struct arg_list *keys, struct arg_list *args)
{
    task_operation_int(arena, args, ctx->opts->task.lease_ms);
    task_retention_operation(ctx, arena, keys, args);
    task_operation_assignment(ctx, arena, args);
}

void task_put_held(struct prepare *p)
{
    task_put_key(p, prepare_value(p, "id"));
    prepare_arg_text(p, prepare_value(p, "id"));
    prepare_arg_text(p, prepare_value(p, "lease_token"));
}

static void put_text_or(struct prepare *p, const struct field_value *v, const char *fallback)
{
    if (v && v->is_set)
        prepare_arg(p, v->str, v->len);
    else
        prepare_arg_str(p, fallback);
}

void task_put_claim_args(struct prepare *p, const struct task_claim_args *a)
{
    static const struct field_value absent = {.is_set = false};

    put_text_or(p, a->worker, "");
    put_text_or(p, a->incarnation, "");
    int64_t max = a->max_tasks && a->max_tasks->is_set ? a->max_tasks->num : 1;
    prepare_arg_int(p, max);
    prepare_arg_number(p, a->lease_ms ? a->lease_ms : &absent);
    prepare_arg_secret(p, 8);
    put_text_or(p, a->queue, "default");
    prepare_arg_names(p, a->roles ? a->roles : &absent);
    p->operations += (unsigned)max - 1;
}
