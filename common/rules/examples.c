/*
 * examples.c: runs the examples that stand in the rule files. See rules.h.
 *
 * An example under `matches` must be matched by its rule, and the whole rule set must decide at least as strongly as that
 * rule's action; what it `becomes` is compared byte by byte. One under `passes` must not be matched by its rule;
 * others may.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

struct tester {
    struct rules *rules;
    rules_test_fn *fn;
    void *arg;
    struct rules_test_totals totals;
    struct arena arena;
};

static void fail(struct tester *t, const struct rule *rule, int line, const char *fmt, ...)
    CB_PRINTF(4, 5);

static void fail(struct tester *t, const struct rule *rule, int line, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    t->totals.failed++;
    t->fn(t->arg, rule->file, line, rule->id, buf_peek(&text));
    buf_done(&text);
}

static bool is_matched(struct tester *t, const struct rule *rule, const struct rules_call *call)
{
    struct rules_input input;
    if (rules_input_init(&input, t->rules, call, call->input, &t->arena, INT64_MAX))
        return false;
    return rules_match(&input, rule);
}

static void test_match(struct tester *t, const struct rule *rule, const struct rules_example *e,
                       const struct rules_call *call)
{
    struct rules_decision decision;
    struct buf why = BUF_INIT;

    rules_decide(t->rules, call, &t->arena, &decision);
    rules_explain(&decision, &why);
    if (rule->action > RULES_WARN && decision.action < rule->action)
        fail(t, rule, e->line, "decided %s instead of %s: %s", rules_action_name(decision.action),
             rules_action_name(rule->action), e->input);
    else if (e->becomes && (!decision.input || strlen(e->becomes) != decision.input_len ||
                            memcmp(e->becomes, decision.input, decision.input_len) != 0))
        fail(t, rule, e->line, "becomes %.*s instead of %s (%s)", (int)decision.input_len,
             decision.input ? decision.input : "", e->becomes, buf_peek(&why));
    buf_done(&why);
}

static void test_example(struct tester *t, const struct rule *rule, const struct rules_example *e)
{
    struct rules_call call = {
        .event = (enum rules_event)e->event,
        .tool = e->tool,
        .input = {e->input, strlen(e->input)},
        .cwd = e->cwd,
        .home = "/home/user",
        .on_unparsable = RULES_ASK,
    };
    t->totals.examples++;
    bool is_match = is_matched(t, rule, &call);
    if (is_match != e->is_match)
        fail(t, rule, e->line, "%s: %s", is_match ? "is matched" : "is not matched", e->input);
    else if (is_match)
        test_match(t, rule, e, &call);
    arena_reset(&t->arena);
}

size_t rules_test(struct rules *rules, rules_test_fn *fn, void *arg, struct rules_test_totals *ret)
{
    struct tester t = {.rules = rules, .fn = fn, .arg = arg};

    for (size_t i = 0; i < rules->n; i++) {
        const struct rule *rule = rules->sorted[i];
        size_t nmatches = 0, npasses = 0;
        if (rule->is_disabled)
            continue;
        t.totals.rules++;
        for (const struct rules_example *e = rule->examples; e; e = e->next) {
            test_example(&t, rule, e);
            nmatches += e->is_match;
            npasses += !e->is_match;
        }
        if (nmatches == 0 || npasses == 0)
            fail(&t, rule, rule->line, "has no example that %s", nmatches ? "passes" : "matches");
    }
    arena_done(&t.arena);
    if (ret)
        *ret = t.totals;
    return t.totals.failed;
}
