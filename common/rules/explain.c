/*
 * explain.c: decisions and rules in words. See rules.h.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

static const char *const ACTIONS[] = {"none", "warn", "allow", "modify", "ask", "deny"};
static const char *const SEVERITIES[] = {"low", "medium", "high", "critical"};
static const struct {
    enum rules_event event;
    const char *name;
} EVENTS[] = {{RULES_PRE_TOOL, "pre_tool"},
              {RULES_POST_TOOL, "post_tool"},
              {RULES_USER_PROMPT, "user_prompt"}};

const char *rules_action_name(enum rules_action action)
{
    return (size_t)action < CB_ARRAY_LEN(ACTIONS) ? ACTIONS[action] : "?";
}

const char *rules_severity_name(enum rules_severity severity)
{
    return (size_t)severity < CB_ARRAY_LEN(SEVERITIES) ? SEVERITIES[severity] : "?";
}

const char *rules_event_name(enum rules_event event)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(EVENTS); i++) {
        if (EVENTS[i].event == event)
            return EVENTS[i].name;
    }
    return "?";
}

enum rules_event rules_event_by_name(const char *name)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(EVENTS); i++) {
        if (strcmp(EVENTS[i].name, name) == 0)
            return EVENTS[i].event;
    }
    return 0;
}

void rules_explain(const struct rules_decision *decision, struct buf *out)
{
    if (decision->action == RULES_NONE)
        return;
    buf_puts(out, decision->message ? decision->message : rules_action_name(decision->action));
    if (!decision->rule && !decision->matched)
        return;
    buf_puts(out, " [");
    if (decision->rule)
        buf_printf(out, "rule %s", decision->rule);
    if (decision->field)
        buf_printf(out, "%s%s", decision->rule ? ", " : "", decision->field);
    if (decision->matched)
        buf_printf(out, "%s%s", decision->rule || decision->field ? ": " : "", decision->matched);
    buf_putc(out, ']');
}

bool rules_get(const struct rules *rules, size_t i, struct rules_info *ret)
{
    if (i >= rules->n)
        return false;
    const struct rule *rule = rules->sorted[i];
    *ret = (struct rules_info){
        .id = rule->id,
        .file = rule->file,
        .line = rule->line,
        .action = rule->action,
        .severity = rule->severity,
        .events = rule->events,
        .priority = rule->priority,
        .is_project = rule->is_project,
        .message = rule->message,
    };
    for (const struct rules_example *e = rule->examples; e; e = e->next) {
        ret->nmatches += e->is_match;
        ret->npasses += !e->is_match;
    }
    return true;
}
