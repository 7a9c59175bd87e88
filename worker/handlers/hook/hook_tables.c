/*
 * hook_tables.c: see hook_tables.h.
 */
#include "common/compat.h"
#include "worker/handlers/hook/hook_tables.h"

void hook_audit_operation(const struct handler_context *ctx, struct arena *arena,
                          struct arg_list *keys, struct arg_list *args)
{
    const char *key = keys_make(arena, ctx->prefix, KEY_AUDIT);
    const char *cap = arena_int(arena, ctx->opts->limits.audit_entries);

    arg_list_add(arena, keys, key, strlen(key));
    arg_list_add(arena, args, cap, strlen(cap));
}
