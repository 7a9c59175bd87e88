/*
 * check_redis_info.c: supervisor/redis_info and client_list: what is read out of INFO and CLIENT LIST.
 */
#include "common/compat.h"
#include "supervisor/redis_info.h"

#include "common/exitcode.h"
#include "supervisor/client_list.h"
#include "tests/unit/unit.h"

START_TEST(info_is_read)
{
    struct redis_info info = {0};

    redis_info_parse(
        "# Server\r\nredis_version:7.0.15\r\nprocess_id:4711\r\nrun_id:abc\r\n\r\n"
        "# Persistence\r\nloading:1\r\naof_enabled:1\r\n"
        "# Memory\r\nused_memory:1048576\r\nmaxmemory:2097152\r\nmaxmemory_policy:noeviction\r\n"
        "used_memory_human:1.00M\r\nmaxmemory_human:2.00M\r\n# Replication\r\nrole:slave\r\n",
        &info);
    ck_assert_str_eq(info.version, "7.0.15");
    ck_assert_int_eq(info.major, 7);
    ck_assert_int_eq(info.minor, 0);
    ck_assert_int_eq(info.process_id, 4711);
    ck_assert_str_eq(info.run_id, "abc");
    ck_assert(info.is_loading && info.has_aof && info.is_replica);
    ck_assert_uint_eq(info.used_memory, 1048576);
    ck_assert_uint_eq(info.max_memory, 2097152);
    ck_assert_ptr_null(redis_info_advice(&info, 0));
}
END_TEST

START_TEST(nonsense_is_survived)
{
    static const char *const texts[] = {"",
                                        "\r\n\r\n",
                                        ":",
                                        "redis_version",
                                        "redis_version:",
                                        "#",
                                        "a:b:c\r\nredis_version:\r\n",
                                        "process_id:-1\n",
                                        "used_memory:99999999999999999999999999\n",
                                        "loading:\xff\n"};
    for (size_t i = 0; i < CB_ARRAY_LEN(texts); i++) {
        struct redis_info info = {0};
        redis_info_parse(texts[i], &info);
        ck_assert_int_eq(info.major, 0);
    }
}
END_TEST

START_TEST(old_versions_are_refused)
{
    static const struct {
        const char *version;
        int code;
    } cases[] = {{"6.2.14", EXITCODE_CONFIG},
                 {"7.0.0", 0},
                 {"7.2", 0},
                 {"8.0.1", 0},
                 {"255.255.255", 0},
                 {"", EXITCODE_UNAVAILABLE},
                 {"x", EXITCODE_UNAVAILABLE}};
    for (size_t i = 0; i < CB_ARRAY_LEN(cases); i++) {
        struct redis_info info = {0};
        struct cb_error err = {0};
        char text[64];
        snprintf(text, sizeof text, "redis_version:%s\r\n", cases[i].version);
        redis_info_parse(text, &info);
        ck_assert_int_eq(redis_info_check(&info, "cb", &err), cases[i].code == 0 ? 0 : -1);
        ck_assert_int_eq(err.code, cases[i].code);
    }
}
END_TEST

START_TEST(advice)
{
    struct redis_info info = {.policy = "allkeys-lru"};

    ck_assert_ptr_nonnull(strstr(redis_info_advice(&info, 0), "noeviction"));
    ck_assert_ptr_nonnull(strstr(redis_info_advice(&info, 1), "appendonly"));
    ck_assert_ptr_null(redis_info_advice(&info, 2));
}
END_TEST

static int64_t found[8];
static size_t nfound;

static void note(void *arg, int64_t id)
{
    (void)arg;
    found[nfound++] = id;
}

static void note_name(void *arg, int64_t id, const char *name)
{
    ck_assert_ptr_nonnull(strstr(name, arg));
    found[nfound++] = id;
}

static const char list[] =
    "id=3 addr=/s:0 laddr=/s:0 fd=8 name=h/task/0.17 age=1 idle=0 flags=U db=0 user=daemon\n"
    "id=4 addr=/s:0 laddr=/s:0 fd=9 name= age=1 idle=0\n"
    "id=5 addr=/s:0 fd=10 name=h/task/0.175 age=1\n"
    "id=6 addr=/s:0 fd=10 lib-name=h/task/0.17 age=1\n"
    "id=7 name=h/task/0.17\n"
    "id=8 name=other/task/0.17";

START_TEST(connections_are_found_by_exact_name)
{
    nfound = 0;
    client_list_find(list, "h/task/0.17", note, NULL);
    ck_assert_uint_eq(nfound, 2);
    ck_assert_int_eq(found[0], 3);
    ck_assert_int_eq(found[1], 7);
    nfound = 0;
    client_list_find("", "x", note, NULL);
    client_list_find("\n\n", "x", note, NULL);
    client_list_find("id=1 name", "", note, NULL);
    ck_assert_uint_eq(nfound, 0);
}
END_TEST

START_TEST(connections_are_found_by_prefix)
{
    char prefix[] = "h/";

    nfound = 0;
    client_list_find_prefix(list, prefix, note_name, prefix);
    ck_assert_uint_eq(nfound, 3);
    ck_assert_int_eq(found[2], 7);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, info_is_read);
    tcase_add_test(tc, nonsense_is_survived);
    tcase_add_test(tc, old_versions_are_refused);
    tcase_add_test(tc, advice);
    tcase_add_test(tc, connections_are_found_by_exact_name);
    tcase_add_test(tc, connections_are_found_by_prefix);
}

UNIT_MAIN("redis_info", add_tests)
