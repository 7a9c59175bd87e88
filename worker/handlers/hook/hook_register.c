/*
 * hook_register.c: hook.register (lua/hook_register.lua). A member of a chain is a reference to a file in a folder that the
 * configuration names, never a path and never a command. It must be there and be good on this host; on others, it denies
 * until it is.
 */
#include "common/compat.h"
#include "worker/handlers/hook/hook_tables.h"

static const struct field params[] = {
    FIELD_NAME("name", REQUIRED, "Name of the member; one that there is, is replaced."),
    FIELD_ENUM("type", REQUIRED, hook_events, "The event whose chain it joins."),
    FIELD_INT("priority", DEFAULT(100), 0, 1000,
              "Higher is sooner; all come after the system's rules."),
    FIELD_STR("file", REQUIRED, 6, 128,
              "Name of a rule file (claudebench-rules(5)) in the folder hooks.chain_dir: letters, "
              "digits, _ . - and .yaml at the end."),
    FIELD_STR("scope", OPTIONAL, 1, 1024,
              "A folder, absolute: the member is about agents that work in it, and about those of "
              "which it is not known."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_NAME("name", REQUIRED, "The member."),
    FIELD_ENUM("type", REQUIRED, hook_events, "Its event."),
    FIELD_INT("priority", REQUIRED, 0, 1000, "Its priority."),
    FIELD_STR("file", REQUIRED, 6, 128, "Its file."),
    FIELD_STR("scope", OPTIONAL, 1, 1024, "Its folder."),
    FIELD_BOOL("registered", REQUIRED, "true."),
    FIELD_BOOL("replaced", REQUIRED, "There was another of this name."),
    FIELD_INT("members", REQUIRED, 1, POLICY_MEMBERS_MAX, "Members that the chain has now."),
    FIELD_END,
};

static bool is_file_name(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alnum && (i == 0 || !strchr("_.-", c)))
            return false;
    }
    return len > 5 && strcmp(name + len - 5, ".yaml") == 0;
}

/* The element in the chain; "name" first, so that the script finds it, and equal priorities are in the order of names. */
static char *element_json(struct prepare *p, const char *name, const char *file, const char *scope)
{
    struct buf out = BUF_INIT;

    buf_putc(&out, '{');
    hook_put_text(&out, "name", name);
    hook_put_text(&out, "file", file);
    hook_put_text(&out, "scope", scope);
    buf_putc(&out, '}');
    return hook_keep(p->arena, &out);
}

static int prepare(struct prepare *p)
{
    const char *name = prepare_value(p, "name")->str, *file = prepare_value(p, "file")->str;
    const char *type = prepare_value(p, "type")->str, *problem = NULL;
    const char *scope = hook_path(p, "scope");
    const char *priority = arena_int(p->arena, prepare_value(p, "priority")->num);

    if (!is_file_name(file))
        return prepare_refuse(p, "file", "the name of a .yaml file in hooks.chain_dir",
                              "something else");
    if (prepare_value(p, "scope")->is_set && !scope)
        return prepare_refuse(p, "scope", "an absolute path", "a relative one");
    if (!policy_try_file(p->ctx->policy, file, p->arena, &problem))
        return prepare_refuse(p, "file", "a rule file that can be used", problem);
    char *element = element_json(p, name, file, scope);
    const char *more = arena_printf(p->arena, "\"type\":\"%s\",\"priority\":%s", type, priority);
    prepare_key(p, keys_make(p->arena, p->ctx->prefix, KEY_HOOKS, type));
    prepare_arg_str(p, name);
    prepare_arg_str(p, type);
    prepare_arg_str(p, priority);
    prepare_arg_str(p, file);
    prepare_arg_str(p, element);
    prepare_arg_str(p, arena_printf(p->arena, "{%s,\"registered\":true,%.*s", more,
                                    (int)strlen(element) - 2, element + 1));
    prepare_arg_str(p, arena_printf(p->arena, "{%s,%s", more, element + 1));
    policy_chain_changed(p->ctx->policy);
    return 0;
}

const struct handler handler_hook_register = {
    .method = METHOD_hook_register,
    .summary = "Put a rule file into the chain of an event.",
    .params = params,
    .result = result,
    .script = SCRIPT_HOOK_REGISTER,
    .prepare = prepare,
    .operation = hook_audit_operation,
};
