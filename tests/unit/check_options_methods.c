/*
 * check_options_methods.c: the section `methods` (common/options_methods.c): values, "*", refusals with their places, the
 * round trip, comparison.
 */
#include "common/compat.h"
#include "tests/unit/options_fixture.h"

static const struct method_options *of(const struct options *opts, enum method_id id)
{
    return &opts->methods[id];
}

START_TEST(table_is_sound)
{
    size_t n = 0;
    for (const struct option_row *o = options_method_table; o->name; o++, n++) {
        ck_assert_msg(o->text[0] != '\0', "%s", o->name);
        ck_assert_msg(o->flags == OPTION_RELOADABLE, "%s", o->name);
        for (const struct option_row *p = o + 1; p->name; p++)
            ck_assert_str_ne(o->name, p->name);
        if (o->type != OPTION_STR)
            ck_assert_msg(o->min <= o->fallback_num && o->fallback_num <= o->max, "%s", o->name);
    }
    ck_assert_uint_eq(n, 12);
}
END_TEST

START_TEST(nothing_is_limited_by_default)
{
    struct options *o = defaults();
    for (int i = 0; i < METHOD_COUNT; i++) {
        ck_assert_int_eq(o->methods[i].rate_limit, 0);
        ck_assert_int_eq(o->methods[i].timeout_ms, 0);
        ck_assert_int_eq(o->methods[i].breaker.threshold, 0);
        ck_assert_int_eq(o->methods[i].breaker.backoff, 1500);
        ck_assert_str_eq(o->methods[i].breaker.depends_on, "");
    }
    options_free(o);
    options_free(load("methods:\n"));
    options_free(load("methods: {}\n"));
    options_free(load("methods: {task.get: {breaker: }}\n"));
}
END_TEST

static const char example[] =
    "methods:\n"
    "  \"task.create\": { rate_limit: 100, rate_window_ms: 1000,\n"
    "                   breaker: { threshold: 10, open_ms: 30000, half_open: 4, backoff: 2.25 } }\n"
    "  task.get:\n"
    "    breaker:\n"
    "      threshold: 5\n"
    "      depends_on: [task.create, test.circuit]\n"
    "  '*': { timeout_ms: 5000, rate_limit: 7, breaker: { open_ms: 60 } }\n";

START_TEST(values)
{
    struct options *o = load(example);
    ck_assert_int_eq(of(o, METHOD_task_create)->rate_limit, 100);
    ck_assert_int_eq(of(o, METHOD_task_create)->rate_window_ms, 1000);
    ck_assert_int_eq(of(o, METHOD_task_create)->timeout_ms, 5000);
    ck_assert_int_eq(of(o, METHOD_task_create)->breaker.threshold, 10);
    ck_assert_int_eq(of(o, METHOD_task_create)->breaker.open_ms, 30000);
    ck_assert_int_eq(of(o, METHOD_task_create)->breaker.half_open, 4);
    ck_assert_int_eq(of(o, METHOD_task_create)->breaker.close_after, 2);
    ck_assert_int_eq(of(o, METHOD_task_create)->breaker.backoff, 2250);
    ck_assert_int_eq(of(o, METHOD_task_get)->rate_limit, 7);
    ck_assert_int_eq(of(o, METHOD_task_get)->breaker.open_ms, 60);
    ck_assert_str_eq(of(o, METHOD_task_get)->breaker.depends_on, "task.create test.circuit");
    ck_assert_int_eq(of(o, METHOD_system_health)->timeout_ms, 5000);
    ck_assert_int_eq(of(o, METHOD_system_health)->breaker.threshold, 0);
    options_free(o);
}
END_TEST

