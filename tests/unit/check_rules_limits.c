/*
 * check_rules_limits.c: common/rules: no pattern and no input makes a decision slow, and a limit is never a way through.
 */
#include "common/compat.h"
#include "tests/unit/rules_fixture.h"

#include "common/clock.h"
#include "common/mem.h"

/* Patterns that take exponential or quadratic time in engines without limits. */
static const char *const SLOW[] = {
    "(a+)+$",
    "(a|a)*$",
    "(a|aa)+$",
    "(.*a){12}$",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(?:a?){30}a{30}$",
    "([a-zA-Z]+)*$",
    "a*a*a*a*a*a*a*a*$",
    "(x+x+)+y",
    "(?=(a+))a*b=\\1",
    "((a*)*)*b",
    "a*b",
    "(?:.*.*=.*)$",
};

static void slow_patterns(bool is_jit)
{
    static const size_t lengths[] = {40, 4000, 250000};
    int64_t worst = 0;
    struct buf json = BUF_INIT;
    const char *worst_pattern = "";

    want_jit = is_jit;
    for (size_t i = 0; i < CB_ARRAY_LEN(SLOW); i++) {
        for (size_t l = 0; l < CB_ARRAY_LEN(lengths); l++) {
            size_t len = lengths[l];
            char *match = mem_printf("{pattern: '%s', field: content}", SLOW[i]);
            use_match(match);
            free(match);
            buf_reset(&json);
            buf_puts(&json, "{\"content\":\"");
            for (size_t k = 0; k < len; k++)
                buf_putc(&json, k % 2 && strchr(SLOW[i], 'x') ? 'x' : 'a');
            buf_puts(&json, "!\"}");
            int64_t before = clock_mono_us();
            decide_call(RULES_PRE_TOOL, "Write", json.data, json.len);
            int64_t took = clock_mono_us() - before;
            if (took > worst) {
                worst = took;
                worst_pattern = SLOW[i];
            }
            ck_assert_msg(decision.action == RULES_DENY || decision.action == RULES_NONE, "%s",
                          SLOW[i]);
        }
    }
    printf("# %s JIT: the slowest was %s, %" PRId64 " us\n", is_jit ? "with" : "without",
           worst_pattern, worst);
    /* Each of them would take from minutes to forever. A busy machine may make of 100 ms some hundreds. */
    ck_assert_int_lt(worst, 5000000);
    want_jit = true;
    buf_done(&json);
}

START_TEST(slow_patterns_with_jit)
{
    slow_patterns(true);
}
END_TEST

START_TEST(slow_patterns_without_jit)
{
    slow_patterns(false);
}
END_TEST

START_TEST(a_limit_is_the_stronger_answer)
{
    const char
        *json = "{\"content\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"}";
    use("  - {name: r, action: deny, message: slow, match: {pattern: '(a|a)*$'}}\n");
    ck_assert_int_eq(decide_tool("Write", json), RULES_DENY);
    ck_assert_int_eq(decision.reason, RULES_BY_LIMIT);
    ck_assert_str_eq(decision.rule, "g/r");
    ck_assert(!decision.is_cacheable);
    use("  - {name: r, action: ask, message: slow, match: {pattern: '(a|a)*$'}}\n");
    ck_assert_int_eq(decide_tool("Write", json), RULES_ASK);
    use("  - {name: r, action: allow, message: slow, match: {pattern: '(a|a)*$'}}\n");
    ck_assert_int_eq(decide_tool("Write", json), RULES_NONE);
    use("  - {name: r, action: modify, message: slow, match: {pattern: '(a|a)*$'}, replacement: "
        "b}\n");
    ck_assert_int_eq(decide_tool("Write", json), RULES_DENY);
}
END_TEST

START_TEST(too_long_a_text)
{
    struct buf json = BUF_INIT;
    use_match("{pattern: needle}");
    buf_puts(&json, "{\"content\":\"");
    for (size_t i = 0; i <= RULES_SUBJECT_MAX; i++)
        buf_putc(&json, 'x');
    buf_puts(&json, "\"}");
    ck_assert_int_eq(decide_call(RULES_PRE_TOOL, "Write", json.data, json.len), RULES_DENY);
    ck_assert_int_eq(decision.reason, RULES_BY_LIMIT);
    buf_done(&json);
}
END_TEST

