/*
 * check_redis_link.c: the link against a real Redis: replies, pipelines, and the classes of errors. Opening is in
 * check_redis_open.c, waiting and the event-loop calls are in check_redis_wait.c, hostile peers in
 * check_redis_hostile.c.
 */
#include "common/compat.h"
#include "tests/unit/redis_calls.h"

#include "common/clock.h"
#include "common/mem.h"
#include "hostile_server.h"
#include "redis_fixture.h"

/* ---- commands ---- */

START_TEST(reply_shapes)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    reply_t *r = COMMAND(link, "EVAL", "return {1, 'a', {2, '-3'}, redis.status_reply('S'), false}",
                         "0");
    ck_assert_int_eq(reply_type(r), REPLY_ARRAY);
    ck_assert_uint_eq(reply_count(r), 5);
    ck_assert_uint_eq(reply_bytes(r), 0); /* as long as reply_str() is */
    ck_assert_int_eq(reply_int(reply_at(r, 0)), 1);
    ck_assert_str_eq(reply_str(reply_at(r, 1)), "a");
    ck_assert_int_eq(reply_int(reply_at(r, 1)), 0);
    ck_assert_int_eq(reply_int(reply_at(reply_at(r, 2), 1)), -3);
    ck_assert_int_eq(reply_type(reply_at(r, 3)), REPLY_STATUS);
    ck_assert_int_eq(reply_type(reply_at(r, 4)), REPLY_NIL);
    ck_assert_str_eq(reply_str(reply_at(r, 4)), "");
    ck_assert_ptr_null(reply_at(r, 5));
    ck_assert_ptr_null(reply_at(reply_at(r, 0), 0));
    ck_assert_int_eq(reply_fault(r), REDIS_OK);
    reply_free(r);
    ck_assert_int_eq(reply_type(NULL), REPLY_NIL);
    ck_assert_uint_eq(reply_bytes(NULL), 0);
    ck_assert_uint_eq(reply_count(NULL), 0);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(numbers_in_strings)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"0", 0},    {"42", 42},    {"-7", -7},  {"9223372036854775807", INT64_MAX},
        {"", 0},     {"1 ", 0},     {" 1", 0},   {"9223372036854775808", 0},
        {"+1", 0},   {"1e3", 0},    {"-", 0},    {"-9223372036854775808", INT64_MIN},
        {"0x10", 0}, {"twelve", 0}, {"12-3", 0}, {"\t5", 0},
    };
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    for (size_t i = 0; i < CB_ARRAY_LEN(cases); i++) {
        reply_t *r = COMMAND(link, "ECHO", cases[i].text);
        ck_assert_msg(reply_int(r) == cases[i].value, "'%s'", cases[i].text);
        reply_free(r);
    }
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(bytes_survive)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    const char *argv[] = {"ECHO", "a\0\r\n$5\r\nb"};
    const size_t lens[] = {4, 10};
    reply_t *r = NULL;
    ck_assert_int_eq(redis_link_call(link, &r, NULL, 2, argv, lens), 0);
    ck_assert_uint_eq(reply_bytes(r), 10);
    ck_assert_uint_eq(reply_count(r), 0);
    ck_assert_mem_eq(reply_str(r), argv[1], 10);
    ck_assert_int_eq(reply_str(r)[10], '\0');
    reply_free(r);
    r = COMMAND(link, "ECHO", "");
    ck_assert_int_eq(reply_type(r), REPLY_STRING);
    ck_assert_uint_eq(reply_bytes(r), 0);
    reply_free(r);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(pipeline_keeps_the_order)
{
    enum { COUNT = 20000 };
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    char number[12];
    for (int i = 0; i < COUNT; i++) {
        snprintf(number, sizeof number, "%d", i);
        redis_link_appendv(link, "ECHO", number, NULL);
    }
    ck_assert_uint_gt(redis_link_queued(link), COUNT);
    ck_assert_uint_eq(redis_link_awaited(link), COUNT);
    for (int i = 0; i < COUNT; i++) {
        reply_t *r = read_reply(link);
        ck_assert_int_eq(reply_int(r), i);
        reply_free(r);
    }
    ck_assert_uint_eq(redis_link_queued(link), 0);
    ck_assert_uint_eq(redis_link_awaited(link), 0);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(first_read_writes_all)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    char *big = mem_alloc(4 << 20);
    memset(big, 'x', (4 << 20) - 1);
    redis_link_appendv(link, "PING", NULL);
    redis_link_appendv(link, "SET", "k", big, NULL);
    redis_link_appendv(link, "GET", "k", NULL);
    expect_status(link, "PONG");
    ck_assert_uint_eq(redis_link_queued(link), 0);
    expect_status(link, "OK");
    expect_status(link, big);
    free(big);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

/* The echo server answers nothing before it has got rid of what it answered before: who writes all
 * before reading, or the other way round, hangs. */
START_TEST(two_full_buffers_do_not_lock)
{
    enum { COUNT = 64, SIZE = 300000 };
    struct hostile_server s;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    hostile_server_start(&s,
                         &(struct hostile_plan){.handshake = HOSTILE_HANDSHAKE, .is_echo = true});
    ck_assert_int_eq(redis_link_open(&s.target, NULL, &link, &err), 0);
    char *big = mem_alloc(SIZE + 1);
    memset(big, 'y', SIZE);
    redis_link_appendv(link, "GO", NULL);
    for (int i = 0; i < COUNT; i++)
        redis_link_appendv(link, "ECHO", big, NULL);
    reply_t *go = read_reply(link);
    ck_assert_str_eq(reply_str(go), "OK");
    reply_free(go);
    for (int i = 0; i < COUNT; i++) {
        reply_t *r = read_reply(link);
        ck_assert_uint_eq(reply_count(r), 2);
        ck_assert_uint_eq(reply_bytes(reply_at(r, 1)), SIZE);
        reply_free(r);
    }
    free(big);
    redis_link_free(link);
    hostile_server_done(&s);
}
END_TEST

START_TEST(call_tells_error_from_loss)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct cb_error err = {0};
    reply_t *untouched = NULL;
    ck_assert_int_eq(redis_link_callv(link, &untouched, &err, "NONSENSE", "\r\n", NULL), -1);
    ck_assert_ptr_null(untouched);
    ck_assert_int_eq(err.code, REDIS_ERROR);
    ck_assert_int_eq(strncmp(err.text, "ERR unknown command", 19), 0);
    ck_assert_ptr_null(strpbrk(err.text, "\r\n"));
    ck_assert(!redis_link_is_lost(link));
    call_ok(link, "PING", NULL, NULL, NULL);
    ck_assert_int_eq(redis_link_callv(link, NULL, NULL, "NONSENSE", NULL), -1);
    redis_fixture_kill(f);
    EXPECT_FAULT(link, REDIS_LOST, "PING");
    ck_assert(redis_link_is_lost(link) && !redis_link_is_open(link));
    EXPECT_FAULT(link, REDIS_LOST, "PING");
    redis_link_appendv(link, "PING", NULL);
    reply_t *none = NULL;
    ck_assert_int_eq(redis_link_read(link, 10, &none, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    redis_link_free(link);
    redis_fixture_restart(f);
    link = redis_fixture_link(f);
    call_ok(link, "PING", NULL, NULL, NULL);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

/* ---- classes of errors ---- */

START_TEST(faults_of_a_master)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    EXPECT_FAULT(link, REDIS_NOSCRIPT, "EVALSHA", "0000000000000000000000000000000000000000", "0");
    EXPECT_FAULT(link, REDIS_NOGROUP, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "none", ">");
    EXPECT_FAULT(link, REDIS_ERROR, "HGET", "k");
    call_ok(link, "SET", "k", "v", NULL);
    EXPECT_FAULT(link, REDIS_ERROR, "HGET", "k", "f");
    EXPECT_FAULT(link, REDIS_ERROR, "EVAL", "error('OOM is not the first word')", "0");
    call_ok(link, "CONFIG", "SET", "min-replicas-to-write", "1");
    EXPECT_FAULT(link, REDIS_NOREPLICAS, "SET", "k", "v");
    call_ok(link, "CONFIG", "SET", "min-replicas-to-write", "0");
    call_ok(link, "CONFIG", "SET", "maxmemory", "1");
    EXPECT_FAULT(link, REDIS_OOM, "SET", "k", "v");
    EXPECT_FAULT(link, REDIS_OOM, "EVAL", "return redis.call('SET', KEYS[1], 'v')", "1", "k");
    EXPECT_FAULT(link, REDIS_OOM, "EVAL", "#!lua\nreturn redis.call('SET', KEYS[1], 'v')", "1",
                 "k");
    EXPECT_FAULT(link, REDIS_OOM, "EVAL", "return redis.error_reply('-OOM by hand')", "0");
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(faults_of_a_replica)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct redis_link *other = redis_fixture_link(f);
    redis_link_appendv(link, "BLPOP", "list", "0", NULL);
    struct cb_error err = {0};
    ck_assert_int_eq(redis_link_on_writable(link, &err), 0);
    call_ok(other, "REPLICAOF", "127.0.0.1", "1", NULL);
    reply_t *r = read_reply(link);
    ck_assert_int_eq(reply_fault(r), REDIS_READONLY); /* UNBLOCKED; then Redis hangs up */
    reply_free(r);
    redis_link_free(link);
    link = redis_fixture_link(f);
    EXPECT_FAULT(link, REDIS_READONLY, "SET", "k", "v");
    call_ok(link, "CONFIG", "SET", "replica-serve-stale-data", "no");
    EXPECT_FAULT(link, REDIS_READONLY, "GET", "k"); /* MASTERDOWN */
    expect_open_fails(&f->target, REDIS_READONLY);
    redis_link_free(link);
    redis_link_free(other);
    redis_fixture_free(f);
}
END_TEST

START_TEST(busy_script)
{
    static const char *const args[] = {"--busy-reply-threshold", "10", NULL};
    struct redis_fixture *f = redis_fixture_start(args);
    struct redis_link *link = redis_fixture_link(f);
    struct redis_link *killer = redis_fixture_link(f);
    struct redis_link *none = NULL;
    struct cb_error err = {0};
    redis_link_appendv(link, "EVAL", "while true do end", "0", NULL);
    ck_assert_int_eq(redis_link_on_writable(link, &err), 0);
    int rc = 0;
    for (int64_t until = clock_mono_ms() + 20000; rc == 0 && clock_mono_ms() < until;)
        rc = redis_link_callv(killer, NULL, &err, "PING", NULL);
    ck_assert_int_eq(rc, -1);
    ck_assert_int_eq(err.code, REDIS_BUSY);
    ck_assert_int_eq(redis_link_open(&f->target, "name", &none, &err), -1);
    ck_assert_int_eq(err.code, REDIS_BUSY);
    call_ok(killer, "SCRIPT", "KILL", NULL, NULL);
    reply_t *r = read_reply(link);
    ck_assert(reply_is_error(r));
    reply_free(r);
    redis_link_free(link);
    redis_link_free(killer);
    redis_fixture_free(f);
}
END_TEST

START_TEST(faults_by_first_word)
{
    static const struct {
        const char *line;
        enum redis_fault fault;
    } cases[] = {
        {"-NOSCRIPT No matching script. Please use EVAL.", REDIS_NOSCRIPT},
        {"-NOGROUP No such key", REDIS_NOGROUP},
        {"-LOADING Redis is loading", REDIS_LOADING},
        {"-MASTERDOWN Link with MASTER is down", REDIS_READONLY},
        {"-BUSY Redis is busy running a script", REDIS_BUSY},
        {"-BUSYGROUP Consumer Group name already exists", REDIS_ERROR},
        {"-READONLY You can't write against a read only replica. script: f", REDIS_READONLY},
        {"-UNBLOCKED force unblock", REDIS_READONLY},
        {"-OOM command not allowed when used memory > 'maxmemory'. script: x", REDIS_OOM},
        {"-MISCONF Redis is configured to save RDB snapshots", REDIS_MISCONF},
        {"-NOREPLICAS Not enough good replicas to write.", REDIS_NOREPLICAS},
        {"-NOAUTH Authentication required.", REDIS_AUTH},
        {"-WRONGPASS invalid username-password pair", REDIS_AUTH},
        {"-NOPERM this user has no permissions", REDIS_AUTH},
        {"-DENIED Redis is running in protected mode", REDIS_AUTH},
        {"-ASK 4765 127.0.0.1:6381", REDIS_MIGRATING},
        {"-TRYAGAIN Multiple keys request during rehashing of slot", REDIS_MIGRATING},
        {"-CLUSTERDOWN Hash slot not served", REDIS_CLUSTERDOWN},
        {"-ERR max number of clients reached", REDIS_MAXCLIENTS},
        {"-ERR maximum", REDIS_ERROR},
        {"-OOM", REDIS_OOM},
        {"-", REDIS_ERROR},
        {"-oom lower case", REDIS_ERROR},
        {"+OOM is no error here", REDIS_OK},
    };
    char payload[4096] = "";
    struct hostile_server s;
    struct redis_link *link = NULL;
    for (size_t i = 0, at = 0; i < CB_ARRAY_LEN(cases); i++)
        at += (size_t)snprintf(payload + at, sizeof payload - at, "%s\r\n", cases[i].line);
    hostile_server_start(
        &s, &(struct hostile_plan){.handshake = HOSTILE_HANDSHAKE, .payload = payload, .chunk = 7});
    ck_assert_int_eq(redis_link_open(&s.target, NULL, &link, NULL), 0);
    redis_link_appendv(link, "GO", NULL);
    for (size_t i = 1; i < CB_ARRAY_LEN(cases); i++)
        redis_link_appendv(link, "x", NULL);
    for (size_t i = 0; i < CB_ARRAY_LEN(cases); i++) {
        reply_t *r = read_reply(link);
        ck_assert_msg(reply_fault(r) == cases[i].fault, "%s", cases[i].line);
        if (reply_is_error(r)) { /* the meaning first, and Redis' own words behind it */
            struct cb_error err = {0};
            bool is_known = cases[i].fault != REDIS_ERROR;
            const char *behind = (reply_error(r, &err), strstr(err.text, reply_str(r)));
            ck_assert_int_eq(err.code, (int)cases[i].fault);
            ck_assert_ptr_nonnull(behind);
            ck_assert_msg((behind > err.text + 20 && behind[-1] == '(') == is_known, "%s",
                          err.text);
        }
        reply_free(r);
    }
    redis_link_free(link);
    hostile_server_done(&s);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, reply_shapes);
    tcase_add_test(tc, numbers_in_strings);
    tcase_add_test(tc, bytes_survive);
    tcase_add_test(tc, pipeline_keeps_the_order);
    tcase_add_test(tc, first_read_writes_all);
    tcase_add_test(tc, two_full_buffers_do_not_lock);
    tcase_add_test(tc, call_tells_error_from_loss);
    tcase_add_test(tc, faults_of_a_master);
    tcase_add_test(tc, faults_of_a_replica);
    tcase_add_test(tc, busy_script);
    tcase_add_test(tc, faults_by_first_word);
}

UNIT_MAIN("redis_link", add_tests)
