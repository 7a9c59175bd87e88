/*
 * hook_spool.c: hook.spool (lua/hook_spool.lua): decisions that clients made by themselves, for the audit trail. What they may say
 * is this list: no input, no environment.
 */
#include "common/compat.h"
#include "worker/handlers/hook/hook_tables.h"

static const struct field record_fields[] = {
    FIELD_TIME("at", REQUIRED, "When it was decided."),
    FIELD_STR("agent", OPTIONAL, 1, 128, "Which agent's call it was."),
    FIELD_STR("session", OPTIONAL, 1, 256, "In which of its sessions."),
    FIELD_STR("event", OPTIONAL, 1, 64, "What the agent calls the event."),
    FIELD_STR("tool", OPTIONAL, 1, 1024, "The tool."),
    FIELD_STR("use_id", OPTIONAL, 1, 256, "The agent's id of the call."),
    FIELD_ENUM("decision", REQUIRED, hook_decisions, "What was decided."),
    FIELD_STR("rule", OPTIONAL, 1, 256, "The rule that decided."),
    FIELD_ENUM("severity", OPTIONAL, hook_severities, "Its severity."),
    FIELD_STR("reason", OPTIONAL, 0, 2000, "What the agent was told."),
    FIELD_STR("why", OPTIONAL, 0, 500, "Why the daemon was not asked, or did not answer."),
    FIELD_STR("rules", OPTIONAL, 0, 64, "Version of the rules."),
    FIELD_STR("input_hash", OPTIONAL, 64, 64, "SHA-256 of the input."),
    FIELD_END,
};
static const struct field record_element[] = {
    FIELD_OBJECT("", REQUIRED, record_fields, "A decision."),
    FIELD_END,
};

static const struct field params[] = {
    FIELD_LIST("records", REQUIRED, 1, 100, record_element, "The decisions, oldest first."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_INT("recorded", REQUIRED, 1, 100, "Records added to the audit trail."),
    FIELD_END,
};

static char *record_json(struct prepare *p, const struct field_value *values)
{
    struct buf out = BUF_INIT;

    buf_puts(&out, "{\"local\":true");
    for (size_t i = 0; record_fields[i].name; i++) {
        if (!values[i].is_set)
            continue;
        json_put_key(&out, record_fields[i].name);
        json_put_string(&out, values[i].str, values[i].len);
    }
    buf_putc(&out, '}');
    return hook_keep(p->arena, &out);
}

static int prepare(struct prepare *p)
{
    const struct field_value *records = prepare_value(p, "records");

    for (size_t i = 0; i < records->len; i++)
        prepare_arg_str(p, record_json(p, records->sub[i].sub));
    p->operations = 1 + (unsigned)records->len / 4;
    p->counts = 1u << DECISION_FALLBACK;
    p->counted = (unsigned)records->len;
    return 0;
}

const struct handler handler_hook_spool = {
    .method = METHOD_hook_spool,
    .summary = "Add decisions that a client made without the daemon to the audit trail.",
    .params = params,
    .result = result,
    .script = SCRIPT_HOOK_SPOOL,
    .prepare = prepare,
    .operation = hook_audit_operation,
};
