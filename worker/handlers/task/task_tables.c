/*
 * task_tables.c: see task_tables.h.
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

const char *const task_states[] = {"blocked",   "delayed", "pending",   "in_progress",
                                   "completed", "failed",  "cancelled", NULL};
const char *const task_dead_reasons[] = {"attempts", "crashes", "no_retry", "dependency", NULL};
static const char *const on_dependency_failure[] = {"fail", "ignore", "block", NULL};
static const char *const attempt_outcomes[] = {"failed",    "crashed",   "lost",
                                               "cancelled", "completed", NULL};

const struct field task_role_element[] = {FIELD_NAME("", REQUIRED, "A role."), FIELD_END};

static const struct field progress_fields[] = {
    FIELD_NUM("percent", REQUIRED, 0, 100, "How much is done."),
    FIELD_STR("note", OPTIONAL, 1, 500, "What is being done."),
    FIELD_TIME("at", REQUIRED, "When the holder said so."),
    FIELD_END,
};

static const struct field attempt_fields[] = {
    FIELD_INT("attempt", REQUIRED, 0, INT32_MAX, "Its number."),
    FIELD_ID("worker", REQUIRED, "Who held the task."),
    FIELD_TIME("startedAt", REQUIRED, "When it was claimed."),
    FIELD_TIME("endedAt", REQUIRED, "When the attempt ended."),
    FIELD_ENUM("outcome", REQUIRED, attempt_outcomes,
               "lost: the lease ended, or its holder was gone."),
    FIELD_ANY("error", OPTIONAL, "Why."),
    FIELD_NAME("signal", OPTIONAL, "What killed the worker of the task, if that is known."),
    FIELD_END,
};
static const struct field attempt_element[] = {
    FIELD_OBJECT("", REQUIRED, attempt_fields, "An attempt."),
    FIELD_END,
};
static const struct field task_id_element[] = {
    FIELD_TASK_ID("", REQUIRED, "A task."),
    FIELD_END,
};
static const struct field index_element[] = {
    FIELD_INT("", REQUIRED, 0, 99, "The number of an earlier task in `tasks`, from 0."),
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
        FIELD_TIME("next_run_at", OPTIONAL,                                                        \
                   "When a delayed task is pending; a blocked one not before."),                   \
        FIELD_TIME("completedAt", OPTIONAL, "When it was completed."),                             \
        FIELD_TIME("endedAt", OPTIONAL, "When it failed or was cancelled."),                       \
        FIELD_BOOL("dead", OPTIONAL, "True when it failed for good."),                             \
        FIELD_ENUM("dead_reason", OPTIONAL, task_dead_reasons,                                     \
                   "Why: no attempts left, too many crashes, the worker said so, or a task that "  \
                   "it waited for."),                                                              \
        FIELD_LIST("waiting_for", OPTIONAL, 1, 128, task_id_element,                               \
                   "Tasks that a blocked one still waits for."),                                   \
        FIELD_ID("unique_key", OPTIONAL, "No other live task of its queue has it."),               \
        FIELD_NAME("partition", OPTIONAL, "What happens to it is told there, too."),               \
        FIELD_OBJECT("metadata", OPTIONAL, NULL, "What its creator said about it."),               \
        FIELD_ANY("error", OPTIONAL, "Why the last attempt failed."),                              \
        FIELD_INT("crashes", OPTIONAL, 0, INT32_MAX, "How often its worker died, or was lost."),   \
        FIELD_OBJECT("progress", OPTIONAL, progress_fields, "How far its holder is."),             \
        FIELD_ID("schedule", OPTIONAL, "The schedule that it came of."),                           \
        FIELD_TIME("scheduledFor", OPTIONAL, "When that was due."),                                \
        FIELD_ANY("payload", OPTIONAL, "What its creator gave it to work on."),                    \
        FIELD_ANY("result", OPTIONAL, "What its holder completed it with."),                       \
        FIELD_LIST("attempts", OPTIONAL, 1, 11, attempt_element,                                   \
                   "How its last attempts ended, in order; only shown by task.get and "            \
                   "task.update.")

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

const struct field task_queue_params[] = {
    FIELD_NAME("queue", OPTIONAL, "The queue (default: all queues, a switch of its own)."),
    FIELD_END,
};

const struct field task_queue_result[] = {
    FIELD_NAME("queue", OPTIONAL, "The queue; absent: all."),
    FIELD_BOOL("paused", REQUIRED,
               "Whether it is paused now; a queue may be because all queues are."),
    FIELD_END,
};

int task_queue_prepare(struct prepare *p)
{
    const struct field_value *queue = prepare_value(p, "queue");

    if (queue->is_set)
        prepare_arg_text(p, queue);
    else
        prepare_arg_str(p, "*");
    return 0;
}

const struct field task_error_fields[] = {
    FIELD_INT("code", REQUIRED, -33000, -32000, "As the code of an error reply."),
    FIELD_STR("message", REQUIRED, 1, 1000, "For people."),
    FIELD_OBJECT("data", REQUIRED, NULL, "Details, as in an error reply."),
    FIELD_END,
};

#define TASK_CORE_FIELDS                                                                           \
    FIELD_STR("text", REQUIRED, 1, 500, "What is to be done."),                                    \
        FIELD_INT("priority", DEFAULT(50), 0, 100, "Higher is sooner."),                           \
        FIELD_OBJECT("metadata", OPTIONAL, NULL, "Anything about the task; kept as it is."),       \
        FIELD_ANY("payload", OPTIONAL, "Anything to work on, any JSON; kept byte by byte."),       \
        FIELD_ID("unique_key", OPTIONAL,                                                           \
                 "While a task of the queue with this key has not ended, that one is returned."),  \
        FIELD_NAME("partition", OPTIONAL,                                                          \
                   "What happens to the task is told in cb:partition:<name>, too; not detected, "  \
                   "nor recovery."),                                                               \
        FIELD_INT("max_attempts", OPTIONAL, 1, 1000,                                               \
                  "Attempts that it may use (default: task.max_attempts)."),                       \
        FIELD_INT("max_crashes", OPTIONAL, 1, 1000,                                                \
                  "Workers that it may lose (default: task.max_crashes)."),                        \
        FIELD_INT("backoff_ms", OPTIONAL, 0, 86400000,                                             \
                  "Delay after the first failure; doubles each time (default: task.backoff_ms)."), \
        FIELD_INT("backoff_max_ms", OPTIONAL, 0, 604800000,                                        \
                  "Longest delay after a failure (default: task.backoff_max_ms)."),                \
        FIELD_INT("lease_ms", OPTIONAL, 100, 86400000,                                             \
                  "How long a claim holds without a renewal (default: task.lease_ms)."),           \
        FIELD_NAME("queue", DEFAULT("default"), "The queue to put it on."),                        \
        FIELD_LIST("roles", UNIQUE, 1, 4, task_role_element,                                       \
                   "Only workers with one of these roles may claim it.")

/* What it waits for. */
#define TASK_WAIT_FIELDS                                                                           \
    FIELD_TIME("run_at", OPTIONAL, "Not before this time: until then it is delayed."),             \
        FIELD_INT("delay_ms", OPTIONAL, 0, TASK_DELAY_MAX_MS,                                      \
                  "Not before so long from now; not with run_at."),                                \
        FIELD_LIST("after", UNIQUE, 0, 64, task_id_element,                                        \
                   "Tasks that must end first, of any queue; until then it is blocked."),          \
        FIELD_ENUM(                                                                                \
            "on_dependency_failure", DEFAULT("fail"), on_dependency_failure,                       \
            "When one of them fails for good, is cancelled or deleted: fail, too; ignore it; "     \
            "or block until it is retried and completed, failing when it is gone.")

