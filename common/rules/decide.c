/*
 * decide.c: what a rule set says to one call. See rules.h.
 *
 *   1. deny rules, on the input as it came
 *   2. ask rules, the same; kept for later
 *   3. modify rules, one after the other, each on what the one before made of it
 *   4. if something was rewritten: deny and ask rules again, on the new input
 *   5. commands that could not be read; allow rules; warnings
 *
 * In doubt it is the stronger decision: a deny or ask rule that hit a limit counts as matched, a rewrite that cannot be done is
 * a deny, and so is running out of time.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

#include "common/clock.h"
#include "common/utf8.h"

/* What is left of RULES_TIME_MS is for the longest stride of a search. */
enum { DEADLINE_US = RULES_TIME_MS * 1000 * 6 / 10, NOTES_MAX = 32 };

struct decider {
    struct rules *rules;
    struct rules_call call;
    struct arena *arena;
    struct rules_input *input; /* of the call as it is now */
    struct rules_decision *out;
    struct rules_note notes[NOTES_MAX];
    int64_t deadline_us;
};

/* ---- the result ---- */

static const char *show(struct arena *arena, const char *text, size_t len)
{
    struct buf out = BUF_INIT;
    bool is_cut = len > RULES_MATCHED_MAX;
    if (is_cut) {
        len = RULES_MATCHED_MAX;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    utf8_put_escaped(&out, text, len, 0);
    buf_puts(&out, is_cut ? "…" : "");
    const char *shown = arena_strndup(arena, buf_peek(&out), out.len);
    buf_done(&out);
    return shown;
}

/* A command as text, when it stands nowhere in the input as it is. */
static const char *show_command(struct arena *arena, const struct shell_command *c)
{
    struct buf out = BUF_INIT;
    for (uint32_t i = 0; i < c->nassigns && out.len < RULES_MATCHED_MAX; i++)
        buf_printf(&out, "%s%s", out.len ? " " : "", c->assigns[i].text);
    for (uint32_t i = 0; i < c->nwords && out.len < RULES_MATCHED_MAX; i++)
        buf_printf(&out, "%s%s", out.len ? " " : "", c->words[i].text);
    for (uint32_t i = 0; i < c->nredirects && out.len < RULES_MATCHED_MAX; i++) {
        const struct shell_redirect *r = &c->redirects[i];
        if (r->kind == SHELL_WRITE || r->kind == SHELL_APPEND || r->kind == SHELL_READWRITE)
            buf_printf(&out, "%s> %s", out.len ? " " : "", r->target.text);
    }
    for (size_t i = 0; i < out.len; i++) {
        if (out.data[i] == SHELL_ANY)
            out.data[i] = '?';
    }
    const char *shown = show(arena, buf_peek(&out), out.len);
    buf_done(&out);
    return shown;
}

static void show_hit(struct decider *d, const struct rules_hit *hit)
{
    d->out->field = hit->leaf ? hit->leaf->pointer : NULL;
    d->out->matched = NULL;
    if (hit->text && hit->len)
        d->out->matched = show(d->arena, hit->text, hit->len);
    else if (hit->script && hit->command >= 0)
        d->out->matched = show_command(d->arena, &hit->script->shell.commands[hit->command]);
}

static void decide_by(struct decider *d, enum rules_action action, const struct rule *rule,
                      const char *message)
{
    d->out->action = action;
    d->out->reason = RULES_BY_RULE;
    d->out->severity = rule->severity;
    d->out->rule = rule->id;
    d->out->message = message ? message : rule->message;
    show_hit(d, &d->input->hit);
}

static void decide_by_limit(struct decider *d, const struct rule *rule)
{
    const char *why = d->input->is_late ? "out of time" : "a limit was hit";
    bool may_ask = rule->action == RULES_ASK && !d->input->is_late;
    decide_by(d, may_ask ? RULES_ASK : RULES_DENY, rule,
              arena_printf(d->arena, "%s while this was checked for: %s", why, rule->message));
    d->out->reason = RULES_BY_LIMIT;
    d->out->field = NULL;
    d->out->matched = NULL;
    d->out->is_cacheable = false;
}

static void add_note(struct decider *d, const struct rule *rule, const char *message)
{
    if (d->out->nnotes == NOTES_MAX)
        return;
    d->notes[d->out->nnotes++] = (struct rules_note){.rule = rule->id, .message = message};
}

/* ---- the steps ---- */

/* The first rule of this action that matches, or that could not be looked at. */
static bool first_match(struct decider *d, enum rules_action action)
{
    for (size_t i = 0; i < d->rules->n; i++) {
        const struct rule *rule = d->rules->sorted[i];
        if (rule->action != action)
            continue;
        d->input->has_limit = false;
        bool is_match = rules_match(d->input, rule);
        if (is_match) {
            decide_by(d, action, rule, NULL);
            return true;
        }
        if (d->input->has_limit && action >= RULES_ASK) {
            decide_by_limit(d, rule);
            return true;
        }
    }
    return false;
}

static bool take_input(struct decider *d, struct json_span json)
{
    struct rules_input *input = arena_alloc(d->arena, sizeof *input);
    if (rules_input_init(input, d->rules, &d->call, json, d->arena, d->deadline_us))
        return false;
    d->input = input;
    return true;
}

/* One rule, as often as it changes something. Returns false when it cannot rewrite: that is a deny. */
static bool modify_by(struct decider *d, const struct rule *rule)
{
    for (int round = 0; round <= RULES_REWRITES_MAX; round++) {
        struct json_span json;
        d->input->has_limit = false;
        bool is_match = rules_match(d->input, rule);
        if (!is_match && !d->input->has_limit)
            return true;
        enum rules_rewritten done = is_match && round < RULES_REWRITES_MAX
                                        ? rules_rewrite(d->input, rule, &json)
                                        : RULES_CANNOT;
        if (done == RULES_UNCHANGED)
            return true;
        if (done == RULES_CANNOT) {
            decide_by(d, RULES_DENY, rule,
                      arena_printf(d->arena, "%s (it could not be rewritten here)", rule->message));
            return false;
        }
        if (round == 0)
            add_note(d, rule, rule->message);
        if (d->out->action == RULES_NONE)
            decide_by(d, RULES_MODIFY, rule, NULL);
        if (!take_input(d, json)) {
            decide_by(d, RULES_DENY, rule, "the rewritten input is not valid");
            return false;
        }
        d->out->input = json.at;
        d->out->input_len = json.len;
    }
    return true;
}

static bool modify(struct decider *d)
{
    for (size_t i = 0; i < d->rules->n; i++) {
        const struct rule *rule = d->rules->sorted[i];
        if (rule->action == RULES_MODIFY && rules_applies(d->input, rule) && !modify_by(d, rule))
            return false;
    }
    return true;
}

static void decide_unparsable(struct decider *d, const struct rules_script *script)
{
    const struct shell_problem *p = &script->shell.problem;
    struct rules_decision *out = d->out;
    size_t at = p->at < script->leaf->len ? p->at : script->leaf->len;

    out->action = d->call.on_unparsable;
    out->reason = RULES_BY_UNPARSABLE;
    out->severity = RULES_MEDIUM;
    out->rule = NULL;
    out->message = p->via ? arena_printf(d->arena,
                                         "this command cannot be checked: %s, in the text for %s",
                                         p->text, p->via)
                          : arena_printf(d->arena,
                                         "this command cannot be checked: %s, at its byte %u",
                                         p->text, p->at + 1);
    out->field = script->leaf->pointer;
    while (at > 0 && at < script->leaf->len &&
           ((unsigned char)script->leaf->text[at] & 0xc0) == 0x80)
        at--;
    out->matched = show(d->arena, script->leaf->text + at, script->leaf->len - at);
}

static void warn(struct decider *d)
{
    for (size_t i = 0; i < d->rules->n; i++) {
        const struct rule *rule = d->rules->sorted[i];
        if (rule->action != RULES_WARN)
            continue;
        d->input->has_limit = false;
        if (rules_match(d->input, rule))
            add_note(d, rule, rule->message);
    }
}

/* All steps but those that only matter when nobody denies. */
static void decide_strongest(struct decider *d)
{
    struct rules_decision asked = {0};

    if (first_match(d, RULES_DENY))
        return;
    if (first_match(d, RULES_ASK)) {
        asked = *d->out;
        d->out->action = RULES_NONE;
    }
    const struct rules_script *problem = rules_input_problem(d->input);
    if (!modify(d))
        return;
    if (d->out->input) {
        if (first_match(d, RULES_DENY))
            return;
        if (asked.action == RULES_NONE && first_match(d, RULES_ASK))
            asked = *d->out;
    }
    if (asked.action != RULES_NONE) {
        /* The user is asked about what would be run. */
        asked.input = d->out->input;
        asked.input_len = d->out->input_len;
        asked.nnotes = d->out->nnotes;
        *d->out = asked;
    }
    if (!problem)
        problem = rules_input_problem(d->input);
    if (problem && d->call.on_unparsable > d->out->action)
        decide_unparsable(d, problem);
}

static int64_t time_for(const struct rules_call *call)
{
    return call->time_us > 0 && call->time_us < DEADLINE_US ? call->time_us : DEADLINE_US;
}

void rules_decide(struct rules *rules, const struct rules_call *call, struct arena *arena,
                  struct rules_decision *ret)
{
    struct decider *d = arena_alloc(arena, sizeof *d);
    *ret = (struct rules_decision){.is_cacheable = true};
    *d = (struct decider){.rules = rules,
                          .call = *call,
                          .arena = arena,
                          .out = ret,
                          .deadline_us = clock_mono_us() + time_for(call)};

    if (!take_input(d, call->input)) {
        ret->action = RULES_DENY;
        ret->reason = RULES_BY_INPUT;
        ret->severity = RULES_HIGH;
        ret->message = "the input of this call is no JSON object";
        return;
    }
    decide_strongest(d);
    if (ret->action == RULES_DENY) {
        ret->input = NULL;
        ret->input_len = 0;
        ret->nnotes = 0;
    } else {
        if (ret->action == RULES_NONE)
            first_match(d, RULES_ALLOW);
        warn(d);
    }
    ret->notes = d->notes;
    ret->is_late = d->input->is_late;
    ret->is_cacheable &= !d->input->has_looked && !d->input->is_late;
}

/* ---- tracing ---- */

void rules_trace(struct rules *rules, const struct rules_call *call, rules_match_fn *fn, void *arg)
{
    struct arena arena = ARENA_INIT;
    struct rules_decision unused = {0};
    struct decider d = {
        .rules = rules, .call = *call, .arena = &arena, .out = &unused, .deadline_us = INT64_MAX};

    if (take_input(&d, call->input)) {
        for (size_t i = 0; i < rules->n; i++) {
            const struct rule *rule = rules->sorted[i];
            if (!rules_match(d.input, rule))
                continue;
            show_hit(&d, &d.input->hit);
            fn(arg, rule->id, rule->action, unused.field, unused.matched);
        }
    }
    arena_done(&arena);
}
