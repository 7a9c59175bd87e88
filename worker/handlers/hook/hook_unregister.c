/*
 * hook_unregister.c: hook.unregister (lua/hook_unregister.lua).
 */
#include "common/compat.h"
#include "worker/handlers/hook/hook_tables.h"

static const struct field params[] = {
    FIELD_NAME("name", REQUIRED, "Name of the member."),
    FIELD_ENUM("type", REQUIRED, hook_events, "The event whose chain it leaves."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_BOOL("unregistered", REQUIRED, "true."),
    FIELD_INT("members", REQUIRED, 0, POLICY_MEMBERS_MAX, "Members that the chain still has."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const char *name = prepare_value(p, "name")->str, *type = prepare_value(p, "type")->str;

    prepare_key(p, keys_make(p->arena, p->ctx->prefix, KEY_HOOKS, type));
    prepare_arg_str(p, name);
    prepare_arg_str(p, type);
    prepare_arg_str(p, arena_printf(p->arena, "{\"name\":\"%s\",\"type\":\"%s\"}", name, type));
    policy_chain_changed(p->ctx->policy);
    return 0;
}

const struct handler handler_hook_unregister = {
    .method = METHOD_hook_unregister,
    .summary = "Take a rule file out of the chain of an event.",
    .params = params,
    .result = result,
    .script = SCRIPT_HOOK_UNREGISTER,
    .prepare = prepare,
    .operation = hook_audit_operation,
};