const struct field task_template_params[] = {TASK_CORE_FIELDS, FIELD_END};
const struct field task_create_params[] = {TASK_CORE_FIELDS, TASK_WAIT_FIELDS, FIELD_END};
const struct field task_create_batch_params[] = {
    TASK_CORE_FIELDS,
    TASK_WAIT_FIELDS,
    FIELD_LIST("after_index", UNIQUE, 0, 64, index_element,
               "As `after`, of earlier tasks of this batch."),
    FIELD_END,
};

void task_operation_assignment(const struct handler_context *ctx, struct arena *arena,
                               struct arg_list *args)
{
    const char *mode = options_assignment_name(ctx->opts->task.assignment);
    arg_list_add_str(arena, args, mode);
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

static void put_extra_string(struct buf *doc, const char *name, const char *s, size_t len)
{
    extra_key(doc, name);
    json_put_string(doc, s, len);
}

static void put_extra_int(struct buf *doc, const char *name, const struct field_value *v)
{
    if (!v->is_set)
        return;
    extra_key(doc, name);
    buf_printf(doc, "%" PRId64, v->num);
}

/* A list of ids or of numbers. */
static void put_extra_list(struct buf *doc, const char *name, const struct field_value *v)
{
    if (!v->is_set || v->len == 0)
        return;
    extra_key(doc, name);
    buf_putc(doc, '[');
    for (size_t i = 0; i < v->len; i++) {
        json_put_comma(doc);
        if (v->sub[i].str)
            json_put_string(doc, v->sub[i].str, v->sub[i].len);
        else
            buf_printf(doc, "%" PRId64, v->sub[i].num);
    }
    buf_putc(doc, ']');
}

/* "base" or "base maximum": they are kept in one field of the task. */
static void put_extra_backoff(struct prepare *p, struct buf *doc, const struct field_value *values)
{
    const struct field_value *base = create_value(values, "backoff_ms");
    const struct field_value *most = create_value(values, "backoff_max_ms");
    int64_t base_ms = base->is_set ? base->num : p->ctx->opts->task.backoff_ms;

    if (!most->is_set) {
        put_extra_int(doc, "backoff_ms", base);
        return;
    }
    const char *both = arena_printf(p->arena, "%" PRId64 " %" PRId64, base_ms, most->num);
    put_extra_string(doc, "backoff_ms", both, strlen(both));
}

static void put_extra_waits(struct buf *doc, const struct field_value *values)
{
    const struct field_value *policy = create_value(values, "on_dependency_failure");

    put_extra_int(doc, "run_at", create_value(values, "run_at"));
    put_extra_int(doc, "delay_ms", create_value(values, "delay_ms"));
    put_extra_list(doc, "after", create_value(values, "after"));
    if (!policy->is_default && strcmp(policy->str, "fail") != 0)
        put_extra_string(doc, "on_failure", policy->str, policy->len);
}

/* What few tasks have travels in one argument, so that the others do not pay for it: a document of ours. */
static void put_create_extras(struct prepare *p, const struct field *table,
                              const struct field_value *values)
{
    struct buf doc = BUF_INIT;
    const struct field_value *unique = create_value(values, "unique_key");
    const struct field_value *partition = create_value(values, "partition");

    put_extra_backoff(p, &doc, values);
    put_extra_int(&doc, "lease_ms", create_value(values, "lease_ms"));
    if (table != task_template_params)
        put_extra_waits(&doc, values);
    if (table == task_create_batch_params)
        put_extra_list(&doc, "after_index", &values[fields_index(table, "after_index")]);
    if (unique->is_set)
        put_extra_string(&doc, "unique_key", unique->str, unique->len);
    if (partition->is_set)
        put_extra_string(&doc, "partition", partition->str, partition->len);
    if (doc.len == 0) {
        prepare_arg(p, "", 0);
        return;
    }
    buf_putc(&doc, '}');
    prepare_arg(p, arena_strndup(p->arena, buf_peek(&doc), doc.len), doc.len);
    buf_done(&doc);
}

/* Keys of this family that say something else (common/keys.def). */
static bool is_own_partition_name(const struct field_value *v)
{
    return v->is_set && (strcmp(v->str, "detected") == 0 || strcmp(v->str, "recovery") == 0);
}

int task_put_create_args(struct prepare *p, const struct field *table,
                         const struct field_value *values, const char *path)
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
    if (table != task_template_params && create_value(values, "run_at")->is_set &&
        create_value(values, "delay_ms")->is_set)
        return prepare_refuse(p, arena_printf(p->arena, "%sdelay_ms", path),
                              "one of `run_at` and `delay_ms`", "both");
    if (is_own_partition_name(create_value(values, "partition")))
        return prepare_refuse(p, arena_printf(p->arena, "%spartition", path),
                              "a name that is not one of ours", "one of ours");
    prepare_arg_literal(p, text);
    prepare_arg_number(p, create_value(values, "priority"));
    prepare_arg_text(p, create_value(values, "queue"));
    prepare_arg_raw(p, payload);
    prepare_arg_raw(p, metadata);
    put_int_or(p, create_value(values, "max_attempts"), opts->task.max_attempts);
    put_int_or(p, create_value(values, "max_crashes"), opts->task.max_crashes);
    prepare_arg_names(p, create_value(values, "roles"));
    put_create_extras(p, table, values);
    return 0;
}

