/*
 * system_register.c: system.register (lua/system_register.lua).
 */
#include "common/compat.h"
#include "common/rnd.h"
#include "worker/handlers/system/system_tables.h"

/* Up to 10000 instances are known (lua/system_register.lua): together at most 40 MiB of it. */
enum { METADATA_BYTES = 4096 };

static const struct field queue_element[] = {FIELD_NAME("", REQUIRED, "A queue."), FIELD_END};

static const struct field params[] = {
    FIELD_ID("id", REQUIRED, "The instance's name."),
    FIELD_LIST("roles", UNIQUE_DEFAULT([]), 0, 16, system_role_element, "What it can do."),
    FIELD_LIST("queues", UNIQUE_DEFAULT(["default"]), 1, 8, queue_element,
               "The queues that it serves; tasks of others are not pushed to it."),
    FIELD_INT("capacity", DEFAULT(1), 0, 10000, "How many tasks it takes at once."),
    FIELD_INT("lease_ms", OPTIONAL, 500, 86400000,
              "How long it may be silent before its tasks move (default: cluster.agent_lease_ms)."),
    {.name = "metadata",
     .type = FIELD_TYPE_OBJECT,
     .fallback = "{}",
     .max = METADATA_BYTES,
     .text = "Anything about it."},
    FIELD_BOOL("takeover", DEFAULT(true), "False: refuse when the id is registered and alive."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_BOOL("registered", REQUIRED, "true."),
    FIELD_TOKEN("incarnation", REQUIRED, "This registration; later calls carry it."),
    FIELD_ID("leader", NULLABLE, "The leading instance, null when there is none."),
    FIELD_END,
};

/* Our own literal: the caller's may have any amount of white space. */
static void put_roles(struct prepare *p, const struct field_value *roles)
{
    struct buf out = BUF_INIT;

    buf_putc(&out, '[');
    for (size_t i = 0; i < roles->len; i++) {
        json_put_comma(&out);
        json_put_string(&out, roles->sub[i].str, roles->sub[i].len);
    }
    buf_putc(&out, ']');
    prepare_arg(p, arena_strndup(p->arena, out.data, out.len), out.len);
    buf_done(&out);
}

static int prepare(struct prepare *p)
{
    char *incarnation = arena_alloc(p->arena, 25);

    rnd_token(incarnation, 24);
    prepare_arg_text(p, prepare_value(p, "id"));
    put_roles(p, prepare_value(p, "roles"));
    prepare_arg_number(p, prepare_value(p, "capacity"));
    prepare_arg_number(p, prepare_value(p, "lease_ms"));
    prepare_arg_raw(p, prepare_value(p, "metadata"));
    prepare_arg_str(p, prepare_value(p, "takeover")->num ? "1" : "0");
    prepare_arg_str(p, incarnation);
    prepare_arg_names(p, prepare_value(p, "queues"));
    prepare_arg_names(p, prepare_value(p, "roles"));
    return 0;
}

static void operation(const struct handler_context *ctx, struct arena *arena, struct arg_list *keys,
                      struct arg_list *args)
{
    (void)keys;
    arg_list_add_int(arena, args, ctx->opts->cluster.agent_lease_ms);
}

const struct handler handler_system_register = {
    .method = METHOD_system_register,
    .summary = "Make an instance known, as a new incarnation.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_REGISTER,
    .prepare = prepare,
    .operation = operation,
};
