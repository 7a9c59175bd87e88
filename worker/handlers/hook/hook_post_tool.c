/*
 * hook_post_tool.c: hook.post_tool (lua/hook_post_tool.lua). The call is over: rules can only say something about it.
 */
#include "common/compat.h"
#include "worker/handlers/hook/hook_decision.h"

static const char *const classes[] = {"ok", "error", "interrupted", "unknown", NULL};
enum class { CLASS_OK, CLASS_ERROR, CLASS_INTERRUPTED, CLASS_UNKNOWN };

static const struct field params[] = {
    FIELD_STR("tool", REQUIRED, 1, 256, "Name of the tool, as the agent calls it."),
    FIELD_OBJECT("params", DEFAULT({}), NULL, "Its input."),
    FIELD_ANY("result", OPTIONAL, "What it gave."),
    FIELD_STR("event", DEFAULT("PostToolUse"), 1, 64, "What the agent calls this event; recorded."),
    HOOK_PLACE_FIELDS,
    FIELD_STR("use_id", OPTIONAL, 1, 256, "The agent's id of this call; recorded."),
    FIELD_BOOL("is_error", OPTIONAL, "It failed. Without this the result is looked at."),
    FIELD_INT("duration_ms", OPTIONAL, 0, 604800000, "How long it took; recorded."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_BOOL("processed", REQUIRED, "true."),
    FIELD_ENUM("result_class", REQUIRED, classes, "What became of the call."),
    FIELD_LIST("notes", REQUIRED, 0, POLICY_NOTES_MAX, hook_note, "What rules say about it."),
    FIELD_INT("failures", REQUIRED, 0, INT64_MAX,
              "How often this tool has failed in a row in this session, this call included."),
    FIELD_BOOL("alert", REQUIRED,
               "It has failed hooks.alert_after times, or a multiple of that: event hook.alert."),
    FIELD_STR("context", OPTIONAL, 1, 0, "The same in words for the agent."),
    FIELD_END,
};

static bool is_true(struct json_span object, const char *name)
{
    struct json_item item;

    return json_find(object, name, &item) && item.type == JSON_BOOL && item.value.len == 4;
}

/* A number other than 0. */
static bool is_bad_exit(struct json_span object, const char *name)
{
    struct json_item item;
    int64_t code;

    return json_find(object, name, &item) && item.type == JSON_NUMBER &&
           json_decode_int(item.value, &code) == 0 && code != 0;
}

static bool is_failure(struct json_span object)
{
    struct json_item item;

    return is_true(object, "is_error") || is_true(object, "isError") ||
           is_bad_exit(object, "exit_code") || is_bad_exit(object, "exitCode") ||
           (json_find(object, "success", &item) && item.type == JSON_BOOL && item.value.len == 5) ||
           (json_find(object, "error", &item) && item.type != JSON_NULL && item.value.len > 2);
}

static enum class classify(const struct prepare *p) {
    const struct field_value *is_error = prepare_value(p, "is_error");
    const struct field_value *value = prepare_value(p, "result");
    bool is_object = value->is_set && json_type_of(value->raw) == JSON_OBJECT;

    if (is_object && (is_true(value->raw, "interrupted") ||
                      is_true(value->raw, "is_interrupt"))) return CLASS_INTERRUPTED;
    if (is_error->is_set) return is_error->num ? CLASS_ERROR : CLASS_OK;
    if (strcmp(prepare_value(p, "event")->str, "PostToolUseFailure") == 0) return CLASS_ERROR;
    if (!value->is_set || json_type_of(value->raw) == JSON_NULL) return CLASS_UNKNOWN;
    return is_object && is_failure(value->raw) ? CLASS_ERROR : CLASS_OK;
}

/* {"params":…[,"result":…]} */
static struct json_span rules_input(const struct prepare *p)
{
    const struct field_value *value = prepare_value(p, "result");
    struct json_span input = prepare_value(p, "params")->raw;
    struct buf json = BUF_INIT;

    buf_puts(&json, "{\"params\":");
    buf_append(&json, input.at, input.len);
    if (value->is_set) {
        json_put_key(&json, "result");
        buf_append(&json, value->raw.at, value->raw.len);
    }
    buf_putc(&json, '}');
    size_t len = json.len;
    return (struct json_span){hook_keep(p->arena, &json), len};
}

/* It cannot be undone: a rule that refuses says why, like one that warns. */
static void put_note(struct buf *notes, struct buf *text, const char *rule, const char *message)
{
    json_put_comma(notes);
    buf_putc(notes, '{');
    hook_put_text(notes, "rule", rule);
    hook_put_text(notes, "message", message);
    buf_putc(notes, '}');
    buf_printf(text, "%s%s", text->len ? "\n" : "", message);
}

static void put_notes(const struct policy_decision *d, struct buf *notes, struct buf *text)
{
    buf_putc(notes, '[');
    if (d->action >= RULES_ASK)
        put_note(notes, text, d->rule ? d->rule : "hooks", d->message);
    for (size_t i = 0; i < d->nnotes && i + 1 < POLICY_NOTES_MAX; i++)
        put_note(notes, text, d->notes[i].rule, d->notes[i].message);
    buf_putc(notes, ']');
}

static char *record_json(struct prepare *p, enum class class, const struct policy_call *call,
                         const struct policy_decision *d)
{
    const struct field_value *use_id = prepare_value(p, "use_id");
    const struct field_value *duration = prepare_value(p, "duration_ms");
    struct buf out = BUF_INIT;

    buf_putc(&out, '{');
    hook_put_text(&out, "event", prepare_value(p, "event")->str);
    hook_put_text(&out, "tool", call->tool);
    hook_put_text(&out, "use_id", use_id->is_set ? use_id->str : NULL);
    hook_put_text(&out, "result_class", classes[class]);
    if (duration->is_set)
        buf_printf(&out, ",\"duration_ms\":%" PRId64, duration->num);
    hook_put_text(&out, "rule", d->rule);
    hook_put_text(&out, "rules", policy_version(p->ctx->policy));
    hook_put_hash(&out, "input_hash", prepare_value(p, "params")->raw);
    buf_putc(&out, '}');
    return hook_keep(p->arena, &out);
}

static int prepare(struct prepare *p)
{
    struct policy_call call = {.event = RULES_POST_TOOL, .tool = prepare_value(p, "tool")->str};
    struct policy_decision d;
    struct buf notes = BUF_INIT, text = BUF_INIT;
    enum class class = classify(p);

    call.cwd = hook_path(p, "cwd");
    call.home = hook_path(p, "home");
    call.input = rules_input(p);
    policy_decide(p->ctx->policy, &call, 0, p->arena, &d);
    put_notes(&d, &notes, &text);
    prepare_arg_str(p, arena_printf(p->arena,
                                    "{\"processed\":true,\"result_class\":\"%s\",\"notes\":%s",
                                    classes[class], buf_peek(&notes)));
    prepare_arg_str(p, record_json(p, class, &call, &d));
    prepare_arg_str(p, classes[class]);
    prepare_arg_str(p, call.tool);
    prepare_arg(p, arena_strndup(p->arena, buf_peek(&text), text.len), text.len);
    buf_done(&notes);
    buf_done(&text);
    return 0;
}

static void operation(const struct handler_context *ctx, struct arena *arena, struct arg_list *keys,
                      struct arg_list *args)
{
    const char *failures = keys_make(arena, ctx->prefix, KEY_HOOK_FAILURES);

    arg_list_add_str(arena, keys, failures);
    arg_list_add_int(arena, args, ctx->opts->hooks.alert_after);
    arg_list_add_int(arena, args, ctx->opts->hooks.alert_window_ms);
    hook_audit_operation(ctx, arena, keys, args);
}

const struct handler handler_hook_post_tool = {
    .method = METHOD_hook_post_tool,
    .summary = "Report what came of a tool call.",
    .params = params,
    .result = result,
    .script = SCRIPT_HOOK_POST_TOOL,
    .prepare = prepare,
    .operation = operation,
};
