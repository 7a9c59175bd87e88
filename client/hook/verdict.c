/*
 * verdict.c: what is decided about one event, whoever decides it. See hook.h.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

static bool has_note(const struct hook_verdict *v, const struct rules_note *note)
{
    for (size_t i = 0; i < v->nnotes; i++) {
        if (strcmp(v->notes[i].rule, note->rule) == 0 &&
            strcmp(v->notes[i].message, note->message) == 0)
            return true;
    }
    return false;
}

/* The notes of both, each once. */
static void join_notes(struct hook_verdict *joined, const struct hook_verdict *other,
                       struct arena *arena)
{
    size_t most = joined->nnotes + other->nnotes;
    struct rules_note *notes = arena_alloc(arena, (most + 1) * sizeof *notes);
    size_t n = joined->nnotes;

    if (n)
        memcpy(notes, joined->notes, n * sizeof *notes);
    for (size_t i = 0; i < other->nnotes; i++) {
        if (!has_note(joined, &other->notes[i]))
            notes[n++] = other->notes[i];
    }
    joined->notes = notes;
    joined->nnotes = n;
}

void hook_verdict_join(struct hook_verdict *verdict, const struct hook_verdict *other,
                       struct arena *arena)
{
    struct hook_verdict joined = *verdict;

    if (other->action > verdict->action) {
        joined.action = other->action;
        joined.severity = other->severity;
        joined.rule = other->rule;
        joined.reason = other->reason;
        joined.message = other->message;
    }
    /* The user is asked about what would be run. */
    if (other->input.len)
        joined.input = other->input;
    if (joined.action == RULES_DENY)
        joined.input = (struct json_span){0};
    join_notes(&joined, other, arena);
    if (other->context)
        joined.context = joined.context
                             ? arena_printf(arena, "%s\n%s", joined.context, other->context)
                             : other->context;
    *verdict = joined;
}

void hook_verdict_error(const struct hook *hook, const char *reason, struct hook_verdict *ret)
{
    static const enum rules_action actions[] = {
        [HOOKS_NONE] = RULES_NONE, [HOOKS_ASK] = RULES_ASK, [HOOKS_DENY] = RULES_DENY};
    const struct options *opts = hook->policy ? hook->policy->opts : NULL;
    enum hook_kind kind = hook->record->event->kind;

    *ret = (struct hook_verdict){.action = opts ? actions[opts->hooks.on_error] : RULES_DENY,
                                 .severity = RULES_HIGH};
    /* What is over cannot be prevented. */
    if (kind == HOOK_POST_TOOL || kind == HOOK_TASK)
        ret->action = RULES_NONE;
    if (ret->action != RULES_NONE)
        ret->message = ret->reason = arena_printf(hook->arena, "this could not be checked: %s",
                                                  reason);
}
