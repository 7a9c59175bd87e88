/*
 * hook_list.c: hook.list: what this worker decides by, looked at anew. Committed by lua/answer.lua.
 */
#include "common/compat.h"
#include "worker/handlers/hook/hook_tables.h"

static const enum rules_event events[POLICY_EVENTS] = {RULES_PRE_TOOL, RULES_POST_TOOL,
                                                       RULES_USER_PROMPT};

static const struct field params[] = {
    FIELD_ENUM("type", OPTIONAL, hook_events, "Only the chain of this event."),
    FIELD_END,
};

static const struct field system_fields[] = {
    FIELD_STR("dir", REQUIRED, 1, 4096, "The folder, hooks.rules_dir."),
    FIELD_INT("rules", REQUIRED, 0, RULES_MAX, "Rules in it."),
    FIELD_STR("problem", OPTIONAL, 1, 0, "Why they cannot be used: calls are refused."),
    FIELD_END,
};
static const struct field member_fields[] = {
    FIELD_NAME("name", REQUIRED, "The member."),
    FIELD_ENUM("type", REQUIRED, hook_events, "Its event."),
    FIELD_INT("priority", REQUIRED, 0, 1000, "Higher is sooner."),
    FIELD_STR("file", REQUIRED, 1, 128, "Its file in hooks.chain_dir."),
    FIELD_STR("scope", OPTIONAL, 1, 1024, "The folder that it is about."),
    FIELD_INT("rules", REQUIRED, 0, RULES_MAX, "Rules in it."),
    FIELD_STR("problem", OPTIONAL, 1, 0, "Why it cannot be used on this host: calls are refused."),
    FIELD_END,
};
static const struct field member_element[] = {
    FIELD_OBJECT("", REQUIRED, member_fields, "A member."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_OBJECT("system", REQUIRED, system_fields, "The rules of the system, which come first."),
    FIELD_LIST("members", REQUIRED, 0, POLICY_EVENTS *POLICY_MEMBERS_MAX, member_element,
               "The chains, each in its order."),
    FIELD_STR("rules", REQUIRED, 0, 64, "Version of all of them: SHA-256."),
    FIELD_END,
};

static void put_member(struct buf *out, const char *type, const struct policy_member *m)
{
    json_put_comma(out);
    buf_putc(out, '{');
    hook_put_text(out, "name", m->name);
    hook_put_text(out, "type", type);
    buf_printf(out, ",\"priority\":%" PRId64 ",\"rules\":%zu", m->priority, m->rules);
    hook_put_text(out, "file", m->file);
    hook_put_text(out, "scope", m->scope);
    hook_put_text(out, "problem", m->problem);
    buf_putc(out, '}');
}

static int prepare(struct prepare *p)
{
    const struct field_value *type = prepare_value(p, "type");
    struct policy *policy = p->ctx->policy;
    struct policy_member m;
    struct buf out = BUF_INIT;

    policy_chain_changed(policy);
    policy_look(policy, true);
    buf_puts(&out, "{\"system\":{");
    hook_put_text(&out, "dir", p->ctx->opts->hooks.rules_dir);
    buf_printf(&out, ",\"rules\":%zu", policy_rules(policy));
    hook_put_text(&out, "problem", policy_problem(policy));
    buf_puts(&out, "},\"members\":[");
    for (unsigned e = 0; e < POLICY_EVENTS; e++) {
        if (type->is_set && strcmp(type->str, hook_events[e]) != 0)
            continue;
        for (size_t i = 0; policy_member(policy, events[e], i, &m); i++)
            put_member(&out, hook_events[e], &m);
    }
    buf_putc(&out, ']');
    hook_put_text(&out, "rules", policy_version(policy));
    buf_putc(&out, '}');
    prepare_arg_str(p, hook_keep(p->arena, &out));
    return 0;
}

const struct handler handler_hook_list = {
    .method = METHOD_hook_list,
    .summary = "List the rule sets that tool calls and prompts are decided by.",
    .params = params,
    .result = result,
    .script = SCRIPT_ANSWER,
    .prepare = prepare,
};
