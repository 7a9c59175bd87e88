/*
 * say.c: a verdict into what the agent understands. See hook.h.
 *
 * A refusal is said three ways: in JSON, on stderr and by the exit code, so that it holds with whichever of them an agent
 * goes by. No opinion is no output at all: "allow" would grant a permission. Only members that the agent knows are written;
 * Codex takes an unknown one for an error, and then the tool runs.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

#include "common/utf8.h"

struct say {
    const struct hook_event *event;
    struct hook_verdict verdict; /* as the agent can carry it out */
    const char *notes;           /* or NULL */
    struct arena *arena;
    struct buf *out;
};

/* ---- texts ---- */

static const char *cut(struct arena *arena, const char *text)
{
    size_t len = strlen(text);

    if (len <= HOOK_TEXT_MAX)
        return text;
    len = HOOK_TEXT_MAX;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    return arena_printf(arena, "%.*s…", (int)len, text);
}

static void put_json(struct buf *out, const char *key, struct json_span value)
{
    json_put_key(out, key);
    buf_append(out, value.at, value.len);
}

/* Warnings, and the text that the daemon wants the model to have. */
static const char *notes_of(const struct hook_verdict *verdict, struct arena *arena)
{
    struct buf text = BUF_INIT;

    for (size_t i = 0; i < verdict->nnotes && text.len < HOOK_TEXT_MAX; i++)
        buf_printf(&text, "%s%s [rule %s]", text.len ? "\n" : "", verdict->notes[i].message,
                   verdict->notes[i].rule);
    if (verdict->context && verdict->context[0])
        buf_printf(&text, "%s%s", text.len ? "\n" : "", verdict->context);
    const char *kept = text.len ? arena_strndup(arena, text.data, text.len) : NULL;
    buf_done(&text);
    return kept ? cut(arena, kept) : NULL;
}

/* ---- what an agent can do ---- */

/* The nearest decision that it carries out, never a weaker one. */
static struct hook_verdict able(const struct hook_event *event, const struct hook_verdict *verdict,
                                struct arena *arena)
{
    struct hook_verdict v = *verdict;

    if (!v.reason || !v.reason[0]) /* a refusal without a reason is none, to Codex */
        v.reason = v.rule ? arena_printf(arena, "decided by the rule %s", v.rule)
                          : "decided by a rule";
    if (v.action == RULES_ALLOW && !(event->can & HOOK_CAN_ALLOW))
        v.action = RULES_NONE;
    if (v.action == RULES_ASK && !(event->can & HOOK_CAN_ASK)) {
        v.action = RULES_DENY;
        v.reason = arena_printf(
            arena, "%s (this needs the user's consent, which cannot be asked for here)", v.reason);
    }
    if (v.input.len && v.action != RULES_DENY && !(event->can & HOOK_CAN_REWRITE)) {
        v.action = RULES_DENY;
        v.reason = arena_printf(arena, "%s (use this instead: %.*s)", v.reason,
                                (int)(v.input.len < 2000 ? v.input.len : 2000), v.input.at);
    }
    if (v.action == RULES_DENY || v.action == RULES_NONE)
        v.input = (struct json_span){0};
    return v;
}

/* ---- the agents' forms ---- */

static void open_specific(struct say *s)
{
    buf_puts(s->out, "{");
    json_put_key(s->out, "hookSpecificOutput");
    buf_putc(s->out, '{');
    json_put_text(s->out, "hookEventName", s->event->name);
}

static void close_specific(struct say *s)
{
    buf_puts(s->out, "}}");
}

static void say_claude_tool(struct say *s)
{
    const struct hook_verdict *v = &s->verdict;
    bool has_note = s->notes && (s->event->can & HOOK_CAN_NOTE) && v->action != RULES_DENY;
    bool allows = v->action == RULES_ALLOW ||
                  (v->action == RULES_MODIFY && (s->event->can & HOOK_REWRITE_ALLOWS));

    if (v->action == RULES_NONE && !has_note)
        return;
    open_specific(s);
    if (v->action == RULES_DENY || v->action == RULES_ASK || allows)
        json_put_text(s->out, "permissionDecision",
                      allows ? "allow" : rules_action_name(v->action));
    if (v->action == RULES_DENY || v->action == RULES_ASK)
        json_put_text(s->out, "permissionDecisionReason", v->reason);
    if (v->input.len)
        put_json(s->out, "updatedInput", v->input);
    if (has_note)
        json_put_text(s->out, "additionalContext", s->notes);
    close_specific(s);
}