START_TEST(matches_far_into_a_text)
{
    struct buf json = BUF_INIT;
    use_match("{pattern: 'needle$'}");
    buf_puts(&json, "{\"content\":\"");
    for (size_t i = 0; i < 200000; i++)
        buf_putc(&json, 'x');
    buf_puts(&json, "needle\"}");
    ck_assert_int_eq(decide_call(RULES_PRE_TOOL, "Write", json.data, json.len), RULES_DENY);
    ck_assert_int_eq(decision.reason, RULES_BY_RULE);
    ck_assert_str_eq(decision.matched, "needle");
    /* Characters of several bytes at the ends of strides. */
    use_match("{pattern: 'üneedle$'}");
    buf_reset(&json);
    buf_puts(&json, "{\"content\":\"x");
    for (size_t i = 0; i < 100000; i++)
        buf_puts(&json, "ü");
    buf_puts(&json, "needle\"}");
    ck_assert_int_eq(decide_call(RULES_PRE_TOOL, "Write", json.data, json.len), RULES_DENY);
    ck_assert_str_eq(decision.matched, "üneedle");
    buf_done(&json);
}
END_TEST

START_TEST(many_strings)
{
    struct buf json = BUF_INIT;
    use_match("{pattern: needle}");
    buf_puts(&json, "{\"a\":[\"x\"");
    for (size_t i = 0; i < 70000; i++)
        buf_puts(&json, ",\"x\"");
    buf_puts(&json, ",\"needle\"]}");
    /* More than are looked at: that is not "no match". */
    ck_assert_int_eq(decide_call(RULES_PRE_TOOL, "X", json.data, json.len), RULES_DENY);
    buf_done(&json);
}
END_TEST

/* Calls made to be slow, against a few rules of every kind. */
START_TEST(slow_calls)
{
    static const char *const pieces[] = {
        "rm -rf /tmp/*?[a] ",
        "a|",
        "$(a ",
        "curl x|sh;",
        "x=$x$x;",
        "cat <<E\n",
        "sudo ",
        "/",
        "../",
        "{a,b}",
        "'",
        "sh -c ",
        "find . -exec a {} + ",
        "git push +a ",
        "f(){ f|f& };",
        "a > /etc/x;",
        "a=b ",
        "-x=/a/b/c ",
    };
    int64_t worst = 0;
    const char *worst_piece = "";
    use("  - {name: a, action: deny, message: m, match: {command: rm, flags: [z], path: "
        "['/etc/**', '**/.git/*', '~']}}\n"
        "  - {name: b, action: deny, message: m, match: {runs_input: true, fed_by: [none]}}\n"
        "  - {name: c, action: deny, message: m, match: {writes: ['/usr/**', '**/x/**/y'], "
        "command: none}}\n"
        "  - {name: d, action: ask, message: m, match: {pattern: '(?i)(a|b)+c$', field: command}}\n"
        "  - {name: e, action: modify, message: m, match: {command: sudo}, replacement: {unwrap: "
        "true}}\n"
        "  - {name: f, action: deny, message: m, match: {reads: ['**/none', '/proc/*/x']}}\n");
    for (size_t i = 0; i < CB_ARRAY_LEN(pieces); i++) {
        struct buf text = BUF_INIT;
        while (text.len < 250000)
            buf_puts(&text, pieces[i]);
        int64_t before = clock_mono_us();
        decide(buf_peek(&text));
        int64_t took = clock_mono_us() - before;
        if (took > worst) {
            worst = took;
            worst_piece = pieces[i];
        }
        buf_done(&text);
    }
    printf("# 250 kB of \"%s\" took %" PRId64 " us, others less\n", worst_piece, worst);
    ck_assert_int_lt(worst, 5000000);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_unchecked_fixture(tc, NULL, rules_fixture_done);
    tcase_add_test(tc, slow_patterns_with_jit);
    tcase_add_test(tc, slow_patterns_without_jit);
    tcase_add_test(tc, a_limit_is_the_stronger_answer);
    tcase_add_test(tc, too_long_a_text);
    tcase_add_test(tc, matches_far_into_a_text);
    tcase_add_test(tc, many_strings);
    tcase_add_test(tc, slow_calls);
}

UNIT_MAIN("rules_limits", add_tests)
