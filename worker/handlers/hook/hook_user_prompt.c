/*
 * hook_user_prompt.c: hook.user_prompt (lua/hook_decide.lua). A prompt cannot be rewritten: what rules have to say beside a
 * refusal is text that the agent gets with it.
 */
#include "common/compat.h"
#include "worker/handlers/hook/hook_decision.h"

static const struct field params[] = {
    FIELD_STR("prompt", REQUIRED, 0, 0, "What the user has written."),
    FIELD_OBJECT("context", OPTIONAL, NULL, "What else is known of it; rules may look at it."),
    HOOK_PLACE_FIELDS,
    FIELD_END,
};

static const struct field result[] = {
    HOOK_DECISION_FIELDS,
    FIELD_STR("context", OPTIONAL, 1, 0, "Text to give the agent together with the prompt."),
    FIELD_END,
};

/* {"prompt":…[,"context":…]} */
static struct json_span rules_input(struct prepare *p)
{
    const struct field_value *context = prepare_value(p, "context");
    const struct field_value *prompt = prepare_value(p, "prompt");
    struct buf json = BUF_INIT;

    buf_puts(&json, "{\"prompt\":");
    buf_append(&json, prompt->raw.at, prompt->raw.len);
    if (context->is_set) {
        json_put_key(&json, "context");
        buf_append(&json, context->raw.at, context->raw.len);
    }
    buf_putc(&json, '}');
    size_t len = json.len;
    return (struct json_span){hook_keep(p->arena, &json), len};
}

static int prepare(struct prepare *p)
{
    struct hook_subject subject = {
        .call = {.event = RULES_USER_PROMPT, .tool = "", .input = rules_input(p)},
        .audit = arena_printf(p->arena, "\"event\":\"UserPromptSubmit\",\"bytes\":%zu",
                              prepare_value(p, "prompt")->len)};

    subject.call.cwd = hook_path(p, "cwd");
    subject.call.home = hook_path(p, "home");
    hook_decide(p, "hook.user_prompt", &subject);
    return 0;
}

const struct handler handler_hook_user_prompt = {
    .method = METHOD_hook_user_prompt,
    .summary = "Ask whether a user's prompt may go to the agent, and what to add to it.",
    .params = params,
    .result = result,
    .script = SCRIPT_HOOK_DECIDE,
    .prepare = prepare,
    .operation = hook_audit_operation,
};
