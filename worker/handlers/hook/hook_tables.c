/*
 * hook_tables.c: see hook_tables.h.
 */
#include "common/compat.h"
#include "worker/handlers/hook/hook_tables.h"

#include <sha2.h>

const char *const hook_decisions[] = {"none", "allow", "modify", "ask", "deny", NULL};
const char *const hook_severities[] = {"low", "medium", "high", "critical", NULL};
const char *const hook_events[] = {"pre_tool", "post_tool", "user_prompt", NULL};

static const struct field note_fields[] = {
    FIELD_STR("rule", REQUIRED, 1, 0, "The rule: group/name."),
    FIELD_STR("message", REQUIRED, 0, 0, "What it says."),
    FIELD_END,
};
const struct field hook_note[] = {
    FIELD_OBJECT("", REQUIRED, note_fields, "A warning, or what was rewritten."),
    FIELD_END,
};

const char *hook_path(const struct prepare *p, const char *name)
{
    const struct field_value *v = prepare_value(p, name);

    return v->is_set && v->str[0] == '/' ? v->str : NULL;
}

void hook_audit_operation(const struct handler_context *ctx, struct arena *arena,
                          struct arg_list *keys, struct arg_list *args)
{
    const char *key = keys_make(arena, ctx->prefix, KEY_AUDIT);

    arg_list_add_str(arena, keys, key);
    arg_list_add_int(arena, args, ctx->opts->limits.audit_entries);
}

void hook_put_text(struct buf *out, const char *key, const char *text)
{
    if (text)
        json_put_text(out, key, text);
}

void hook_put_hash(struct buf *out, const char *key, struct json_span value)
{
    char hex[SHA256_DIGEST_STRING_LENGTH];

    SHA256Data((const uint8_t *)value.at, value.len, hex);
    hook_put_text(out, key, hex);
}

char *hook_keep(struct arena *arena, struct buf *text)
{
    char *copy = arena_strndup(arena, buf_peek(text), text->len);

    buf_done(text);
    return copy;
}