START_TEST(dump_is_read_back)
{
    struct options *o = load(example);
    struct buf out = BUF_INIT;
    for (int with_comments = 0; with_comments < 2; with_comments++) {
        buf_reset(&out);
        options_dump(o, &out, with_comments);
        struct options *again = load(buf_peek(&out));
        ck_assert_uint_eq(options_compare(o, again, NULL, NULL, NULL), 0);
        options_free(again);
    }
    ck_assert_ptr_nonnull(strstr(buf_peek(&out), "\nmethods:\n"
                                                 "  \"task.create\":\n"
                                                 "    rate_limit: 100\n"
                                                 "    rate_window_ms: 1000\n"
                                                 "    breaker:\n"
                                                 "      threshold: 10\n"
                                                 "      open_ms: 30000\n"
                                                 "      backoff: 2.25\n"
                                                 "      half_open: 4\n"
                                                 "  \"task.get\":\n"
                                                 "    breaker:\n"
                                                 "      threshold: 5\n"
                                                 "      depends_on: \"task.create test.circuit\"\n"
                                                 "  \"*\":\n"
                                                 "    rate_limit: 7\n"
                                                 "    timeout_ms: 5000\n"
                                                 "    breaker:\n"
                                                 "      open_ms: 60\n"));
    buf_done(&out);
    options_free(o);
    struct options *none = defaults();
    options_dump(none, &out, false);
    ck_assert_ptr_null(strstr(buf_peek(&out), "\nmethods"));
    buf_done(&out);
    options_free(none);
}
END_TEST

static void note_change(void *arg, const struct option_row *option, const char *old_value,
                        const char *new_value)
{
    buf_printf(arg, "%s %s->%s\n", option->name, old_value, new_value);
}

START_TEST(comparison)
{
    struct options *a = load("methods: {task.get: {rate_limit: 5}}\n");
    struct options *b = load(
        "methods: {task.get: {rate_limit: 6, breaker: {threshold: 3, backoff: 3}}}\n");
    struct options *all = load("methods: {'*': {timeout_ms: 9}, task.get: {rate_limit: 5},"
                               " task.list: {timeout_ms: 7}}\n");
    struct buf seen = BUF_INIT;
    bool wants_restart = true;
    ck_assert_uint_eq(options_compare(a, b, note_change, &seen, &wants_restart), 3);
    ck_assert(!wants_restart);
    ck_assert_str_eq(buf_peek(&seen), "methods.task.get.rate_limit 5->6\n"
                                      "methods.task.get.breaker.threshold 0->3\n"
                                      "methods.task.get.breaker.backoff 1.5->3\n");
    buf_reset(&seen);
    ck_assert_uint_eq(options_compare(a, all, note_change, &seen, NULL), 2);
    ck_assert_str_eq(buf_peek(&seen), "methods.*.timeout_ms 0->9\n"
                                      "methods.task.list.timeout_ms 0->7\n");
    buf_done(&seen);
    options_free(a);
    options_free(b);
    options_free(all);
}
END_TEST

START_TEST(reload)
{
    struct options *in_force = load("methods: {task.get: {rate_limit: 5}, '*': {timeout_ms: 9}}\n");
    struct options *fresh = load(
        "methods: {task.get: {rate_limit: 6}, task.list: {breaker: {threshold: 2, depends_on: "
        "[task.get]}}}\n");
    struct buf a = BUF_INIT, b = BUF_INIT;
    options_put_in_force(in_force, fresh);
    ck_assert_uint_eq(options_compare(in_force, fresh, NULL, NULL, NULL), 0);
    options_dump(fresh, &a, false);
    options_free(fresh); /* nothing of it is used any more */
    options_dump(in_force, &b, false);
    ck_assert_str_eq(buf_peek(&a), buf_peek(&b));
    ck_assert_int_eq(of(in_force, METHOD_task_list)->timeout_ms, 0);
    buf_done(&a);
    buf_done(&b);
    options_free(in_force);
}
END_TEST

START_TEST(names_are_checked)
{
    refused("methods: {task.craete: {rate_limit: 1}}\n",
            "t:1:11: methods.task.craete: unknown method (did you mean \"task.create\"?)\n");
    refused("methods: {nonsense: {rate_limit: 1}}\n",
            "t:1:11: methods.nonsense: unknown method (expected the name of a method, or \"*\")\n");
    refused("methods: {\"task.get\\0\": {rate_limit: 1}}\n",
            "t:1:11: methods.task.get\\x00: unknown method (did you mean \"task.get\"?)\n");
    refused("methods: {task: {get: {rate_limit: 1}}}\n",
            "t:1:11: methods.task: unknown method (expected the name of a method, or \"*\")\n");
    refused("methods: {task.get: {rate_limt: 1}}\n",
            "t:1:22: methods.task.get.rate_limt: unknown option (did you mean rate_limit?)\n");
    refused("methods: {'*': {breaker.threshold: 1}}\n",
            "t:1:17: methods.*.breaker.threshold: unknown option (expected rate_limit, "
            "rate_window_ms, timeout_ms or breaker)\n");
    refused("methods: {task.get: {breaker: {treshold: 1}}}\n",
            "t:1:32: methods.task.get.breaker.treshold: unknown option (did you mean "
            "breaker.threshold?)\n");
    refused("method: {}\n", "t:1:1: method: unknown option (did you mean methods?)\n");
}
END_TEST