void task_create_operation(const struct handler_context *ctx, struct arena *arena,
                           struct arg_list *keys, struct arg_list *args)
{
    (void)keys;
    arg_list_add_int(arena, args, ctx->opts->task.max_pending);
}

void task_lease_operation(const struct handler_context *ctx, struct arena *arena,
                          struct arg_list *keys, struct arg_list *args)
{
    (void)keys;
    arg_list_add_int(arena, args, ctx->opts->task.lease_ms);
}

void task_retention_operation(const struct handler_context *ctx, struct arena *arena,
                              struct arg_list *keys, struct arg_list *args)
{
    (void)keys;
    arg_list_add_int(arena, args, ctx->opts->task.keep_finished);
    arg_list_add_int(arena, args, ctx->opts->task.keep_finished_ms);
    arg_list_add_int(arena, args, ctx->opts->task.keep_finished_min_ms);
    arg_list_add_int(arena, args, ctx->opts->task.keep_finished_bytes);
}

void task_complete_operation(const struct handler_context *ctx, struct arena *arena,
                             struct arg_list *keys, struct arg_list *args)
{
    arg_list_add_int(arena, args, ctx->opts->task.lease_ms);
    task_retention_operation(ctx, arena, keys, args);
    arg_list_add_int(arena, args, ctx->opts->task.deny_ms);
    task_operation_assignment(ctx, arena, args);
}

