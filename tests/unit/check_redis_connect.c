/*
 * check_redis_connect.c: names with several addresses, slow name servers, and TCP connections that take
 * their time. The name server is this file: its getaddrinfo() stands in front of the C library's.
 *
 * A connection is kept pending by a listener whose queue is full: the kernel drops what comes then, and
 * the client's kernel asks again after a second.
 */
#include "common/compat.h"
#include "unit.h"

#include "common/clock.h"
#include "common/redis_connect.h"
#include "common/redis_sentinel.h"
#include "redis_fixture.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

/* ---- the name server ---- */

typedef int resolve_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static struct {
    const char *addresses[4]; /* of every name, NULL-terminated */
    int gate_fd;              /* a byte must be read from here before the answer; -1: none */
    int asked;
} names = {.gate_fd = -1};

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **ret_list)
{
    resolve_fn *real;
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &symbol, sizeof real);
    if (!hints || hints->ai_flags & AI_NUMERICHOST || !strstr(host, ".test"))
        return real(host, port, hints, ret_list);
    __atomic_add_fetch(&names.asked, 1, __ATOMIC_SEQ_CST);
    char byte;
    if (names.gate_fd >= 0 && read(names.gate_fd, &byte, 1) != 1)
        return EAI_FAIL;
    struct addrinfo **end = ret_list;
    for (int i = 0; names.addresses[i]; i++) {
        if (real(names.addresses[i], port, hints, end) != 0)
            return EAI_FAIL;
        while (*end)
            end = &(*end)->ai_next;
    }
    return 0;
}

/* ---- a listener that does not take connections ---- */

struct listener {
    int fd;
    int port;
    int filler; /* the connection that fills its queue */
};

