/*
 * check_redis_cluster.c: common/redis_cluster (which node is next), and what links and scripts make of it.
 */
#include "common/compat.h"
#include "common/redis_cluster.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/scripts.h"

#include "hostile_server.h"
#include "tests/unit/unit.h"

static void expect_at(const struct redis_cluster *c, const char *host, int port)
{
    struct redis_node node = {0};

    ck_assert(redis_cluster_where(c, &node));
    ck_assert_str_eq(node.host, host);
    ck_assert_int_eq(node.port, port);
}

static void expect_at_url(const struct redis_cluster *c)
{
    struct redis_node node;
    ck_assert(!redis_cluster_where(c, &node));
}

START_TEST(only_a_hash_tag_makes_one)
{
    ck_assert_ptr_null(redis_cluster_new("cb"));
    struct redis_cluster *c = redis_cluster_new("team{cb}");
    ck_assert_str_eq(redis_cluster_canary(c), "team{cb}:requests:canary");
    expect_at_url(c);
    redis_cluster_free(c);
    redis_cluster_free(NULL);
}
END_TEST

START_TEST(moved_says_where)
{
    static const struct {
        const char *text, *host;
        int port;
    } cases[] = {
        {"MOVED 4765 127.0.0.1:6381", "127.0.0.1", 6381},
        {"MOVED 4765 redis-2.example.org:7000", "redis-2.example.org", 7000},
        {"MOVED 4765 fe80::1:6381", "fe80::1", 6381},
        {"MOVED 4765 :6382", "asked", 6382}, /* a node that does not know its name */
        {"MOVED 4765 ?:6383", "asked", 6383},
    };
    struct redis_cluster *c = redis_cluster_new("{cb}");
    for (size_t i = 0; i < CB_ARRAY_LEN(cases); i++) {
        redis_cluster_moved(c, cases[i].text, "asked");
        expect_at(c, cases[i].host, cases[i].port);
    }
    ck_assert_uint_eq(redis_cluster_count(c), CB_ARRAY_LEN(cases) + 1);
    redis_cluster_free(c);
}
END_TEST

START_TEST(moved_that_says_nothing_changes_nothing)
{
    static const char *const cases[] = {"MOVED",
                                        "MOVED 1",
                                        "MOVED 1 host",
                                        "MOVED 1:2 host",
                                        "MOVED 1 host:",
                                        "MOVED 1 host:0",
                                        "MOVED 1 host:65536",
                                        "MOVED 1 host:-1",
                                        "MOVED 1 host:99999999999999999999",
                                        ""};
    char longer[400];
    struct redis_cluster *c = redis_cluster_new("{cb}");
    for (size_t i = 0; i < CB_ARRAY_LEN(cases); i++)
        redis_cluster_moved(c, cases[i], "asked");
    memset(longer, 'x', sizeof longer);
    memcpy(longer, "MOVED 1 ", 8);
    memcpy(longer + sizeof longer - 4, ":80", 4);
    redis_cluster_moved(c, longer, "asked");
    expect_at_url(c);
    ck_assert_uint_eq(redis_cluster_count(c), 1);
    redis_cluster_free(c);
}
END_TEST

START_TEST(a_node_that_fails_makes_room_for_the_next)
{
    struct redis_cluster *c = redis_cluster_new("{cb}");
    struct redis_node a = {"a", 1}, b = {"b", 2};

    redis_cluster_failed(c, NULL); /* nobody else is known */
    expect_at_url(c);
    redis_cluster_moved(c, "MOVED 1 a:1", "");
    redis_cluster_moved(c, "MOVED 1 b:2", "");
    redis_cluster_failed(c, &a); /* another link has gone on already */
    redis_cluster_failed(c, NULL);
    expect_at(c, "b", 2);
    redis_cluster_failed(c, &b);
    expect_at_url(c);
    redis_cluster_failed(c, &b);
    expect_at_url(c);
    redis_cluster_failed(c, NULL);
    expect_at(c, "a", 1);
    redis_cluster_free(c);
}
END_TEST

START_TEST(the_address_names_several)
{
    struct redis_target t;

    ck_assert_int_eq(redis_target_parse("redis://u:p,w@a:1,b,[::1]:3/0", &t, NULL), 0);
    ck_assert_str_eq(t.password, "p,w");
    redis_target_use_cluster(&t, "{cb}");
    expect_at_url(t.cluster);
    ck_assert_uint_eq(redis_cluster_count(t.cluster), 3);
    redis_cluster_failed(t.cluster, NULL);
    expect_at(t.cluster, "b", 6379);
    redis_cluster_failed(t.cluster, &(struct redis_node){"b", 6379});
    expect_at(t.cluster, "::1", 3);
    redis_target_done(&t);

    ck_assert_int_eq(redis_target_parse("redis://a:1,b", &t, NULL), 0);
    redis_target_use_cluster(&t, "cb");
    ck_assert_ptr_null(t.cluster);
    redis_target_done(&t);
}
END_TEST

START_TEST(the_table_is_bounded)
{
    struct redis_cluster *c = redis_cluster_new("{cb}");
    char text[64];

    for (int i = 1; i <= 1000; i++) {
        snprintf(text, sizeof text, "MOVED 1 host:%d", i);
        redis_cluster_moved(c, text, "");
        expect_at(c, "host", i);
    }
    ck_assert_uint_le(redis_cluster_count(c), 65);
    redis_cluster_free(c);
}
END_TEST

