/*
 * check_redis_wait.c: the link while it waits: time-outs, idle hook, wake fd, a Redis that is stopped or
 * killed, and the calls for an event loop.
 */
#include "common/compat.h"
#include "unit.h"

#include "common/clock.h"
#include "hostile_server.h"
#include "redis_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

/* What a hook saw, and what it shall do. */
struct hook {
    unsigned calls;
    unsigned stop_at; /* returns false from this call on; 0: never */
    int drain_fd;     /* read when called; -1: none */
    int64_t last_ms;
    int64_t gap_ms; /* the longest between two calls */
};

static bool on_idle(void *arg)
{
    struct hook *h = arg;
    char sink[16];
    int64_t now = clock_mono_ms();
    if (h->calls > 0 && now - h->last_ms > h->gap_ms)
        h->gap_ms = now - h->last_ms;
    h->last_ms = now;
    h->calls++;
    if (h->drain_fd >= 0)
        while (read(h->drain_fd, sink, sizeof sink) > 0)
            ;
    return h->stop_at == 0 || h->calls < h->stop_at;
}

static int64_t cpu_ms(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
           (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

static void call_ok(struct redis_link *link, const char *a, const char *b, const char *c)
{
    struct cb_error err = {0};
    ck_assert_msg(redis_link_callv(link, NULL, &err, a, b, c, NULL) == 0, "%s", err.text);
}

START_TEST(read_times_out)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct cb_error err = {0};
    reply_t *r = NULL;
    redis_fixture_stop(f);
    redis_link_appendv(link, "PING", NULL);
    int64_t begin = clock_mono_ms(), cpu = cpu_ms();
    ck_assert_int_eq(redis_link_read(link, 300, &r, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    ck_assert_ptr_null(r);
    ck_assert(redis_link_is_lost(link));
    ck_assert_int_ge(clock_mono_ms() - begin, 300);
    ck_assert_int_lt(cpu_ms() - cpu, 150);
    redis_fixture_cont(f);
    ck_assert_int_eq(redis_link_read(link, 300, &r, &err), -1); /* its answer comes too late */
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(write_times_out)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct cb_error err = {0};
    reply_t *r = NULL;
    char *big = calloc(1, 8 << 20);
    const char *argv[] = {"ECHO", big};
    const size_t lens[] = {4, 8 << 20};
    redis_fixture_stop(f);
    redis_link_append(link, 2, argv, lens);
    ck_assert_int_eq(redis_link_read(link, 200, &r, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    free(big);
    redis_link_free(link);
    redis_fixture_cont(f);
    redis_fixture_free(f);
}
END_TEST

START_TEST(waiting_goes_on_beating)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct hook hook = {.drain_fd = -1};
    struct cb_error err = {0};
    reply_t *r = NULL;
    redis_link_set_idle(link, on_idle, &hook);
    redis_link_appendv(link, "BLPOP", "none", "1", NULL);
    ck_assert_int_eq(redis_link_read(link, 5000, &r, &err), 0);
    ck_assert_int_eq(reply_type(r), REPLY_NIL);
    reply_free(r);
    ck_assert_uint_ge(hook.calls, 3);
    ck_assert_uint_le(hook.calls, 8);
    redis_fixture_stop(f);
    hook = (struct hook){.drain_fd = -1};
    redis_link_appendv(link, "PING", NULL);
    ck_assert_int_eq(redis_link_read(link, 700, &r, &err), -1);
    ck_assert_uint_ge(hook.calls, 2);
    redis_fixture_cont(f);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

/* Replies that trickle in must not starve the hook, nor put off the end. */
START_TEST(a_drip_neither_starves_the_hook_nor_the_deadline)
{
    struct hostile_server s;
    struct redis_link *link = NULL;
    struct hook hook = {.drain_fd = -1};
    struct cb_error err = {0};
    reply_t *r = NULL;
    hostile_server_start(&s, &(struct hostile_plan){.handshake = HOSTILE_HANDSHAKE,
                                                    .payload = "$60000000\r\nxxxxxxxxxxxxxxxxxxxxx",
                                                    .chunk = 1,
                                                    .pause_ms = 2,
                                                    .is_endless = true});
    ck_assert_int_eq(redis_link_open(&s.target, NULL, &link, &err), 0);
    redis_link_set_idle(link, on_idle, &hook);
    redis_link_appendv(link, "GO", NULL);
    int64_t begin = clock_mono_ms();
    ck_assert_int_eq(redis_link_read(link, 900, &r, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    ck_assert_int_lt(clock_mono_ms() - begin, 5000);
    ck_assert_uint_ge(hook.calls, 3);
    redis_link_free(link);
    hostile_server_done(&s);
}
END_TEST

START_TEST(hook_stops_a_read_and_the_reply_is_still_due)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f), *other = redis_fixture_link(f);
    struct hook hook = {.drain_fd = -1, .stop_at = 1};
    struct cb_error err = {0};
    reply_t *r = NULL;
    redis_link_set_idle(link, on_idle, &hook);
    redis_link_appendv(link, "BLPOP", "list", "0", NULL);
    ck_assert_int_eq(redis_link_read(link, 60000, &r, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    ck_assert(!redis_link_is_lost(link));
    ck_assert_uint_eq(redis_link_awaited(link), 1);
    hook.stop_at = 0;
    call_ok(other, "RPUSH", "list", "x");
    ck_assert_int_eq(redis_link_read(link, 5000, &r, &err), 0);
    ck_assert_str_eq(reply_str(reply_at(r, 1)), "x");
    reply_free(r);
    redis_link_free(other);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(hook_stops_a_call_and_the_link_is_lost)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct hook hook = {.drain_fd = -1, .stop_at = 1};
    struct cb_error err = {0};
    redis_fixture_stop(f);
    redis_link_set_idle(link, on_idle, &hook);
    ck_assert_int_eq(redis_link_callv(link, NULL, &err, "PING", NULL), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    ck_assert(redis_link_is_lost(link));
    redis_fixture_cont(f);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(wake_fd_calls_the_hook_at_once)
{
    enum { WAKES = 20 };
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct cb_error err = {0};
    reply_t *r = NULL;
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    struct hook hook = {.drain_fd = ends[0], .stop_at = 1};
    redis_link_set_idle(link, on_idle, &hook);
    redis_link_set_wake_fd(link, ends[0]);
    redis_link_appendv(link, "BLPOP", "list", "0", NULL);
    int64_t begin = clock_mono_ms();
    for (int i = 0; i < WAKES; i++) {
        ck_assert_int_eq(write(ends[1], "x", 1), 1);
        ck_assert_int_eq(redis_link_read(link, 60000, &r, &err), -1);
        ck_assert(!redis_link_is_lost(link));
    }
    ck_assert_uint_eq(hook.calls, WAKES);
    ck_assert_int_lt(clock_mono_ms() - begin, WAKES * REDIS_LINK_IDLE_MS / 2);
    close(ends[0]);
    close(ends[1]);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(wake_fd_left_readable_does_not_spin)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct hook hook = {.drain_fd = -1};
    struct cb_error err = {0};
    reply_t *r = NULL;
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    close(ends[1]); /* end of file, for ever */
    redis_link_set_idle(link, on_idle, &hook);
    redis_link_set_wake_fd(link, ends[0]);
    redis_link_appendv(link, "BLPOP", "none", "1", NULL);
    ck_assert_int_eq(redis_link_read(link, 5000, &r, &err), 0);
    reply_free(r);
    ck_assert_uint_ge(hook.calls, 17);
    ck_assert_uint_le(hook.calls, 17 * 8);
    close(ends[0]);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

static void on_signal(int signal)
{
    (void)signal;
}

START_TEST(signals_do_not_end_a_wait)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct itimerval often = {{0, 3000}, {0, 3000}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = on_signal}, old;
    struct cb_error err = {0};
    reply_t *r = NULL;
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &often, NULL);
    redis_link_appendv(link, "BLPOP", "none", "0.5", NULL);
    int rc = redis_link_read(link, 5000, &r, &err);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    ck_assert_msg(rc == 0, "%s", err.text);
    reply_free(r);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(kill_ends_a_blocking_read_at_once)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct cb_error err = {0};
    reply_t *r = NULL;
    redis_link_appendv(link, "BLPOP", "none", "0", NULL);
    ck_assert_int_eq(redis_link_on_writable(link, &err), 0);
    redis_fixture_kill(f);
    int64_t begin = clock_mono_ms();
    ck_assert_int_eq(redis_link_read(link, 60000, &r, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    ck_assert_int_lt(clock_mono_ms() - begin, 5000);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

/* SIGPIPE is left alone by the test: a write to a dead peer must not raise it. */
START_TEST(writing_to_a_dead_peer)
{
    struct redis_fixture *f = redis_fixture_start_tcp(NULL);
    struct redis_link *link = redis_fixture_link(f);
    struct cb_error err = {0};
    redis_fixture_kill(f);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(redis_link_callv(link, NULL, &err, "PING", NULL), -1);
        ck_assert_int_eq(err.code, REDIS_LOST);
    }
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(await_calls_the_hook)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = NULL;
    struct hook hook = {.drain_fd = -1};
    struct cb_error err = {0};
    redis_fixture_stop(f);
    f->target.timeout_ms = 700;
    ck_assert_int_eq(redis_link_start(&f->target, "w", &link, &err), 0);
    redis_link_set_idle(link, on_idle, &hook);
    ck_assert_int_eq(redis_link_await(link, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    ck_assert_uint_ge(hook.calls, 2);
    redis_link_free(link);
    redis_fixture_cont(f);
    ck_assert_int_eq(redis_link_start(&f->target, "w", &link, &err), 0);
    redis_link_appendv(link, "ECHO", "early", NULL); /* before the handshake is over */
    ck_assert_int_eq(redis_link_await(link, &err), 0);
    ck_assert(redis_link_is_open(link));
    reply_t *r = NULL;
    ck_assert_int_eq(redis_link_read(link, 5000, &r, &err), 0);
    ck_assert_str_eq(reply_str(r), "early");
    reply_free(r);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

/* ---- event loop ---- */

/* One turn of a very small event loop; false when the link is lost. */
static bool turn(struct redis_link *link, reply_t **ret_reply, struct cb_error *err)
{
    short events = redis_link_wants_write(link) ? POLLIN | POLLOUT : POLLIN;
    struct pollfd p = {.fd = redis_link_fd(link), .events = events};
    ck_assert_int_eq(poll(&p, 1, 10000), 1);
    if (p.revents & POLLOUT && redis_link_on_writable(link, err) < 0)
        return false;
    if (p.revents & ~POLLOUT && redis_link_on_readable(link, err) < 0)
        return false;
    return redis_link_take(link, ret_reply, err) == 0;
}

static reply_t *loop_until_reply(struct redis_link *link)
{
    struct cb_error err = {0};
    reply_t *r = NULL;
    ck_assert_msg(redis_link_take(link, &r, &err) == 0, "%s", err.text);
    while (!r)
        ck_assert_msg(turn(link, &r, &err), "%s", err.text);
    return r;
}

static void loop_until_lost(struct redis_link *link, int code)
{
    struct cb_error err = {0};
    reply_t *r = NULL;
    while (turn(link, &r, &err))
        ck_assert_ptr_null(r);
    ck_assert_msg(err.code == code, "%s", err.text);
    ck_assert(redis_link_is_lost(link));
    ck_assert(!redis_link_wants_write(link));
    ck_assert_int_eq(redis_link_take(link, &r, &err), -1);
    ck_assert_int_eq(redis_link_on_readable(link, &err), -1);
    ck_assert_int_eq(redis_link_on_writable(link, &err), -1);
}

static void check_loop(const struct redis_target *target)
{
    enum { COUNT = 3000 };
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    char number[12];
    ck_assert_msg(redis_link_start(target, "supervisor", &link, &err) == 0, "%s", err.text);
    ck_assert(!redis_link_is_open(link));
    for (int i = 0; i < COUNT; i++) {
        snprintf(number, sizeof number, "%d", i);
        redis_link_appendv(link, "ECHO", number, NULL);
    }
    for (int i = 0; i < COUNT; i++) {
        reply_t *r = loop_until_reply(link);
        ck_assert_int_eq(reply_int(r), i);
        reply_free(r);
    }
    ck_assert(redis_link_is_open(link));
    ck_assert_int_gt(redis_link_id(link), 0);
    ck_assert(!redis_link_wants_write(link));
    redis_link_free(link);
}

START_TEST(loop_on_unix_and_tcp)
{
    struct redis_fixture *f = redis_fixture_start_tcp(NULL);
    char host[] = "127.0.0.1", name[] = "localhost";
    struct redis_target tcp = {.host = host, .port = f->port, .timeout_ms = 5000};
    check_loop(&f->target);
    check_loop(&tcp);
    tcp.host = name;
    check_loop(&tcp);
    redis_fixture_free(f);
}
END_TEST

START_TEST(loop_sees_the_end)
{
    struct redis_fixture *f = redis_fixture_start(NULL);
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    ck_assert_int_eq(redis_link_start(&f->target, NULL, &link, &err), 0);
    redis_link_appendv(link, "PING", NULL);
    reply_free(loop_until_reply(link));
    redis_fixture_kill(f);
    loop_until_lost(link, REDIS_LOST);
    redis_link_free(link);
    ck_assert_int_eq(redis_link_start(&f->target, NULL, &link, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    redis_fixture_free(f);
}
END_TEST

START_TEST(loop_sees_a_refused_connection)
{
    struct redis_fixture *f = redis_fixture_start_tcp(NULL);
    char host[] = "127.0.0.1";
    struct redis_target tcp = {.host = host, .port = f->port, .timeout_ms = 5000};
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    redis_fixture_kill(f);
    if (redis_link_start(&tcp, NULL, &link, &err) == 0) {
        loop_until_lost(link, REDIS_LOST);
        redis_link_free(link);
    }
    redis_fixture_free(f);
}
END_TEST

START_TEST(loop_sees_a_failed_handshake)
{
    static const char *const args[] = {"--requirepass", "sesame", NULL};
    struct redis_fixture *f = redis_fixture_start(args);
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    ck_assert_int_eq(redis_link_start(&f->target, NULL, &link, &err), 0);
    loop_until_lost(link, REDIS_AUTH);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(loop_reads_no_more_than_is_taken)
{
    struct hostile_server s;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    struct rusage before, after;
    hostile_server_start(&s, &(struct hostile_plan){.handshake = HOSTILE_HANDSHAKE,
                                                    .payload = "$10\r\n0123456789\r\n",
                                                    .is_endless = true});
    ck_assert_int_eq(redis_link_open(&s.target, NULL, &link, &err), 0);
    redis_link_appendv(link, "GO", NULL);
    ck_assert_int_eq(redis_link_on_writable(link, &err), 0);
    getrusage(RUSAGE_SELF, &before);
    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(redis_link_on_readable(link, &err), 0);
    getrusage(RUSAGE_SELF, &after);
    ck_assert_int_lt(after.ru_maxrss - before.ru_maxrss, 64 << 10);
    redis_link_free(link);
    hostile_server_done(&s);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, read_times_out);
    tcase_add_test(tc, write_times_out);
    tcase_add_test(tc, waiting_goes_on_beating);
    tcase_add_test(tc, a_drip_neither_starves_the_hook_nor_the_deadline);
    tcase_add_test(tc, hook_stops_a_read_and_the_reply_is_still_due);
    tcase_add_test(tc, hook_stops_a_call_and_the_link_is_lost);
    tcase_add_test(tc, wake_fd_calls_the_hook_at_once);
    tcase_add_test(tc, wake_fd_left_readable_does_not_spin);
    tcase_add_test(tc, signals_do_not_end_a_wait);
    tcase_add_test(tc, kill_ends_a_blocking_read_at_once);
    tcase_add_test(tc, writing_to_a_dead_peer);
    tcase_add_test(tc, await_calls_the_hook);
    tcase_add_test(tc, loop_on_unix_and_tcp);
    tcase_add_test(tc, loop_sees_the_end);
    tcase_add_test(tc, loop_sees_a_refused_connection);
    tcase_add_test(tc, loop_sees_a_failed_handshake);
    tcase_add_test(tc, loop_reads_no_more_than_is_taken);
}

UNIT_MAIN("redis_wait", add_tests)
