/*
 * policy_decide.c: one call against the system's rules and then each member of its event's chain, in order. See policy.h.
 *
 * Each sees what the ones before it made of the input. Deny ends it; ask is kept while the rest still may deny; then comes
 * modify, then allow. When a member has rewritten the input, all look at the result once more, so that nobody's rule is got
 * around by another's rewrite; when that does not come to an end, it is a deny.
 *
 * All sets together have the time of one decision.
 */
#include "common/compat.h"
#include "worker/policy_int.h"

#include "common/clock.h"
#include "common/fault.h"

#include <sha2.h>

enum {
    /* As one decision of the engine has: its longest stride is within what is left of RULES_TIME_MS. */
    BUDGET_US = 60000,
    ROUNDS_MAX = 4,
};

struct decider {
    struct policy *policy;
    const struct policy_call *call;
    struct arena *arena;
    struct policy_decision *out;
    struct json_span input; /* as it is now */
    int64_t until_us;
    bool was_rewritten_behind;   /* by a member, in this round */
    struct policy_decision best; /* the strongest that does not end it: ask, modify, allow */
};

static enum rules_action action_of(int option)
{
    static const enum rules_action actions[] = {
        [HOOKS_NONE] = RULES_NONE, [HOOKS_ASK] = RULES_ASK, [HOOKS_DENY] = RULES_DENY};
    return actions[option];
}

static void add_note(struct decider *d, const char *rule, const char *message)
{
    struct policy_decision *out = d->out;

    for (size_t i = 0; i < out->nnotes; i++)
        if (strcmp(out->notes[i].rule, rule) == 0 && strcmp(out->notes[i].message, message) == 0)
            return; /* of an earlier round */
    if (out->nnotes < POLICY_NOTES_MAX)
        out->notes[out->nnotes++] = (struct rules_note){
            .rule = arena_strndup(d->arena, rule, strlen(rule)),
            .message = arena_strndup(d->arena, message, strlen(message)),
        };
}

static const char *keep(struct decider *d, const char *text)
{
    return text ? arena_strndup(d->arena, text, strlen(text)) : NULL;
}

static void take_best(struct decider *d, const struct policy_decision *found)
{
    if (found->action > d->best.action)
        d->best = *found;
}

/* Nothing can be decided here. */
static void fail(struct decider *d, const char *rule, const char *message)
{
    struct policy_decision found = {.action = action_of(d->policy->opts->hooks.on_error),
                                    .severity = RULES_HIGH,
                                    .rule = keep(d, rule),
                                    .message = keep(d, message)};

    d->out->is_cacheable = false;
    if (found.action == RULES_NONE)
        add_note(d, rule ? rule : "hooks.on_error", message);
    else
        take_best(d, &found);
}

/* Ours, whatever hooks.on_error says: a limit denies. */
static void deny(struct decider *d, const char *message)
{
    struct policy_decision found = {
        .action = RULES_DENY, .severity = RULES_HIGH, .message = keep(d, message)};

    d->out->is_cacheable = false;
    d->best = found;
}

static void take_decision(struct decider *d, const struct rules_decision *r, bool is_member)
{
    struct policy_decision found = {.action = r->action,
                                    .severity = r->severity,
                                    .rule = keep(d, r->rule),
                                    .message = keep(d, r->message),
                                    .field = keep(d, r->field),
                                    .matched = keep(d, r->matched)};

    d->out->is_late |= r->is_late;
    d->out->is_cacheable &= r->is_cacheable;
    if (r->action == RULES_DENY) {
        d->best = found;
        return;
    }
    for (size_t i = 0; i < r->nnotes; i++)
        add_note(d, r->notes[i].rule, r->notes[i].message);
    if (r->input) {
        d->input = (struct json_span){r->input, r->input_len};
        d->out->input = d->input;
        d->was_rewritten_behind |= is_member;
    }
    take_best(d, &found);
}

static void run_set(struct decider *d, struct rules *rules, bool is_member)
{
    int64_t left = d->until_us - clock_mono_us();
    struct rules_decision decision;
    struct rules_call call = {
        .event = d->call->event,
        .tool = d->call->tool,
        .input = d->input,
        .cwd = d->call->cwd,
        .home = d->call->home,
        .resolve_links = true,
        .time_us = left,
        .on_unparsable = is_member ? RULES_NONE : action_of(d->policy->opts->hooks.on_unparsable),
    };

    if (left <= 0) {
        d->out->is_late = true;
        deny(d, "out of time while this was checked");
        return;
    }
    rules_decide(rules, &call, d->arena, &decision);
    take_decision(d, &decision, is_member);
}

