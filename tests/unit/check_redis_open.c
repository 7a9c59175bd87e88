/*
 * check_redis_open.c: opening a link to a real Redis: addresses, time-outs, user and password, a server that is not ready.
 */
#include "common/compat.h"
#include "tests/unit/redis_calls.h"

#include "common/clock.h"
#include "common/mem.h"
#include "hostile_server.h"
#include "redis_fixture.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

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
    expect_open_fails(&f->target, REDIS_MAXCLIENTS);
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
}

UNIT_MAIN("redis_open", add_tests)