START_TEST(values_are_checked)
{
    refused("methods: 5\n",
            "t:1:10: methods: is a section (expected a mapping by names of methods)\n");
    refused("methods: {task.get: 5}\n",
            "t:1:21: methods.task.get: is a section (expected a mapping of options)\n");
    refused("methods: {task.get: {breaker: [1]}}\n",
            "t:1:31: methods.task.get.breaker: is a section (expected a mapping of options)\n");
    refused("methods: {task.get: {rate_limit: -1}}\n",
            "t:1:34: methods.task.get.rate_limit: \"-1\" is too small (expected whole number, 0 to "
            "100000)\n");
    refused("methods: {task.get: {rate_limit: [1]}}\n",
            "t:1:34: methods.task.get.rate_limit: has a list (expected whole number, 0 to "
            "100000)\n");
    static const char *const factors[] = {"x", "1.", ".5", "1.2345", "1.x", "+1", "1e3"};
    for (size_t i = 0; i < CB_ARRAY_LEN(factors); i++) {
        char text[100], expected[200];
        snprintf(text, sizeof text, "methods: {task.get: {breaker: {threshold: 1, backoff: %s}}}\n",
                 factors[i]);
        snprintf(expected, sizeof expected,
                 "t:1:55: methods.task.get.breaker.backoff: \"%s\" is not a number with at most "
                 "three decimals (expected number, 1 to 10)\n",
                 factors[i]);
        refused(text, expected);
    }
    refused("methods: {task.get: {breaker: {threshold: 1, backoff: 0.999}}}\n",
            "t:1:55: methods.task.get.breaker.backoff: \"0.999\" is too small (expected number, 1 "
            "to 10)\n");
    refused("methods: {task.get: {breaker: {threshold: 1, backoff: 10.001}}}\n",
            "t:1:55: methods.task.get.breaker.backoff: \"10.001\" is too large (expected number, 1 "
            "to 10)\n");
}
END_TEST

START_TEST(relations)
{
    refused("methods: {task.get: {breaker: {open_ms: 100}}}\n",
            "t:1:41: methods.task.get.breaker.threshold: is not given, so that there is no breaker "
            "(expected a whole number, 1 to 1000)\n");
    options_free(load("methods: {task.get: {breaker: {threshold: 0, open_ms: 100}}}\n"));
    options_free(load("methods: {'*': {breaker: {open_ms: 100}}}\n"));
    refused("methods: {task.get: {breaker: {threshold: 1, close_after: 4}}}\n",
            "t:1:59: methods.task.get.breaker.close_after: is too large (expected at most "
            "breaker.half_open)\n");
    refused("methods: {task.get: {breaker: {threshold: 1, open_ms: 700000}}}\n",
            "t:1:43: methods.task.get.breaker.open_max_ms: is too small (expected at least "
            "breaker.open_ms)\n");
    refused("methods: {task.get: {breaker: {threshold: 1, depends_on: [task.lst, no.such, "
            "task.get]}}}\n",
            "t:1:58: methods.task.get.breaker.depends_on: names an unknown method (did you mean "
            "task.list?)\n"
            "t:1:58: methods.task.get.breaker.depends_on: names an unknown method (expected a list "
            "of methods)\n"
            "t:1:58: methods.task.get.breaker.depends_on: names the method itself (expected "
            "others)\n");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, table_is_sound);
    tcase_add_test(tc, nothing_is_limited_by_default);
    tcase_add_test(tc, values);
    tcase_add_test(tc, dump_is_read_back);
    tcase_add_test(tc, comparison);
    tcase_add_test(tc, reload);
    tcase_add_test(tc, names_are_checked);
    tcase_add_test(tc, values_are_checked);
    tcase_add_test(tc, relations);
}

UNIT_MAIN("options of methods", add_tests)