/* "ask" is what happens anyway. */
static void say_claude_permission(struct say *s)
{
    const struct hook_verdict *v = &s->verdict;

    if (v->action != RULES_DENY && v->action != RULES_ALLOW)
        return;
    open_specific(s);
    json_put_key(s->out, "decision");
    buf_putc(s->out, '{');
    json_put_text(s->out, "behavior", rules_action_name(v->action));
    if (v->action == RULES_DENY)
        json_put_text(s->out, "message", v->reason);
    buf_putc(s->out, '}');
    close_specific(s);
}

static void say_claude_block(struct say *s)
{
    const struct hook_verdict *v = &s->verdict;

    if (v->action == RULES_DENY) {
        buf_putc(s->out, '{');
        json_put_text(s->out, "decision", "block");
        json_put_text(s->out, "reason", v->reason);
        buf_putc(s->out, '}');
    } else if (s->notes && (s->event->can & HOOK_CAN_NOTE)) {
        open_specific(s);
        json_put_text(s->out, "additionalContext", s->notes);
        close_specific(s);
    }
}

static void say_gemini(struct say *s)
{
    const struct hook_verdict *v = &s->verdict;

    if (v->action == RULES_DENY) {
        buf_putc(s->out, '{');
        json_put_text(s->out, "decision", "deny");
        json_put_text(s->out, "reason", v->reason);
        buf_putc(s->out, '}');
    } else if (v->input.len) {
        open_specific(s);
        put_json(s->out, "tool_input", v->input);
        close_specific(s);
    } else if (s->notes && (s->event->can & HOOK_CAN_NOTE)) {
        open_specific(s);
        json_put_text(s->out, "additionalContext", s->notes);
        close_specific(s);
    }
}

static void say_cursor(struct say *s)
{
    const struct hook_verdict *v = &s->verdict;

    if (v->action == RULES_NONE || v->action == RULES_MODIFY)
        return;
    buf_putc(s->out, '{');
    json_put_text(s->out, "permission", rules_action_name(v->action));
    if (v->action != RULES_ALLOW) {
        json_put_text(s->out, "user_message", v->reason);
        json_put_text(s->out, "agent_message", v->reason);
    }
    buf_putc(s->out, '}');
}

static void say_cursor_prompt(struct say *s)
{
    if (s->verdict.action != RULES_DENY)
        return;
    buf_puts(s->out, "{\"continue\":false");
    json_put_text(s->out, "user_message", s->verdict.reason);
    buf_putc(s->out, '}');
}

static void say_copilot(struct say *s)
{
    const struct hook_verdict *v = &s->verdict;

    if (v->action == RULES_NONE || v->action == RULES_MODIFY)
        return;
    buf_putc(s->out, '{');
    json_put_text(s->out, "permissionDecision", rules_action_name(v->action));
    if (v->action != RULES_ALLOW)
        json_put_text(s->out, "permissionDecisionReason", v->reason);
    buf_putc(s->out, '}');
}

static void say_nothing(struct say *s)
{
    (void)s;
}

/* ---- the answer ---- */

void hook_say_refusal(const char *reason, struct hook_answer *ret)
{
    *ret = (struct hook_answer){.exit = HOOK_EXIT_BLOCK};
    buf_puts(&ret->err, "claudebench: ");
    utf8_put_escaped(&ret->err, reason, strlen(reason), 0);
    buf_putc(&ret->err, '\n');
}

void hook_say(const struct hook_record *record, const struct hook_verdict *verdict,
              struct arena *arena, struct hook_answer *ret)
{
    static void (*const styles[])(struct say *) = {
        [HOOK_SAY_CLAUDE_TOOL] = say_claude_tool,
        [HOOK_SAY_CLAUDE_PERMISSION] = say_claude_permission,
        [HOOK_SAY_CLAUDE_BLOCK] = say_claude_block,
        [HOOK_SAY_GEMINI] = say_gemini,
        [HOOK_SAY_CURSOR] = say_cursor,
        [HOOK_SAY_CURSOR_PROMPT] = say_cursor_prompt,
        [HOOK_SAY_COPILOT] = say_copilot,
        [HOOK_SAY_NOTHING] = say_nothing,
    };
    struct say s = {.event = record->event, .arena = arena, .out = &ret->out};

    *ret = (struct hook_answer){.exit = 0};
    s.verdict = able(record->event, verdict, arena);
    s.notes = notes_of(&s.verdict, arena);
    s.verdict.reason = cut(arena, s.verdict.reason);
    if (s.verdict.action == RULES_DENY)
        hook_say_refusal(s.verdict.reason, ret);
    styles[record->event->style](&s);
    if (ret->out.len)
        buf_putc(&ret->out, '\n');
}
