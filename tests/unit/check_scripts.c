/*
 * check_scripts.c: calling scripts by name, against a real Redis. It brings scripts and a function of its own: the
 * generated header is kept out, and scripts.c is compiled in here, so that the test does not depend on
 * which scripts the project has.
 */
#include "common/compat.h"
#include "unit.h"

#define CB_SCRIPTS_ENUM_H
enum script_id { SCRIPT_ADD, SCRIPT_ECHO, SCRIPT_FAIL, SCRIPT_PUSH, SCRIPT_COUNT };
#include "common/scripts.c" /* NOLINT(bugprone-suspicious-include) */

#include "common/redis_cluster.h"
#include "redis_fixture.h"

const struct script_source script_sources[] = {
    {"add", false, "", "#!lua\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])\n"},
    {"echo", false, "", "return {#KEYS, #ARGV, KEYS, ARGV}"},
    {"fail", false, "", "return redis.error_reply('OOM so to speak')"},
    {"push", true, "allow-oom,allow-stale",
     "local main = function(keys, args)\nreturn redis.call('RPUSH', keys[1], args[1])\nend\n"},
    {NULL, false, NULL, NULL},
};

static char *command_stats(struct redis_link *link)
{
    reply_t *r = NULL;
    ck_assert_int_eq(redis_link_callv(link, &r, NULL, "INFO", "commandstats", NULL), 0);
    char *text = mem_strdup(reply_str(r));
    reply_free(r);
    return text;
}

/* How often Redis was sent this, other than in vain. */
static int64_t calls_of(struct redis_link *link, const char *command)
{
    CB_CLEANUP(mem_free_ptr) char *stats = command_stats(link);
    CB_CLEANUP(buf_done) struct buf name = BUF_INIT;
    buf_printf(&name, "cmdstat_%s:calls=", command);
    const char *at = strstr(stats, buf_peek(&name));
    if (!at)
        return 0;
    const char *failed = strstr(at, "failed_calls=");
    return strtoll(at + name.len, NULL, 10) - strtoll(failed + strlen("failed_calls="), NULL, 10);
}

/* Calls the function `push`; the list's length must be this then. */
static void push_makes(struct redis_link *link, int64_t length)
{
    struct script_call call;
    struct cb_error err = {0};
    reply_t *r = NULL;
    script_call_init(&call, SCRIPT_PUSH);
    script_call_key(&call, "list");
    script_call_arg_str(&call, "x");
    ck_assert_msg(scripts_run(link, &call, &r, &err) == 0, "%s", err.text);
    ck_assert_int_eq(reply_int(r), length);
    reply_free(r);
    script_call_done(&call);
}

static void send(struct redis_link *link, const char *a, const char *b, const char *c,
                 const char *d)
{
    struct cb_error err = {0};
    ck_assert_msg(redis_link_callv(link, NULL, &err, a, b, c, d, NULL) == 0, "%s", err.text);
}

START_TEST(function_names_say_which_text_they_are)
{
    const char *name = scripts_function(SCRIPT_PUSH);
    ck_assert_uint_eq(strlen(name), strlen("claudebench_push_") + 16);
    ck_assert_int_eq(strncmp(name, "claudebench_push_", 17), 0);
    ck_assert_int_eq(strncmp(name + 17, scripts_sha(SCRIPT_PUSH), 16), 0);
    ck_assert_ptr_null(scripts_function(SCRIPT_ADD));
    ck_assert(scripts_has_library(name));
    ck_assert(!scripts_has_library("claudebench_push_0123456789abcdef"));
    ck_assert(!scripts_has_library("claudebench_add"));
    ck_assert(!scripts_has_library(""));
    ck_assert(scripts_is_library(name));
    ck_assert(scripts_is_library("claudebench_of_another_version_0123456789abcdef"));
    ck_assert(!scripts_is_library("claudebench_dashboard"));
    ck_assert(!scripts_is_library("claudebench__0123456789abcdeg"));
    ck_assert(!scripts_is_library("claudebench_0123456789abcdef"));
    ck_assert(!scripts_is_library("other_task_create_0123456789abcdef"));
}
END_TEST

