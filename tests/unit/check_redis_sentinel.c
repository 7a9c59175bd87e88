/*
 * check_redis_sentinel.c: common/redis_sentinel, and links that begin with a search: who is asked, what counts as an answer, and
 * what is said when there is none. The servers are fakes that say what they have to say to whoever comes.
 */
#include "common/compat.h"
#include "common/redis_sentinel.h"

#include "common/clock.h"
#include "common/exitcode.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SENTINEL_HELLO "+OK\r\n:7\r\n+PONG\r\n" /* CLIENT SETNAME, CLIENT ID, PING */
#define MASTER_HELLO   ":7\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n+PONG\r\n"
#define REPLICA_HELLO  ":7\r\n*3\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n+PONG\r\n"
#define ROLE_DENIED                                                                                \
    ":7\r\n-NOPERM this user has no permissions to run the 'role' command\r\n+PONG\r\n"

enum { FAKES_MAX = 16 };
static pid_t fakes[FAKES_MAX];
static size_t nfakes;

static CB_NORETURN void serve(int listener, const char *text)
{
    char sink[4096];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            _exit(1);
        if (text[0] && send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
            _exit(1);
        while (recv(fd, sink, sizeof sink, 0) > 0)
            continue;
        close(fd);
    }
}

/* A server that says `text` to everybody, "" = nothing, NULL = is not there. Returns its port. */
static int fake(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&in, &len), 0);
    if (text) {
        ck_assert_int_eq(listen(listener, 16), 0);
        ck_assert_uint_lt(nfakes, FAKES_MAX);
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0)
            serve(listener, text);
        fakes[nfakes++] = pid;
    }
    close(listener);
    return ntohs(in.sin_port);
}

static void end_fakes(void)
{
    for (; nfakes > 0; nfakes--) {
        kill(fakes[nfakes - 1], SIGKILL);
        waitpid(fakes[nfakes - 1], NULL, 0);
    }
}

/* A sentinel that tells of a master at this port. */
static int sentinel_of(int port)
{
    char text[128], digits[8];
    int n = snprintf(digits, sizeof digits, "%d", port);
    snprintf(text, sizeof text, "%s*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n", SENTINEL_HELLO, n,
             digits);
    return fake(text);
}

static struct redis_target target_of(int timeout_ms, const int *ports, size_t len)
{
    char nodes[256] = "";
    struct redis_target t = {.timeout_ms = timeout_ms};
    struct cb_error err = {0};
    for (size_t i = 0; i < len; i++)
        snprintf(nodes + strlen(nodes), sizeof nodes - strlen(nodes), " 127.0.0.1:%d", ports[i]);
    ck_assert_msg(redis_sentinels_new("m", nodes, "", "", &t.sentinels, &err) == 0, "%s", err.text);
    return t;
}

/* Returns the fault, 0 when it opens. */
static int try_open(const struct redis_target *t, struct cb_error *err)
{
    struct redis_link *link = NULL;
    *err = (struct cb_error){0};
    if (redis_link_open(t, NULL, &link, err) < 0)
        return err->code;
    ck_assert_int_eq((int)redis_link_id(link), 7);
    redis_link_free(link);
    return 0;
}

START_TEST(nodes)
{
    static const struct {
        const char *nodes;
        const char *host;
        int port;
    } good[] = {
        {"h", "h", 26379}, {"h:1", "h", 1}, {" [::1] ", "::1", 26379}, {"[::1]:99 b", "::1", 99}};
    static const char *const bad[] = {"",        " ",
                                      "h:0",     "h:x",
                                      "h:70000", ":1",
                                      "u@h:1",   "h:1/0",
                                      "a b:",    "h#1",
                                      "[::1",    "[::1]x",
                                      "h?db=1",  "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"};
    struct redis_sentinels *s = NULL;
    struct cb_error err = {0};
    for (size_t i = 0; i < CB_ARRAY_LEN(good); i++) {
        ck_assert_msg(redis_sentinels_new("m", good[i].nodes, "u", "p", &s, &err) == 0, "%s",
                      err.text);
        ck_assert_str_eq(s->nodes[0].host, good[i].host);
        ck_assert_int_eq(s->nodes[0].port, good[i].port);
        ck_assert_str_eq(s->nodes[0].user, "u");
        ck_assert(!redis_sentinels_set_password(s, "p"));
        ck_assert(redis_sentinels_set_password(s, "q"));
        ck_assert_str_eq(s->nodes[0].password, "q");
        redis_sentinels_free(s);
    }
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        ck_assert_msg(redis_sentinels_new("m", bad[i], "", "", &s, &err) == -1, "%s", bad[i]);
        ck_assert_int_eq(err.code, EXITCODE_CONFIG);
    }
}
END_TEST

