/*
 * check_redis_link.c: the link against a real Redis: handshake, pipelines, and the classes
 * of errors. Waiting and the event-loop calls are in check_redis_wait.c, hostile peers in
 * check_redis_hostile.c.
 */
#include "common/compat.h"
#include "unit.h"

#include "common/clock.h"
#include "common/mem.h"
#include "hostile_server.h"
#include "redis_fixture.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

/* ---- helpers ---- */

static void expect_status(struct redis_link *link, const char *expected)
{
    struct cb_error err = {0};
    reply_t *reply = NULL;
    ck_assert_msg(redis_link_read(link, 5000, &reply, &err) == 0, "%s", err.text);
    ck_assert_str_eq(reply_str(reply), expected);
    reply_free(reply);
}

/* Sends one command made of words and returns what comes back. */
#define COMMAND(link, ...) (redis_link_appendv((link), __VA_ARGS__, NULL), read_reply(link))
static reply_t *read_reply(struct redis_link *link)
{
    struct cb_error err = {0};
    reply_t *reply = NULL;
    ck_assert_msg(redis_link_read(link, 5000, &reply, &err) == 0, "%s", err.text);
    return reply;
}

#define EXPECT_FAULT(link, fault, ...)                                                             \
    do {                                                                                           \
        struct cb_error fault_err = {0};                                                           \
        int fault_rc = redis_link_callv((link), NULL, &fault_err, __VA_ARGS__, NULL);              \
        ck_assert_int_eq(fault_rc, -1);                                                            \
        ck_assert_msg(fault_err.code == (fault), "%s: %s",                                         \
                      redis_fault_name((enum redis_fault)fault_err.code), fault_err.text);         \
    } while (0)

static void call_ok(struct redis_link *link, const char *a, const char *b, const char *c,
                    const char *d)
{
    struct cb_error err = {0};
    ck_assert_msg(redis_link_callv(link, NULL, &err, a, b, c, d, NULL) == 0, "%s", err.text);
}

static void expect_open_fails(const struct redis_target *target, enum redis_fault fault)
{
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    ck_assert_int_eq(redis_link_open(target, NULL, &link, &err), -1);
    ck_assert_ptr_null(link);
    ck_assert_msg(err.code == (int)fault, "%s: %s", redis_fault_name((enum redis_fault)err.code),
                  err.text);
}

/* ---- opening ---- */

START_TEST(opens_on_unix_socket)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *a = NULL, *b = NULL;
    ck_assert_int_eq(redis_link_open(&f->target, "host/task/1.2", &a, NULL), 0);
    f->target.db = 7;
    ck_assert_int_eq(redis_link_open(&f->target, NULL, &b, NULL), 0);
    ck_assert_int_gt(redis_link_id(a), 0);
    ck_assert_int_ne(redis_link_id(a), redis_link_id(b));
    ck_assert(redis_link_is_open(a) && !redis_link_is_lost(a));
    ck_assert_int_ge(redis_link_fd(a), 0);
    ck_assert_uint_eq(redis_link_awaited(a), 0);
    reply_t *name = COMMAND(a, "CLIENT", "GETNAME");
    ck_assert_str_eq(reply_str(name), "host/task/1.2");
    reply_free(name);
    reply_t *info = COMMAND(b, "CLIENT", "INFO");
    ck_assert_ptr_nonnull(strstr(reply_str(info), " db=7 "));
    reply_free(info);
    redis_link_free(a);
    redis_link_free(b);
    redis_link_free(NULL);
    redis_fixture_free(f);
}
END_TEST

static int tcp_option(struct redis_link *link, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    ck_assert_int_eq(getsockopt(redis_link_fd(link), level, name, &value, &len), 0);
    return value;
}

START_TEST(opens_on_tcp)
{
    struct redis_fixture *f = redis_fixture_start_tcp(NULL);
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    for (size_t i = 0; i < CB_ARRAY_LEN(hosts); i++) {
        char url[64];
        struct redis_target t;
        struct redis_link *link = NULL;
        struct cb_error err = {0};
        snprintf(url, sizeof url, "redis://%s:%d/1", hosts[i], f->port);
        ck_assert_int_eq(redis_target_parse(url, &t, &err), 0);
        ck_assert_msg(redis_link_open(&t, "tcp", &link, &err) == 0, "%s", err.text);
        ck_assert_int_eq(tcp_option(link, SOL_SOCKET, SO_KEEPALIVE), 1);
        ck_assert_int_eq(tcp_option(link, IPPROTO_TCP, TCP_NODELAY), 1);
        ck_assert_int_eq(fcntl(redis_link_fd(link), F_GETFD), FD_CLOEXEC);
        call_ok(link, "ECHO", "x", NULL, NULL);
        redis_link_free(link);
        redis_target_done(&t);
    }
    redis_fixture_free(f);
}
END_TEST

