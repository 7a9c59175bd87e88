/*
 * hook_pre_tool.c: hook.pre_tool (lua/hook_decide.lua). The decision is made here, before the commit, which makes it known and
 * writes the record.
 */
#include "common/compat.h"
#include "worker/handlers/hook/hook_decision.h"

static const struct field params[] = {
    FIELD_STR("tool", REQUIRED, 1, 256, "Name of the tool, as the agent calls it."),
    FIELD_OBJECT("params", DEFAULT({}), NULL, "Its input, as the agent would pass it."),
    FIELD_STR("event", DEFAULT("PreToolUse"), 1, 64, "What the agent calls this event; recorded."),
    HOOK_PLACE_FIELDS,
    FIELD_STR("use_id", OPTIONAL, 1, 256, "The agent's id of this call; recorded."),
    FIELD_END,
};

static const struct field result[] = {
    HOOK_DECISION_FIELDS,
    FIELD_OBJECT("modified", OPTIONAL, NULL, "The whole input, rewritten: to be used instead."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const struct field_value *tool = prepare_value(p, "tool"), *input = prepare_value(p, "params");
    const struct field_value *use_id = prepare_value(p, "use_id");
    struct hook_subject subject = {
        .call = {.event = RULES_PRE_TOOL, .tool = tool->str, .input = input->raw}};
    struct buf audit = BUF_INIT;

    subject.call.cwd = hook_path(p, "cwd");
    subject.call.home = hook_path(p, "home");
    buf_puts(&audit, "\"event\":");
    json_put_cstr(&audit, prepare_value(p, "event")->str);
    hook_put_text(&audit, "tool", tool->str);
    hook_put_text(&audit, "use_id", use_id->is_set ? use_id->str : NULL);
    subject.audit = hook_keep(p->arena, &audit);
    hook_decide(p, "hook.pre_tool", &subject);
    return 0;
}

const struct handler handler_hook_pre_tool = {
    .method = METHOD_hook_pre_tool,
    .summary = "Ask whether an agent may make a tool call, and with which input.",
    .params = params,
    .result = result,
    .script = SCRIPT_HOOK_DECIDE,
    .prepare = prepare,
    .operation = hook_audit_operation,
};
