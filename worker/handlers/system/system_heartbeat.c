/*
 * system_heartbeat.c: system.heartbeat (lua/system_heartbeat.lua).
 */
#include "common/compat.h"
#include "worker/handler.h"

enum { SEEN_BYTES = 2048, SEEN_MAX = 50 };

static const char *const healths[] = {"healthy", "degraded", "unhealthy", NULL};
static const char *const reasons[] = {"cancelled", "lease_lost", NULL};

static const struct field lease_fields[] = {
    FIELD_TASK_ID("id", REQUIRED, "A task that the instance holds."),
    FIELD_TOKEN("lease_token", REQUIRED, "The token of its claim."),
    FIELD_END,
};
static const struct field lease_element[] = {
    FIELD_OBJECT("", REQUIRED, lease_fields, "A lease."),
    FIELD_END,
};

static const struct field params[] = {
    FIELD_ID("instanceId", REQUIRED, "The instance."),
    FIELD_TOKEN("incarnation", REQUIRED, "From system.register."),
    FIELD_ENUM("health", DEFAULT("healthy"), healths, "How it feels."),
    FIELD_NUM("load", DEFAULT(0), 0, 1000000, "How much it does, in its own measure."),
    FIELD_LIST("renew", DEFAULT([]), 0, 100, lease_element, "Leases to renew with this beat."),
    {.name = "seen",
     .type = FIELD_TYPE_OBJECT,
     .max = SEEN_BYTES,
     .text = "What it has seen of others by itself: for each instance, at most 50, how many ms ago "
             "it heard "
             "of it last. Shown by system.get_state."},
    FIELD_END,
};

static const struct field cancel_fields[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_TOKEN("lease_token", REQUIRED, "The token that was given."),
    FIELD_ENUM("reason", REQUIRED, reasons, "Why its work is to end."),
    FIELD_END,
};
static const struct field cancel_element[] = {
    FIELD_OBJECT("", REQUIRED, cancel_fields, "A lease that is not the instance's any more."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_BOOL("alive", REQUIRED,
               "False: the instance is unknown or was given up; register again."),
    FIELD_ID("leader", NULLABLE, "The leading instance, null when there is none."),
    FIELD_LIST("cancel", REQUIRED, 0, 100, cancel_element, "Work to end without completing it."),
    FIELD_END,
};

/* {"<instance>": ms, …} */
static int check_seen(struct prepare *p, const struct field_value *seen)
{
    struct json_iter it;
    struct json_item item;
    int64_t ms;
    size_t n = 0;

    if (!seen->is_set)
        return 0;
    json_iter_init(&it, seen->raw);
    while (json_iter_next(&it, &item)) {
        size_t len = json_decoded_len(item.key);
        if (++n > SEEN_MAX)
            return prepare_refuse(p, "seen", "at most 50 instances", "more");
        if (len < 1 || len > 128)
            return prepare_refuse(p, "seen", "ids of 1 to 128 bytes", "another name");
        if (json_decode_int(item.value, &ms) != 0 || ms < 0)
            return prepare_refuse(p, "seen", "whole milliseconds for each instance",
                                  "another value");
    }
    return 0;
}

static int prepare(struct prepare *p)
{
    if (check_seen(p, prepare_value(p, "seen")) != 0)
        return -1;
    const struct field_value *renew = prepare_value(p, "renew");

    prepare_arg_text(p, prepare_value(p, "instanceId"));
    prepare_arg_text(p, prepare_value(p, "incarnation"));
    prepare_arg_text(p, prepare_value(p, "health"));
    prepare_arg_real(p, prepare_value(p, "load"));
    prepare_arg_int(p, (int64_t)renew->len);
    for (size_t i = 0; i < renew->len; i++) {
        const struct field_value *lease = renew->sub[i].sub;
        prepare_arg_text(p, &lease[fields_index(lease_fields, "id")]);
        prepare_arg_text(p, &lease[fields_index(lease_fields, "lease_token")]);
    }
    prepare_arg_raw(p, prepare_value(p, "seen"));
    p->operations += (unsigned)renew->len;
    return 0;
}

static void operation(const struct handler_context *ctx, struct arena *arena, struct arg_list *keys,
                      struct arg_list *args)
{
    (void)keys;
    arg_list_add_int(arena, args, ctx->opts->task.lease_ms);
}

const struct handler handler_system_heartbeat = {
    .method = METHOD_system_heartbeat,
    .summary = "Say that an instance lives, and renew its leases.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_HEARTBEAT,
    .prepare = prepare,
    .operation = operation,
};