START_TEST(a_function_is_loaded_when_redis_does_not_have_it)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    reply_t *r = NULL;
    for (int64_t i = 1; i <= 4; i++) {
        push_makes(link, i);
        if (i == 2)
            send(link, "FUNCTION", "FLUSH", NULL, NULL);
    }
    ck_assert_int_eq(calls_of(link, "fcall"), 4);
    ck_assert_int_eq(calls_of(link, "evalsha"), 0);
    ck_assert_int_eq(redis_link_callv(link, &r, NULL, "FUNCTION", "LIST", NULL), 0);
    ck_assert_uint_eq(reply_count(r), 1);
    ck_assert_str_eq(reply_str(reply_at(reply_at(r, 0), 1)), scripts_function(SCRIPT_PUSH));
    const reply_t *function = reply_at(reply_at(reply_at(r, 0), 5), 0);
    ck_assert_uint_eq(reply_count(reply_at(function, 5)), 2); /* its flags */
    reply_free(r);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(without_memory_for_the_library_it_is_a_script)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    clock_fake_set(1000000, 0);
    send(link, "CONFIG", "SET", "maxmemory", "1");
    push_makes(link, 1);
    push_makes(link, 2);
    ck_assert_int_eq(calls_of(link, "evalsha"), 2);
    ck_assert_int_eq(calls_of(link, "fcall"), 0);
    send(link, "CONFIG", "SET", "maxmemory", "0");
    clock_fake_advance_us(INT64_C(59999999));
    push_makes(link, 3);
    ck_assert_int_eq(calls_of(link, "evalsha"), 3);
    clock_fake_advance_us(1);
    push_makes(link, 4);
    ck_assert_int_eq(calls_of(link, "fcall"), 1);
    send(link, "CONFIG", "SET", "maxmemory", "1");
    push_makes(link, 5); /* it is there */
    ck_assert_int_eq(calls_of(link, "fcall"), 2);
    ck_assert_int_eq(calls_of(link, "evalsha"), 3);
    clock_fake_stop();
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

static const char *const renamed[][4] = {{"--rename-command", "fcall", "", NULL},
                                         {"--rename-command", "function", "", NULL}};