void task_put_held(struct prepare *p)
{
    task_put_key(p, prepare_value(p, "id"));
    prepare_arg_text(p, prepare_value(p, "id"));
    prepare_arg_text(p, prepare_value(p, "lease_token"));
}

void task_put_versioned(struct prepare *p)
{
    task_put_key(p, prepare_value(p, "id"));
    prepare_arg_text(p, prepare_value(p, "id"));
    prepare_arg_number(p, prepare_value(p, "if_version"));
}

static void add_text(struct buf *out, const struct field_value *v)
{
    if (v->is_set)
        buf_append(out, v->str, v->len);
}

void task_put_claim_args(struct prepare *p, const struct task_claim_args *a)
{
    struct buf claimant = BUF_INIT;

    buf_printf(&claimant, "%" PRId64 "\n", a->max_tasks->num);
    if (a->lease_ms->is_set)
        buf_printf(&claimant, "%" PRId64, a->lease_ms->num);
    buf_putc(&claimant, '\n');
    add_text(&claimant, a->queue);
    buf_putc(&claimant, '\n');
    add_text(&claimant, a->incarnation);
    buf_putc(&claimant, '\n');
    for (size_t i = 0; a->roles->is_set && i < a->roles->len; i++) {
        if (i > 0)
            buf_putc(&claimant, ' ');
        add_text(&claimant, &a->roles->sub[i]);
    }
    buf_putc(&claimant, '\n');
    add_text(&claimant, a->worker);
    prepare_arg(p, arena_strndup(p->arena, claimant.data, claimant.len), claimant.len);
    buf_done(&claimant);
    prepare_arg_secret(p);
    p->operations += (unsigned)a->max_tasks->num - 1;
}

static bool is_number(const char *s, size_t len)
{
    char text[33], *end;

    if (len == 0 || len >= sizeof text)
        return false;
    memcpy(text, s, len);
    text[len] = '\0';
    strtod(text, &end);
    return end != text && *end == '\0';
}

/* "<stage> <set> <score> <task id>": a digit, names, a number, an id. */
bool task_is_cursor(const char *s, char last_stage)
{
    static const char names[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-/";
    if (s[0] < '1' || s[0] > last_stage || s[1] != ' ')
        return false;
    s += 2;
    size_t n = strspn(s, names);
    if (n == 0 || s[n] != ' ' || s[0] == '/')
        return false;
    s += n + 1;
    n = strspn(s, "0123456789.e+-");
    if (s[n] != ' ' || !is_number(s, n))
        return false;
    s += n + 1;
    return strncmp(s, "t-", 2) == 0 && strspn(s + 2, "0123456789") == strlen(s + 2) && s[2];
}