/* ---- the handshake, against a server that says what the case wants ---- */

#define UP_TO_PING ":7\r\n+PONG\r\n"

static int open_with(const char *answers, struct redis_cluster *cluster, struct cb_error *err)
{
    struct hostile_server s;
    struct redis_link *link = NULL;

    hostile_server_start(&s, &(struct hostile_plan){.handshake = answers, .payload = ""});
    s.target.cluster = cluster;
    s.target.timeout_ms = 2000;
    int rc = redis_link_open(&s.target, NULL, &link, err);
    redis_link_free(link);
    s.target.cluster = NULL;
    hostile_server_done(&s);
    return rc == 0 ? REDIS_OK : err->code;
}

START_TEST(the_handshake_asks_for_the_slot)
{
    static const struct {
        const char *answers;
        int fault;
        const char *words;
    } cases[] = {
        {UP_TO_PING ":0\r\n-ERR This instance has cluster support disabled\r\n", REDIS_OK, ""},
        {UP_TO_PING ":0\r\n-NOPERM this user has no permissions\r\n", REDIS_OK, ""},
        {UP_TO_PING ":0\r\n*0\r\n", REDIS_OK, ""},
        {UP_TO_PING "-ASK 4765 127.0.0.1:1\r\n*0\r\n", REDIS_MIGRATING, "is moving our keys"},
        {UP_TO_PING "-NOPERM no\r\n*0\r\n", REDIS_OK, ""}, /* the first command will tell */
        {UP_TO_PING "-CLUSTERDOWN x\r\n*0\r\n", REDIS_CLUSTERDOWN, "serves our keys"},
        {UP_TO_PING "-CROSSSLOT x\r\n*0\r\n", REDIS_CROSSSLOT, "needs a hash tag"},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(cases); i++) {
        struct redis_cluster *c = redis_cluster_new("{cb}");
        struct cb_error err = {0};
        int fault = open_with(cases[i].answers, c, &err);
        ck_assert_msg(fault == cases[i].fault && strstr(err.text, cases[i].words), "%s: %d %s",
                      cases[i].answers, fault, err.text);
        redis_cluster_free(c);
    }
}
END_TEST

START_TEST(a_redirection_is_followed)
{
    struct redis_cluster *c = redis_cluster_new("{cb}");
    struct cb_error err = {0};

    /* To a port where nobody listens: it is tried, and the text names it. */
    ck_assert_int_ne(open_with(UP_TO_PING "-MOVED 4765 127.0.0.1:1\r\n*0\r\n", c, &err), REDIS_OK);
    ck_assert_uint_eq(redis_cluster_count(c), 2);
    redis_cluster_free(c);
}
END_TEST

START_TEST(the_nodes_are_learnt)
{
    struct redis_cluster *c = redis_cluster_new("{cb}");
    struct cb_error err = {0};

    ck_assert_int_eq(open_with(UP_TO_PING ":0\r\n*2\r\n"
                                          "*4\r\n:0\r\n:5460\r\n"
                                          "*4\r\n$1\r\na\r\n:7000\r\n$2\r\nid\r\n*0\r\n"
                                          "*4\r\n$1\r\nb\r\n:7001\r\n$2\r\nid\r\n*0\r\n"
                                          "*4\r\n:5461\r\n:16383\r\n"
                                          "*4\r\n$-1\r\n:7002\r\n$2\r\nid\r\n*0\r\n"
                                          "*4\r\n$1\r\na\r\n:7000\r\n$2\r\nid\r\n*0\r\n",
                               c, &err),
                     REDIS_OK);
    ck_assert_uint_eq(redis_cluster_count(c), 4);
    expect_at_url(c);
    redis_cluster_failed(c, NULL);
    expect_at(c, "a", 7000);
    redis_cluster_free(c);
}
END_TEST

/* An event loop has its own time-outs: it frees a link that does not get anywhere. */
START_TEST(a_link_that_is_given_up_makes_room_for_the_next)
{
    struct redis_cluster *c = redis_cluster_new("{cb}");
    struct redis_node a = {"a", 1};
    struct hostile_server s;
    struct redis_link *link = NULL;
    struct cb_error err = {0};

    redis_cluster_moved(c, "MOVED 1 a:1", "");
    redis_cluster_failed(c, &a);
    expect_at_url(c);
    hostile_server_start(&s, &(struct hostile_plan){.handshake = "", .payload = ""});
    s.target.cluster = c;
    ck_assert_int_eq(redis_link_start(&s.target, NULL, &link, &err), 0);
    redis_link_free(link);
    expect_at(c, "a", 1);
    s.target.cluster = NULL;
    hostile_server_done(&s);
    redis_cluster_free(c);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, only_a_hash_tag_makes_one);
    tcase_add_test(tc, moved_says_where);
    tcase_add_test(tc, moved_that_says_nothing_changes_nothing);
    tcase_add_test(tc, a_node_that_fails_makes_room_for_the_next);
    tcase_add_test(tc, the_address_names_several);
    tcase_add_test(tc, the_table_is_bounded);
    tcase_add_test(tc, the_handshake_asks_for_the_slot);
    tcase_add_test(tc, a_redirection_is_followed);
    tcase_add_test(tc, the_nodes_are_learnt);
    tcase_add_test(tc, a_link_that_is_given_up_makes_room_for_the_next);
}
UNIT_MAIN("redis_cluster", add_tests)