static void listener_start(struct listener *l, const char *address, int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof in;
    int yes = 1;
    ck_assert_int_eq(inet_pton(AF_INET, address, &in.sin_addr), 1);
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    ck_assert_int_eq(bind(l->fd, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(listen(l->fd, 0), 0);
    ck_assert_int_eq(getsockname(l->fd, (struct sockaddr *)&in, &len), 0);
    l->port = ntohs(in.sin_port);
    l->filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(l->filler, (struct sockaddr *)&in, sizeof in), 0);
}

static void listener_done(struct listener *l)
{
    close(l->fd);
    close(l->filler);
}

static struct redis_target target(char *host, int port, int timeout_ms)
{
    return (struct redis_target){.host = host, .port = port, .timeout_ms = timeout_ms};
}

/* ---- tests ---- */

START_TEST(pending_is_bounded)
{
    struct listener l;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    char host[] = "127.0.0.1";
    listener_start(&l, "127.0.0.1", 0);
    struct redis_target t = target(host, l.port, 150);
    int64_t begin = clock_mono_ms();
    ck_assert_int_eq(redis_link_open(&t, NULL, &link, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    ck_assert_int_ge(clock_mono_ms() - begin, 150);
    ck_assert_int_lt(clock_mono_ms() - begin, 900);
    listener_done(&l);
}
END_TEST

/* Waits for the event that a loop would wait for, and passes it on. */
static int pass_event(struct redis_link *link, struct cb_error *err)
{
    struct pollfd p = {.fd = redis_link_fd(link), .events = POLLIN};
    if (redis_link_wants_write(link))
        p.events |= POLLOUT;
    ck_assert_int_eq(poll(&p, 1, 10000), 1);
    if (p.revents & POLLIN || p.revents & POLLERR)
        return redis_link_on_readable(link, err);
    return redis_link_on_writable(link, err);
}

START_TEST(pending_then_connected)
{
    struct listener l;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    reply_t *r = NULL;
    char host[] = "127.0.0.1", said[64] = "";
    listener_start(&l, "127.0.0.1", 0);
    struct redis_target t = target(host, l.port, 5000);
    ck_assert_int_eq(redis_link_start(&t, NULL, &link, &err), 0);
    ck_assert(redis_link_wants_write(link));
    close(accept(l.fd, NULL, NULL));
    ck_assert_int_eq(pass_event(link, &err), 0);
    ck_assert(!redis_link_wants_write(link));
    int peer = accept(l.fd, NULL, NULL);
    ck_assert_int_gt(recv(peer, said, sizeof said - 1, 0), 0);
    ck_assert_str_eq(said, "*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n*1\r\n$4\r\nPING\r\n");
    ck_assert_int_eq(send(peer, ":7\r\n+PONG\r\n", 11, 0), 11);
    ck_assert_int_eq(pass_event(link, &err), 0);
    ck_assert_int_eq(redis_link_take(link, &r, &err), 0);
    ck_assert(redis_link_is_open(link));
    ck_assert_int_eq(redis_link_id(link), 7);
    close(peer);
    redis_link_free(link);
    listener_done(&l);
}
END_TEST

static bool is_connected(const struct redis_link *link)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    return getpeername(redis_link_fd(link), (struct sockaddr *)&peer, &len) == 0;
}

/* The event loop's link is lost with its address; the next one begins with the other address. */
START_TEST(pending_then_refused)
{
    struct redis_fixture *f = redis_fixture_start_tcp(NULL);
    struct listener l;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    char host[] = "two.test";
    listener_start(&l, "127.0.0.2", f->port);
    names.addresses[0] = "127.0.0.2";
    names.addresses[1] = "127.0.0.1";
    struct redis_target t = target(host, f->port, 5000);
    ck_assert_int_eq(redis_link_start(&t, NULL, &link, &err), 0);
    if (is_connected(link)) { /* tests before this one have moved on to the second address */
        redis_link_free(link);
        names.addresses[0] = "127.0.0.1";
        names.addresses[1] = "127.0.0.2";
        ck_assert_int_eq(redis_link_start(&t, NULL, &link, &err), 0);
    }
    ck_assert(!is_connected(link));
    listener_done(&l);
    ck_assert_int_eq(pass_event(link, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    redis_link_free(link);
    ck_assert_int_eq(redis_link_start(&t, NULL, &link, &err), 0);
    ck_assert_msg(redis_link_await(link, &err) == 0, "%s", err.text);
    redis_link_free(link);
    redis_fixture_free(f);
}
END_TEST

START_TEST(next_address_when_refused)
{
    struct redis_fixture *f = redis_fixture_start_tcp(NULL);
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    char host[] = "three.test";
    names.addresses[0] = "127.0.0.2";
    names.addresses[1] = "127.0.0.3";
    names.addresses[2] = "127.0.0.1";
    struct redis_target t = target(host, f->port, 5000);
    for (int i = 0; i < 4; i++) { /* each begins with another address */
        ck_assert_msg(redis_link_open(&t, NULL, &link, &err) == 0, "%s", err.text);
        redis_link_free(link);
        ck_assert_int_eq(redis_link_start(&t, NULL, &link, &err), 0);
        redis_link_free(link);
    }
    names.addresses[2] = NULL;
    ck_assert_int_eq(redis_link_open(&t, NULL, &link, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    ck_assert_ptr_nonnull(strstr(err.text, "refused"));
    redis_fixture_free(f);
}
END_TEST

START_TEST(next_address_when_silent)
{
    struct redis_fixture *f = redis_fixture_start_tcp(NULL);
    struct listener l;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    char host[] = "two.test";
    listener_start(&l, "127.0.0.2", f->port);
    names.addresses[0] = "127.0.0.2";
    names.addresses[1] = "127.0.0.1";
    struct redis_target t = target(host, f->port, 600);
    for (int i = 0; i < 2; i++) { /* at least one of them begins with the silent one */
        ck_assert_msg(redis_link_open(&t, NULL, &link, &err) == 0, "%s", err.text);
        redis_link_free(link);
        names.addresses[0] = "127.0.0.1";
        names.addresses[1] = "127.0.0.2";
    }
    listener_done(&l);
    redis_fixture_free(f);
}
END_TEST

START_TEST(slow_name_server)
{
    struct redis_fixture *f = redis_fixture_start_tcp(NULL);
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    char host[] = "slow.test";
    int gate[2];
    ck_assert_int_eq(pipe2(gate, O_CLOEXEC), 0);
    names.gate_fd = gate[0];
    names.addresses[0] = "127.0.0.1";
    struct redis_target t = target(host, f->port, 100);
    int64_t begin = clock_mono_ms();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(redis_link_start(&t, NULL, &link, &err), -1);
        ck_assert_int_eq(err.code, REDIS_LOST);
    }
    ck_assert_int_eq(redis_link_open(&t, NULL, &link, &err), -1);
    ck_assert_int_lt(clock_mono_ms() - begin, 3000);
    ck_assert_int_eq(__atomic_load_n(&names.asked, __ATOMIC_SEQ_CST), 1);
    ck_assert_int_eq(write(gate[1], "x", 1), 1);
    t.timeout_ms = 5000;
    ck_assert_msg(redis_link_open(&t, NULL, &link, &err) == 0, "%s", err.text);
    ck_assert_int_eq(__atomic_load_n(&names.asked, __ATOMIC_SEQ_CST), 1);
    redis_link_free(link);
    names.gate_fd = -1; /* and is asked anew, each time */
    ck_assert_int_eq(redis_link_open(&t, NULL, &link, &err), 0);
    ck_assert_int_eq(__atomic_load_n(&names.asked, __ATOMIC_SEQ_CST), 2);
    redis_link_free(link);
    close(gate[0]);
    close(gate[1]);
    redis_fixture_free(f);
}
END_TEST

static int open_files(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Somebody who names another host each time: what he left behind is bounded, and makes room once it is ready. */
START_TEST(ever_other_names)
{
    struct cb_error err = {0};
    struct addrinfo *list = NULL;
    char host[32];
    int gate[2];
    ck_assert_int_eq(pipe2(gate, O_CLOEXEC), 0);
    names.gate_fd = gate[0];
    names.addresses[0] = "127.0.0.1";
    for (int i = 0; i < 32; i++) {
        snprintf(host, sizeof host, "n%d.test", i);
        ck_assert_int_eq(redis_connect_resolve(host, 1, 0, &list, &err), -1);
        ck_assert_ptr_nonnull(strstr(err.text, "no answer within"));
    }
    int before = open_files();
    for (int i = 32; i < 40; i++) {
        snprintf(host, sizeof host, "n%d.test", i);
        ck_assert_int_eq(redis_connect_resolve(host, 1, 0, &list, &err), -1);
        ck_assert_int_eq(err.code, REDIS_LOST);
        ck_assert_ptr_nonnull(strstr(err.text, "32 look-ups of other names have no answer yet"));
    }
    ck_assert_int_eq(open_files(), before);
    ck_assert_int_eq(redis_connect_resolve("n0.test", 1, 0, &list, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "no answer within"));
    names.gate_fd = -1;
    close(
        gate[1]); /* all of them are answered: nobody comes back for that, and yet there is room */
    int64_t until = clock_mono_ms() + 10000;
    while (redis_connect_resolve("other.test", 1, 10000, &list, &err) != 0) {
        ck_assert_ptr_nonnull(strstr(err.text, "32 look-ups of other names"));
        ck_assert_int_lt(clock_mono_ms(), until);
        poll(NULL, 0, 5);
    }
    freeaddrinfo(list);
    for (int i = 0; i < 32; i++) { /* leave none to the next test */
        snprintf(host, sizeof host, "n%d.test", i);
        if (redis_connect_resolve(host, 1, 10000, &list, &err) == 0)
            freeaddrinfo(list);
    }
    close(gate[0]);
}
END_TEST

/* Sentinels by names that nobody resolves: an event loop waits for one of them at a time, and all of them get their turn. */
START_TEST(sentinels_one_name_a_step)
{
    struct redis_sentinels *s = NULL;
    struct cb_error err = {0};
    struct redis_sentinel_search *search;
    struct addrinfo *list = NULL;
    int gate[2];
    ck_assert_int_eq(pipe2(gate, O_CLOEXEC), 0);
    names.gate_fd = gate[0];
    ck_assert_int_eq(
        redis_sentinels_new("m", "a.test:1 b.test:1 c.test:1 d.test:1", "", "", &s, &err), 0);
    search = redis_sentinel_search_new(s, 60000, &err);
    for (int i = 0; i < 3; i++) {
        struct pollfd p = {.fd = redis_sentinel_search_fd(search), .events = POLLIN};
        ck_assert_int_eq(poll(&p, 1, 10000), 1);
        ck_assert_int_eq(redis_sentinel_search_step(search, &err), 0);
    }
    ck_assert_int_eq(redis_sentinel_search_step(search, &err), -1);
    ck_assert_int_eq(err.code, REDIS_LOST);
    ck_assert_ptr_nonnull(strstr(err.text, "sentinel a.test:1: "));
    ck_assert_uint_eq(s->first, 0);
    redis_sentinel_search_free(search);

    search = redis_sentinel_search_new(s, 150, &err); /* no time for all */
    while (redis_sentinel_search_step(search, &err) == 0)
        continue;
    ck_assert_uint_ge(s->first, 1);
    ck_assert_uint_le(s->first, 2);
    redis_sentinel_search_free(search);

    close(gate[1]); /* leave none to the next test */
    for (size_t i = 0; i < s->len; i++)
        ck_assert_int_eq(redis_connect_resolve(s->nodes[i].host, 1, 10000, &list, &err), -1);
    redis_sentinels_free(s);
    close(gate[0]);
}
END_TEST

/* One process for all tests (CK_FORK=no) must not hand names on. */
static void reset_names(void)
{
    memset(&names, 0, sizeof names);
    names.gate_fd = -1;
}

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, reset_names, NULL);
    tcase_add_test(tc, pending_is_bounded);
    tcase_add_test(tc, pending_then_connected);
    tcase_add_test(tc, pending_then_refused);
    tcase_add_test(tc, next_address_when_refused);
    tcase_add_test(tc, next_address_when_silent);
    tcase_add_test(tc, slow_name_server);
    tcase_add_test(tc, ever_other_names);
    tcase_add_test(tc, sentinels_one_name_a_step);
}

UNIT_MAIN("redis_connect", add_tests)