START_TEST(found_behind_those_that_are_away)
{
    int master = fake(MASTER_HELLO);
    int ports[] = {fake(NULL), fake(""), fake(SENTINEL_HELLO "*-1\r\n"), sentinel_of(master)};
    struct redis_target t = target_of(5000, ports, 4);
    struct cb_error err;
    char where[160], expected[64];
    redis_target_describe(&t, where, sizeof where);
    ck_assert_str_eq(where, "sentinel master m");
    ck_assert_msg(try_open(&t, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(t.sentinels->first, 3);
    snprintf(expected, sizeof expected, "redis://127.0.0.1:%d (master m)", master);
    redis_target_describe(&t, where, sizeof where);
    ck_assert_str_eq(where, expected);
    ck_assert_msg(try_open(&t, &err) == 0, "%s", err.text);
    redis_target_done(&t);
    end_fakes();
}
END_TEST

START_TEST(nobody_knows)
{
    int ports[] = {fake(NULL), fake(SENTINEL_HELLO "*-1\r\n"), fake("")};
    struct redis_target t = target_of(600, ports, 3);
    struct cb_error err;
    ck_assert_int_eq(try_open(&t, &err), REDIS_LOST);
    ck_assert_ptr_nonnull(strstr(err.text, "Connection refused; sentinel 127.0.0.1:"));
    ck_assert_ptr_nonnull(strstr(err.text, ": knows no master named m"));
    ck_assert_ptr_nonnull(strstr(err.text, ": no answer in time"));
    redis_target_done(&t);
    end_fakes();
}
END_TEST

/* A refusal is said as one only when all of them refuse: else somebody may answer yet. */
START_TEST(refused)
{
    int refusing = fake("-NOAUTH Authentication required.\r\n");
    int ports[] = {refusing, refusing, fake(NULL)};
    struct redis_target t = target_of(600, ports, 2);
    struct cb_error err;
    ck_assert_int_eq(try_open(&t, &err), REDIS_AUTH);
    ck_assert_ptr_nonnull(strstr(err.text, "NOAUTH"));
    redis_target_done(&t);
    t = target_of(600, ports, 3);
    ck_assert_int_eq(try_open(&t, &err), REDIS_LOST);
    redis_target_done(&t);
    end_fakes();
}
END_TEST

START_TEST(answers_that_are_none)
{
    static const char *const texts[] = {
        SENTINEL_HELLO "*2\r\n$0\r\n\r\n$1\r\n1\r\n",
        SENTINEL_HELLO "*2\r\n$1\r\nh\r\n$1\r\n0\r\n",
        SENTINEL_HELLO "*2\r\n$1\r\nh\r\n$5\r\n70000\r\n",
        SENTINEL_HELLO "*2\r\n$1\r\nh\r\n$2\r\n-1\r\n",
        SENTINEL_HELLO "*2\r\n$3\r\nh\nx\r\n$1\r\n1\r\n",
        SENTINEL_HELLO "*2\r\n$1\r\nh\r\n*0\r\n",
        SENTINEL_HELLO "*1\r\n$1\r\nh\r\n",
        SENTINEL_HELLO "+OK\r\n",
        SENTINEL_HELLO "-ERR unknown command 'SENTINEL'\r\n",
        SENTINEL_HELLO ":1\r\n",
        "hello\r\n",
        "$99999999999\r\n",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++) {
        int port = fake(texts[i]);
        struct redis_target t = target_of(2000, &port, 1);
        struct cb_error err;
        ck_assert_msg(try_open(&t, &err) == REDIS_LOST, "%s: %s", texts[i], err.text);
        ck_assert_ptr_null(strstr(err.text, "in time"));
        ck_assert_str_eq(t.sentinels->host, "");
        redis_target_done(&t);
        end_fakes();
    }
}
END_TEST

/* The sentinel is behind: its master is a replica by now. The next one is asked first then. */
START_TEST(replica_is_refused)
{
    int ports[] = {sentinel_of(fake(REPLICA_HELLO)), sentinel_of(fake(MASTER_HELLO))};
    struct redis_target t = target_of(2000, ports, 2);
    struct cb_error err;
    ck_assert_int_eq(try_open(&t, &err), REDIS_READONLY);
    ck_assert_ptr_nonnull(strstr(err.text, "it is no master"));
    ck_assert_int_eq(try_open(&t, &err), 0);
    redis_target_done(&t);
    end_fakes();
}
END_TEST

/* So it is when nobody is there any more, or somebody else is: the sentinel is cut off from the others, and is not told. */
START_TEST(sentinel_behind_a_failover)
{
    static const char *const olds[] = {NULL, "HTTP/1.1 400 Bad Request\r\n"};
    int new = sentinel_of(fake(MASTER_HELLO));
    for (size_t i = 0; i < CB_ARRAY_LEN(olds); i++) {
        int ports[] = {sentinel_of(fake(olds[i])), new};
        struct redis_target t = target_of(2000, ports, 2);
        struct cb_error err;
        ck_assert_int_ne(try_open(&t, &err), 0);
        ck_assert_msg(try_open(&t, &err) == 0, "%s", err.text);
        redis_target_done(&t);
    }
    end_fakes();
}
END_TEST

START_TEST(role_may_be_denied)
{
    int port = sentinel_of(fake(ROLE_DENIED));
    struct redis_target t = target_of(2000, &port, 1);
    struct cb_error err;
    ck_assert_msg(try_open(&t, &err) == 0, "%s", err.text);
    redis_target_done(&t);
    end_fakes();
}
END_TEST

/* As the supervisor does it: start, then whatever the descriptor says. One sentinel is silent, which costs nobody time. */
START_TEST(from_an_event_loop)
{
    int ports[] = {fake(""), sentinel_of(fake(MASTER_HELLO))};
    struct redis_target t = target_of(5000, ports, 2);
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    int64_t began = clock_mono_ms();
    int first = -1;
    unsigned changes = 0;
    ck_assert_msg(redis_link_start(&t, NULL, &link, &err) == 0, "%s", err.text);
    ck_assert_int_lt(clock_mono_ms() - began, 1000);
    while (!redis_link_is_open(link)) {
        struct pollfd p = {.fd = redis_link_fd(link), .events = POLLIN};
        reply_t *reply = NULL;
        changes += first != p.fd;
        first = p.fd;
        if (redis_link_wants_write(link))
            p.events |= POLLOUT;
        ck_assert_int_gt(poll(&p, 1, 5000), 0);
        if (p.revents & POLLOUT)
            ck_assert_msg(redis_link_on_writable(link, &err) == 0, "%s", err.text);
        if (p.revents & ~POLLOUT)
            ck_assert_msg(redis_link_on_readable(link, &err) == 0, "%s", err.text);
        ck_assert_msg(redis_link_take(link, &reply, &err) == 0, "%s", err.text);
        ck_assert_ptr_null(reply);
    }
    ck_assert_uint_eq(changes, 2);
    redis_link_free(link);
    /* Given up on the way. */
    ck_assert_int_eq(redis_link_start(&t, NULL, &link, &err), 0);
    redis_link_free(link);
    redis_target_done(&t);
    end_fakes();
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, nodes);
    tcase_add_test(tc, found_behind_those_that_are_away);
    tcase_add_test(tc, nobody_knows);
    tcase_add_test(tc, refused);
    tcase_add_test(tc, answers_that_are_none);
    tcase_add_test(tc, replica_is_refused);
    tcase_add_test(tc, sentinel_behind_a_failover);
    tcase_add_test(tc, role_may_be_denied);
    tcase_add_test(tc, from_an_event_loop);
}

UNIT_MAIN("redis_sentinel", add_tests)
