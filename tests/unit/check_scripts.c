/*
 * check_scripts.c: calling scripts by name, against a real Redis. It brings three scripts of its own: the
 * generated header is kept out, and scripts.c is compiled in here, so that the test does not depend on
 * which scripts the project has.
 */
#include "common/compat.h"
#include "unit.h"

#define CB_SCRIPTS_ENUM_H
enum script_id { SCRIPT_ADD, SCRIPT_ECHO, SCRIPT_FAIL, SCRIPT_COUNT };
#include "common/scripts.c" /* NOLINT(bugprone-suspicious-include) */

#include "common/redis_cluster.h"
#include "redis_fixture.h"

const struct script_source script_sources[] = {
    {"add", "#!lua\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])\n"},
    {"echo", "return {#KEYS, #ARGV, KEYS, ARGV}"},
    {"fail", "return redis.error_reply('OOM so to speak')"},
    {NULL, NULL},
};

START_TEST(sha_is_what_redis_says)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    for (int id = 0; id < SCRIPT_COUNT; id++) {
        struct cb_error err = {0};
        ck_assert_uint_eq(strlen(scripts_sha((enum script_id)id)), 40);
        ck_assert_ptr_eq(scripts_sha((enum script_id)id), scripts_sha((enum script_id)id));
        ck_assert_str_eq(scripts_name((enum script_id)id), script_sources[id].name);
        ck_assert_str_eq(scripts_text((enum script_id)id), script_sources[id].text);
        ck_assert_msg(scripts_load(link, (enum script_id)id, &err) == 0, "%s", err.text);
    }
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

START_TEST(appended_noscript_is_a_reply)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct script_call call;
    reply_t *r = NULL;
    script_call_init(&call, SCRIPT_ECHO);
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
    tcase_add_test(tc, appended_noscript_is_a_reply);
    tcase_add_test(tc, big_calls_keep_their_arguments);
    tcase_add_test(tc, pipelined_calls);
}

UNIT_MAIN("scripts", add_tests)