START_TEST(open_fails_when_nobody_listens)
{
    struct redis_fixture *f = redis_fixture_start_tcp(NULL);
    struct redis_target tcp = {
        .host = mem_strdup("127.0.0.1"), .port = f->port, .timeout_ms = 5000};
    redis_fixture_kill(f);
    expect_open_fails(&f->target, REDIS_LOST);
    expect_open_fails(&tcp, REDIS_LOST);
    redis_target_done(&tcp);
    struct redis_target nowhere = {.unix_path = mem_strdup("/nonexistent/sock"),
                                   .timeout_ms = 5000};
    expect_open_fails(&nowhere, REDIS_LOST);
    redis_target_done(&nowhere);
    redis_fixture_free(f);
}
END_TEST

START_TEST(open_is_bounded_by_the_time_out)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    f->target.timeout_ms = 150;
    redis_fixture_stop(f);
    int64_t begin = clock_mono_ms();
    expect_open_fails(&f->target, REDIS_LOST);
    ck_assert_int_ge(clock_mono_ms() - begin, 150);
    ck_assert_int_lt(clock_mono_ms() - begin, 3000);
    redis_fixture_cont(f);
    redis_fixture_free(f);
}
END_TEST

START_TEST(open_retries_a_full_queue)
{
    struct hostile_server s;
    struct redis_link *first = NULL, *second = NULL;
    struct cb_error err = {0};
    hostile_server_start(&s, &(struct hostile_plan){.handshake = "", .is_deaf = true});
    s.target.timeout_ms = 150;
    ck_assert_int_eq(redis_link_start(&s.target, NULL, &first, &err), 0);
    expect_open_fails(&s.target, REDIS_LOST);
    ck_assert_int_eq(redis_link_start(&s.target, NULL, &second, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    redis_link_free(first);
    hostile_server_done(&s);
}
END_TEST

START_TEST(names_are_looked_up_in_time)
{
    struct redis_target t = {
        .host = mem_strdup("no-such-host.invalid"), .port = 1, .timeout_ms = 300};
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    int64_t begin = clock_mono_ms();
    ck_assert_int_eq(redis_link_start(&t, NULL, &link, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    expect_open_fails(&t, REDIS_LOST);
    ck_assert_int_lt(clock_mono_ms() - begin, 3000);
    /* In the end the resolver itself says no, and its thread is gone. */
    for (int64_t until = begin + 50000; strstr(err.text, "no answer");) {
        ck_assert_int_lt(clock_mono_ms(), until);
        ck_assert_int_eq(redis_link_open(&t, NULL, &link, &err), -1);
    }
    redis_target_done(&t);
}
END_TEST

START_TEST(password_right_wrong_missing)
{
    static const char *const args[] = {"--requirepass", "sesame", NULL};
    struct redis_fixture *f = redis_fixture_start(args);
    struct cb_error err = {0};
    struct redis_link *link = NULL;
    expect_open_fails(&f->target, REDIS_AUTH);
    free(f->target.password);
    f->target.password = mem_strdup("wrong");
    expect_open_fails(&f->target, REDIS_AUTH);
    free(f->target.password);
    f->target.password = mem_strdup("sesame");
    ck_assert_msg(redis_link_open(&f->target, NULL, &link, &err) == 0, "%s", err.text);
    redis_link_free(link);
    free(f->target.user);
    f->target.user = mem_strdup("nobody");
    expect_open_fails(&f->target, REDIS_AUTH);
    redis_fixture_free(f);
}
END_TEST

START_TEST(password_that_redis_does_not_want)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    free(f->target.password);
    f->target.password = mem_strdup("sesame");
    expect_open_fails(&f->target, REDIS_AUTH);
    redis_fixture_free(f);
}
END_TEST

START_TEST(acl_user)
{
    static const char *const args[] = {"--user",       "daemon", "on",    ">pw",
                                       "+@connection", "+get",   "~cb:*", NULL};
    struct redis_fixture *f = redis_fixture_start(args);
    free(f->target.user);
    free(f->target.password);
    f->target.user = mem_strdup("daemon");
    f->target.password = mem_strdup("pw");
    struct redis_link *link = redis_fixture_link(f);
    call_ok(link, "GET", "cb:x", NULL, NULL);
    EXPECT_FAULT(link, REDIS_AUTH, "GET", "x");
    EXPECT_FAULT(link, REDIS_AUTH, "SET", "cb:x", "1");
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(database_out_of_range)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    f->target.db = 99999;
    expect_open_fails(&f->target, REDIS_ERROR);
    redis_fixture_free(f);
}
END_TEST

START_TEST(too_many_clients_is_weather)
{
    static const char *const args[] = {"--maxclients", "1", NULL};
    struct redis_fixture *f = redis_fixture_start(args);
    struct redis_link *link = redis_fixture_link(f);
    expect_open_fails(&f->target, REDIS_LOST);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(loading_is_seen_at_open)
{
    static const char *const args[] = {
        "--save", "3600 1000000",           "--loading-process-events-interval-bytes",
        "1024",   "--enable-debug-command", "local",
        NULL};
    static const char *const slow[] = {"--loading-process-events-interval-bytes", "1024",
                                       "--key-load-delay", "20000", NULL};
    struct redis_fixture *f = redis_fixture_start(args);
    struct redis_link *link = redis_fixture_link(f);
    call_ok(link, "DEBUG", "POPULATE", "2000", NULL); /* 2000 keys × 20 ms */
    call_ok(link, "SAVE", NULL, NULL, NULL);
    redis_link_free(link);
    redis_fixture_kill(f);
    redis_fixture_set_args(f, slow);
    redis_fixture_spawn(f);
    struct cb_error err = {.code = REDIS_LOST};
    int64_t deadline_ms = clock_mono_ms() + 20000;
    while (err.code == REDIS_LOST && clock_mono_ms() < deadline_ms) {
        ck_assert_int_eq(redis_link_open(&f->target, NULL, &link, &err), -1);
        poll(NULL, 0, 1);
    }
    ck_assert_msg(err.code == REDIS_LOADING, "%s", err.text);
    redis_fixture_free(f);
}
END_TEST

/* ---- commands ---- */

START_TEST(reply_shapes)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    reply_t *r = COMMAND(link, "EVAL", "return {1, 'a', {2, '-3'}, redis.status_reply('S'), false}",
                         "0");
    ck_assert_int_eq(reply_type(r), REPLY_ARRAY);
    ck_assert_uint_eq(reply_len(r), 5);
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
    ck_assert_uint_eq(reply_len(NULL), 0);
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
    ck_assert_uint_eq(reply_len(r), 10);
    ck_assert_mem_eq(reply_str(r), argv[1], 10);
    ck_assert_int_eq(reply_str(r)[10], '\0');
    reply_free(r);
    r = COMMAND(link, "ECHO", "");
    ck_assert_int_eq(reply_type(r), REPLY_STRING);
    ck_assert_uint_eq(reply_len(r), 0);
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
        ck_assert_uint_eq(reply_len(r), 2);
        ck_assert_uint_eq(reply_len(reply_at(r, 1)), SIZE);
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
    EXPECT_FAULT(link, REDIS_LOADING, "GET", "k"); /* MASTERDOWN */
    expect_open_fails(&f->target, REDIS_LOADING);
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
        {"-MASTERDOWN Link with MASTER is down", REDIS_LOADING},
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
        reply_free(r);
    }
    redis_link_free(link);
    hostile_server_done(&s);
}
END_TEST

START_TEST(faults_have_names)
{
    for (int a = REDIS_OK; a <= REDIS_ERROR; a++)
        for (int b = REDIS_OK; b < a; b++)
            ck_assert_str_ne(redis_fault_name((enum redis_fault)a),
                             redis_fault_name((enum redis_fault)b));
    ck_assert_str_eq(redis_fault_name((enum redis_fault)99), "unknown");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, opens_on_unix_socket);
    tcase_add_test(tc, opens_on_tcp);
    tcase_add_test(tc, open_fails_when_nobody_listens);
    tcase_add_test(tc, open_is_bounded_by_the_time_out);
    tcase_add_test(tc, open_retries_a_full_queue);
    tcase_add_test(tc, names_are_looked_up_in_time);
    tcase_add_test(tc, password_right_wrong_missing);
    tcase_add_test(tc, password_that_redis_does_not_want);
    tcase_add_test(tc, acl_user);
    tcase_add_test(tc, database_out_of_range);
    tcase_add_test(tc, too_many_clients_is_weather);
    tcase_add_test(tc, loading_is_seen_at_open);
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
    tcase_add_test(tc, faults_have_names);
}

UNIT_MAIN("redis_link", add_tests)