START_TEST(without_the_command_it_is_a_script)
{
    struct redis_fixture *f = redis_fixture_start(renamed[_i]);
    struct redis_link *link = redis_fixture_link(f);
    push_makes(link, 1);
    push_makes(link, 2);
    ck_assert_int_eq(calls_of(link, "evalsha"), 2);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

static const char *const function_rights[] = {"-fcall", "-function|load"};

START_TEST(without_the_right_to_functions_it_is_a_script)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    send(link, "ACL", "SETUSER", "default", function_rights[_i]);
    push_makes(link, 1);
    push_makes(link, 2);
    ck_assert_int_eq(calls_of(link, "evalsha"), 2);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(without_any_right_that_is_what_is_told)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct script_call call;
    struct cb_error err = {0};
    script_call_init(&call, SCRIPT_PUSH);
    script_call_key(&call, "list");
    script_call_arg_str(&call, "x");
    send(link, "ACL", "SETUSER", "default", "-@scripting");
    ck_assert_int_eq(scripts_run(link, &call, NULL, &err), -1);
    ck_assert_int_eq(err.code, REDIS_AUTH);
    script_call_done(&call);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(sha_is_what_redis_says)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    for (int id = 0; id < SCRIPT_COUNT; id++) {
        struct cb_error err = {0};
        ck_assert_uint_eq(strlen(scripts_sha((enum script_id)id)), 40);
        ck_assert_ptr_eq(scripts_sha((enum script_id)id), scripts_sha((enum script_id)id));
        ck_assert_str_eq(scripts_name((enum script_id)id), script_sources[id].name);
        if (id != SCRIPT_PUSH)
            ck_assert_str_eq(scripts_text((enum script_id)id), script_sources[id].text);
        ck_assert_msg(scripts_load(link, (enum script_id)id, &err) == 0, "%s", err.text);
    }
    ck_assert_str_eq(
        scripts_text(SCRIPT_PUSH),
        "#!lua flags=allow-oom,allow-stale\n"
        "local main = function(keys, args)\nreturn redis.call('RPUSH', keys[1], args[1])\nend\n"
        "return main(KEYS,ARGV)\n");
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

/* Behind the script's own keys, so that their numbers stay; also in a call that is repeated, or used for another one. */
START_TEST(the_canary_is_the_last_key)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    f->target.cluster = redis_cluster_new("{cb}");
    struct redis_link *link = redis_fixture_link(f);
    struct script_call call;
    struct cb_error err = {0};
    script_call_init(&call, SCRIPT_ECHO);
    for (int keys = 0; keys < 3; keys++) {
        script_call_reset(&call, SCRIPT_ECHO);
        for (int i = 0; i < keys; i++)
            script_call_key(&call, "{cb}:k");
        script_call_arg_str(&call, "x");
        script_call_arg_int(&call, 7);
        for (int times = 0; times < 2; times++) {
            reply_t *r = NULL;
            ck_assert_msg(scripts_run(link, &call, &r, &err) == 0, "%s", err.text);
            ck_assert_int_eq(reply_int(reply_at(r, 0)), keys + 1);
            ck_assert_int_eq(reply_int(reply_at(r, 1)), 2);
            ck_assert_str_eq(reply_str(reply_at(reply_at(r, 2), (size_t)keys)),
                             "{cb}:requests:canary");
            ck_assert_int_eq(reply_int(reply_at(reply_at(r, 3), 1)), 7);
            reply_free(r);
        }
    }
    script_call_done(&call);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(run_loads_what_redis_forgot)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct script_call call;
    struct cb_error err = {0};
    script_call_init(&call, SCRIPT_ADD);
    script_call_key(&call, "counter");
    script_call_arg_int(&call, 5);
    for (int i = 1; i <= 4; i++) {
        reply_t *r = NULL;
        ck_assert_msg(scripts_run(link, &call, &r, &err) == 0, "%s", err.text);
        ck_assert_int_eq(reply_int(r), 5 * i);
        reply_free(r);
        if (i == 2)
            ck_assert_int_eq(redis_link_callv(link, NULL, &err, "SCRIPT", "FLUSH", NULL), 0);
    }
    script_call_done(&call);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(run_tells_the_fault)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct script_call call;
    struct cb_error err = {0};
    reply_t *untouched = NULL;
    script_call_init(&call, SCRIPT_FAIL);
    ck_assert_int_eq(scripts_run(link, &call, &untouched, &err), -1);
    ck_assert_int_eq(err.code, REDIS_OOM);
    ck_assert_ptr_null(untouched);
    ck_assert_int_eq(scripts_run(link, &call, NULL, NULL), -1);
    redis_fixture_kill(f);
    ck_assert_int_eq(scripts_run(link, &call, NULL, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    ck_assert_int_eq(scripts_load(link, SCRIPT_ADD, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    script_call_done(&call);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

static const enum script_id forgotten[] = {SCRIPT_ECHO, SCRIPT_PUSH};

START_TEST(appended_noscript_is_a_reply)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct script_call call;
    reply_t *r = NULL;
    script_call_init(&call, forgotten[_i]);
    scripts_append(link, &call);
    script_call_done(&call); /* what is appended is copied */
    ck_assert_int_eq(redis_link_read(link, 5000, &r, NULL), 0);
    ck_assert_int_eq(reply_fault(r), REDIS_NOSCRIPT);
    reply_free(r);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

/* Many arguments, so that every array grows; the call is moved in memory meanwhile; then used again. */
START_TEST(big_calls_keep_their_arguments)
{
    enum { INTS = 5000 };
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct script_call first, call;
    reply_t *r = NULL;
    script_call_init(&first, SCRIPT_ECHO);
    for (int round = 0; round < 2; round++) {
        script_call_key(&first, "k1");
        script_call_key(&first, "k2");
        for (int64_t i = 0; i < INTS; i++)
            script_call_arg_int(&first, i - INTS / 2);
        script_call_arg(&first, "a\0b", 3);
        call = first;
        script_call_arg_int(&call, INT64_MIN);
        script_call_arg_str(&call, "");
        ck_assert_int_eq(scripts_run(link, &call, &r, NULL), 0);
        ck_assert_int_eq(reply_int(reply_at(r, 0)), 2);
        ck_assert_int_eq(reply_int(reply_at(r, 1)), INTS + 3);
        ck_assert_str_eq(reply_str(reply_at(reply_at(r, 2), 1)), "k2");
        const reply_t *args = reply_at(r, 3);
        for (int64_t i = 0; i < INTS; i++)
            ck_assert_int_eq(reply_int(reply_at(args, (size_t)i)), i - INTS / 2);
        ck_assert_uint_eq(reply_bytes(reply_at(args, INTS)), 3);
        ck_assert_int_eq(reply_int(reply_at(args, INTS + 1)), INT64_MIN);
        ck_assert_uint_eq(reply_bytes(reply_at(args, INTS + 2)), 0);
        reply_free(r);
        first = call;
        script_call_reset(&first, SCRIPT_ECHO);
    }
    script_call_done(&first);
    script_call_done(&first);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(pipelined_calls)
{
    enum { COUNT = 500 };
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct script_call call;
    reply_t *r = NULL;
    ck_assert_int_eq(scripts_load(link, SCRIPT_ADD, NULL), 0);
    script_call_init(&call, SCRIPT_ADD);
    for (int i = 1; i <= COUNT; i++) {
        script_call_reset(&call, SCRIPT_ADD);
        script_call_key(&call, "n");
        script_call_arg_int(&call, 1);
        scripts_append(link, &call);
    }
    for (int i = 1; i <= COUNT; i++) {
        ck_assert_int_eq(redis_link_read(link, 5000, &r, NULL), 0);
        ck_assert_int_eq(reply_int(r), i);
        reply_free(r);
    }
    script_call_done(&call);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, sha_is_what_redis_says);
    tcase_add_test(tc, run_loads_what_redis_forgot);
    tcase_add_test(tc, the_canary_is_the_last_key);
    tcase_add_test(tc, run_tells_the_fault);
    tcase_add_loop_test(tc, appended_noscript_is_a_reply, 0, CB_ARRAY_LEN(forgotten));
    tcase_add_test(tc, big_calls_keep_their_arguments);
    tcase_add_test(tc, pipelined_calls);
    tcase_add_test(tc, function_names_say_which_text_they_are);
    tcase_add_test(tc, a_function_is_loaded_when_redis_does_not_have_it);
    tcase_add_test(tc, without_memory_for_the_library_it_is_a_script);
    tcase_add_loop_test(tc, without_the_command_it_is_a_script, 0, CB_ARRAY_LEN(renamed));
    tcase_add_loop_test(tc, without_the_right_to_functions_it_is_a_script, 0,
                        CB_ARRAY_LEN(function_rights));
    tcase_add_test(tc, without_any_right_that_is_what_is_told);
}

UNIT_MAIN("scripts", add_tests)