/* Whether a member is about the agent's folder. One that is not known is not a way around. */
static bool is_in_scope(const struct policy_link *m, const char *cwd)
{
    size_t len = m->scope ? strlen(m->scope) : 0;

    while (len > 1 && m->scope[len - 1] == '/')
        len--;
    return len <= 1 || !cwd ||
           (strncmp(cwd, m->scope, len) == 0 && (cwd[len] == '/' || cwd[len] == '\0'));
}

static void run_member(struct decider *d, const struct policy_link *m)
{
    if (!is_in_scope(m, d->call->cwd))
        return;
    if (m->set.rules)
        run_set(d, m->set.rules, true);
    else
        fail(d, arena_printf(d->arena, "chain/%s", m->name),
             arena_printf(d->arena, "the rules of chain member %s cannot be used: %s", m->name,
                          m->set.problem ? m->set.problem : "not read yet"));
}

static void run_round(struct decider *d)
{
    struct policy *p = d->policy;
    unsigned e = policy_event_index(d->call->event);

    d->was_rewritten_behind = false;
    if (p->system.rules)
        run_set(d, p->system.rules, false);
    else
        fail(d, NULL,
             arena_printf(d->arena, "the rules cannot be used: %s",
                          p->system.problem ? p->system.problem : "not read yet"));
    if (p->chain_problem && d->best.action != RULES_DENY)
        fail(d, NULL, p->chain_problem);
    for (size_t i = 0; i < p->nchain[e] && d->best.action != RULES_DENY; i++)
        run_member(d, &p->chains[e][i]);
}

void policy_decide(struct policy *p, const struct policy_call *call, int64_t budget_us,
                   struct arena *arena, struct policy_decision *ret)
{
    struct decider d = {
        .policy = p, .call = call, .arena = arena, .out = ret, .input = call->input};

    *ret = (struct policy_decision){.is_cacheable = true};
    d.until_us = clock_mono_us() + (budget_us > 0 && budget_us < BUDGET_US ? budget_us : BUDGET_US);
    fault_point_text("decide", call->input.at, call->input.len);
    run_round(&d);
    for (int round = 1; d.was_rewritten_behind && d.best.action != RULES_DENY; round++) {
        if (round == ROUNDS_MAX) {
            deny(&d, "the rules rewrite one another without end");
            break;
        }
        run_round(&d);
    }
    ret->action = d.best.action;
    ret->severity = d.best.severity;
    ret->rule = d.best.rule;
    ret->message = d.best.message;
    ret->field = d.best.field;
    ret->matched = d.best.matched;
    if (ret->action == RULES_DENY) {
        ret->input = (struct json_span){0};
        ret->nnotes = 0;
    }
}

/* ---- the cache ---- */

/* Everything that a decision depends on: all rules, and the call. rules_cache_key() covers the call, whatever its set. */
void policy_cache_key(const struct policy *p, const struct policy_call *call,
                      char out[RULES_KEY_SIZE])
{
    struct rules_call whole = {.event = call->event,
                               .tool = call->tool,
                               .input = call->input,
                               .cwd = call->cwd,
                               .home = call->home,
                               .resolve_links = true,
                               .on_unparsable = action_of(p->opts->hooks.on_unparsable)};
    SHA2_CTX sha;
    char key[RULES_KEY_SIZE];

    rules_cache_key(p->system.rules, &whole, key);
    SHA256Init(&sha);
    SHA256Update(&sha, (const uint8_t *)p->version, strlen(p->version));
    SHA256Update(&sha, (const uint8_t *)key, strlen(key));
    SHA256End(&sha, out);
}

const char *policy_fetch(struct policy *p, const char *key, struct arena *arena)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct cb_error err;

    if (!*p->link || redis_link_is_lost(*p->link) ||
        redis_link_callv(*p->link, &reply, &err, "GET", key, NULL) != 0 ||
        reply_type(reply) != REPLY_STRING)
        return NULL;
    return arena_strndup(arena, reply_str(reply), reply_bytes(reply));
}
