/*
 * check_redis_target.c: the forms of a Redis URL, what is refused, and how a target is shown.
 */
#include "common/compat.h"
#include "unit.h"

#include "common/redis_link.h"

static void check_target(const char *url, const char *description)
{
    struct redis_target t;
    struct cb_error err = {0};
    char text[256];
    ck_assert_msg(redis_target_parse(url, &t, &err) == 0, "%s: %s", url, err.text);
    redis_target_describe(&t, text, sizeof text);
    ck_assert_str_eq(text, description);
    redis_target_done(&t);
}

START_TEST(target_forms)
{
    check_target("unix:///run/redis.sock", "unix:///run/redis.sock");
    check_target("unix:///run/redis.sock?db=3", "unix:///run/redis.sock?db=3");
    check_target("unix:///run/a%20b%3f.sock", "unix:///run/a b?.sock");
    check_target("/run/redis%20.sock", "unix:///run/redis%20.sock");
    check_target("redis://localhost", "redis://localhost:6379/0");
    check_target("redis://localhost/", "redis://localhost:6379/0");
    check_target("redis://localhost:7000/12", "redis://localhost:7000/12");
    check_target("redis://u:p@db.example:7000", "redis://db.example:7000/0");
    check_target("redis://:p%40ss@h", "redis://h:6379/0");
    check_target("redis://[::1]:7000/2", "redis://[::1]:7000/2");
    check_target("redis://[fe80::1]", "redis://[fe80::1]:6379/0");
    check_target("redis://a:1,b,[::1]:3/0", "redis://a:1/0");
}
END_TEST

START_TEST(target_user_and_password)
{
    struct redis_target t;
    ck_assert_int_eq(redis_target_parse("redis://ab%3Ac:x:%2F@y@host:1/2", &t, NULL), 0);
    ck_assert_str_eq(t.user, "ab:c");
    ck_assert_str_eq(t.password, "x:/@y");
    ck_assert_str_eq(t.host, "host");
    ck_assert_int_eq(t.timeout_ms, REDIS_LINK_TIMEOUT_MS);
    redis_target_done(&t);
    ck_assert_int_eq(redis_target_parse("redis://only@host", &t, NULL), 0);
    ck_assert_str_eq(t.user, "only");
    ck_assert_str_eq(t.password, "");
    redis_target_done(&t);
    ck_assert_ptr_null(t.host);
}
END_TEST

START_TEST(target_refusals)
{
    static const char *const bad[] = {
        "",
        "redis",
        "http://h",
        "relative.sock",
        "unix://relative.sock",
        "unix://",
        "unix:///a?db=",
        "unix:///a?db=x",
        "unix:///a?db=-1",
        "unix:///a?db=9999999",
        "unix:///a?x=1",
        "unix:///a%0",
        "unix:///a%00b",
        "unix:///a%zz",
        "redis://",
        "redis:///1",
        "redis://:6379",
        "redis://h:",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:99999999999999999999",
        "redis://h:1x",
        "redis://h/x",
        "redis://h/1/2",
        "redis://h?db=1",
        "redis://h#1",
        "redis://[::1",
        "redis://[::1]x",
        "redis://[]:1",
        "redis://u:secret%@h",
        "redis://h,",
        "redis://,h",
        "redis://h:1,,h:2",
        "redis://h:1,h:0",
        "redis://h:1,[::1",
        "redis://h:1,h:x/0",
        "rediss://h:1/0",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        struct redis_target t = {.port = 42};
        struct cb_error err = {0};
        ck_assert_msg(redis_target_parse(bad[i], &t, &err) == -1, "%s was taken", bad[i]);
        ck_assert_int_eq(err.code, 78);
        ck_assert_ptr_null(strstr(err.text, "secret"));
        ck_assert_int_eq(t.port, 42);
    }
}
END_TEST

START_TEST(target_path_too_long)
{
    struct redis_target t;
    struct cb_error err = {0};
    char url[128] = "unix:///";
    memset(url + 8, 'x', 106);
    ck_assert_int_eq(redis_target_parse(url, &t, &err), 0);
    redis_target_done(&t);
    url[8 + 106] = 'x';
    ck_assert_int_eq(redis_target_parse(url, &t, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "107"));
}
END_TEST

START_TEST(target_tls_says_what_to_do)
{
    struct redis_target t;
    struct cb_error err = {0};
    ck_assert_int_eq(redis_target_parse("rediss://h", &t, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "tunnel"));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, target_forms);
    tcase_add_test(tc, target_user_and_password);
    tcase_add_test(tc, target_refusals);
    tcase_add_test(tc, target_path_too_long);
    tcase_add_test(tc, target_tls_says_what_to_do);
}

UNIT_MAIN("redis_target", add_tests)
