/*
 * check_connect.c: from the configuration to a Redis target: address, user, password file.
 */
#include "common/compat.h"
#include "unit.h"

#include "common/buf.h"
#include "common/connect.h"
#include "common/exitcode.h"
#include "common/mem.h"

#include <sys/stat.h>

static char folder[] = "/tmp/cb-connect-XXXXXX";

static char *file_with(const char *name, const char *text, size_t len)
{
    char *path = mem_printf("%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, len, f), len);
    fclose(f);
    return path;
}

static int read_password(const char *text, size_t len, char **ret, struct cb_error *err)
{
    char *path = file_with("p", text, len);
    int rc = connect_read_password(path, ret, err);
    unlink(path);
    free(path);
    return rc;
}

static struct options *options_of(const char *yaml)
{
    struct options *opts = NULL;
    struct options_errors errors = OPTIONS_ERRORS_INIT;
    struct buf why = BUF_INIT;
    int rc = options_load_text(yaml, strlen(yaml), "test", &opts, &errors);
    options_errors_put(&errors, &why);
    ck_assert_msg(rc == 0, "%s", buf_peek(&why));
    buf_done(&why);
    options_errors_done(&errors);
    return opts;
}

START_TEST(passwords)
{
    static const struct {
        const char *text, *want;
    } good[] = {
        {"secret", "secret"}, {"secret\n", "secret"},           {"secret\r\nmore", "secret"},
        {" s p ", " s p "},   {"p\xc3\xa4ss\n", "p\xc3\xa4ss"},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(good); i++) {
        char *password = NULL;
        struct cb_error err = {0};
        ck_assert_msg(read_password(good[i].text, strlen(good[i].text), &password, &err) == 0, "%s",
                      err.text);
        ck_assert_str_eq(password, good[i].want);
        free(password);
    }
}
END_TEST

START_TEST(bad_password_files)
{
    char *password = NULL;
    struct cb_error err = {0};
    char big[600];
    memset(big, 'x', sizeof big);
    ck_assert_int_eq(read_password("", 0, &password, &err), -1);
    ck_assert_int_eq(err.code, EXITCODE_CONFIG);
    ck_assert_int_eq(read_password("\nsecret\n", 8, &password, &err), -1);
    ck_assert_int_eq(read_password("a\0b\n", 4, &password, &err), -1);
    ck_assert_int_eq(read_password(big, 513, &password, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "512"));
    ck_assert_int_eq(read_password(big, 512, &password, &err), 0);
    ck_assert_uint_eq(strlen(password), 512);
    free(password);
    ck_assert_int_eq(connect_read_password("/no/such/file", &password, &err), -1);
    ck_assert_int_eq(err.code, EXITCODE_UNAVAILABLE);
    ck_assert_int_eq(connect_read_password("/dev/null", &password, &err), -1);
    ck_assert_int_eq(connect_read_password("/tmp", &password, &err), -1);
}
END_TEST

START_TEST(embedded)
{
    char *yaml = mem_printf(
        "config_version: 1\nredis:\n  embedded: true\n  url: unix:///run/x.sock\n"
        "  dir: %s\n  timeout_ms: 1234\n",
        folder);
    struct options *opts = options_of(yaml);
    struct redis_target target = {0};
    struct cb_error err = {0};
    ck_assert_int_eq(connect_target(opts, CONNECT_CLIENT, &target, &err), -1);
    ck_assert_int_eq(err.code, EXITCODE_UNAVAILABLE);
    free(file_with("client.password", "of-client\n", 10));
    free(file_with("daemon.password", "of-daemon\n", 10));
    ck_assert_msg(connect_target(opts, CONNECT_CLIENT, &target, &err) == 0, "%s", err.text);
    ck_assert_str_eq(target.unix_path, "/run/x.sock");
    ck_assert_str_eq(target.user, "client");
    ck_assert_str_eq(target.password, "of-client");
    ck_assert_int_eq(target.timeout_ms, 1234);
    redis_target_done(&target);
    ck_assert_int_eq(connect_target(opts, CONNECT_DAEMON, &target, &err), 0);
    ck_assert_str_eq(target.user, "daemon");
    ck_assert_str_eq(target.password, "of-daemon");
    redis_target_done(&target);
    options_free(opts);
    free(yaml);
}
END_TEST

START_TEST(external)
{
    char *file = file_with("external", "from-file\n", 10);
    char *yaml = mem_printf("config_version: 1\nredis:\n  embedded: false\n"
                            "  url: redis://example.org:7000/3\n  user: me\n  password_file: %s\n",
                            file);
    struct options *opts = options_of(yaml);
    struct redis_target target = {0};
    struct cb_error err = {0};
    ck_assert_msg(connect_target(opts, CONNECT_CLIENT, &target, &err) == 0, "%s", err.text);
    ck_assert_str_eq(target.host, "example.org");
    ck_assert_int_eq(target.port, 7000);
    ck_assert_int_eq(target.db, 3);
    ck_assert_str_eq(target.user, "me");
    ck_assert_str_eq(target.password, "from-file");
    redis_target_done(&target);
    unlink(file);
    ck_assert_int_eq(connect_target(opts, CONNECT_CLIENT, &target, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, file));
    options_free(opts);
    free(yaml);
    free(file);
    opts = options_of("config_version: 1\nredis:\n  embedded: false\n  url: redis://127.0.0.1/\n");
    ck_assert_int_eq(connect_target(opts, CONNECT_CLIENT, &target, &err), 0);
    ck_assert_int_eq(target.port, 6379);
    redis_target_done(&target);
    options_free(opts);
}
END_TEST

START_TEST(external_with_two_users)
{
    char *daemons = file_with("external", "of-daemon\n", 10);
    char *clients = file_with("external.client", "of-client\n", 10);
    char *yaml = mem_printf("config_version: 1\nredis:\n  embedded: false\n"
                            "  url: redis://127.0.0.1/\n  user: d\n  password_file: %s\n"
                            "  client_user: c\n  client_password_file: %s\n",
                            daemons, clients);
    struct options *opts = options_of(yaml);
    struct redis_target target = {0};
    struct cb_error err = {0};
    ck_assert_msg(connect_target(opts, CONNECT_DAEMON, &target, &err) == 0, "%s", err.text);
    ck_assert_str_eq(target.user, "d");
    ck_assert_str_eq(target.password, "of-daemon");
    redis_target_done(&target);
    unlink(daemons); /* the client has no business there, and mostly may not */
    ck_assert_msg(connect_target(opts, CONNECT_CLIENT, &target, &err) == 0, "%s", err.text);
    ck_assert_str_eq(target.user, "c");
    ck_assert_str_eq(target.password, "of-client");
    redis_target_done(&target);
    options_free(opts);
    free(yaml);
    free(daemons);
    free(clients);
}
END_TEST

static void make_folder(void)
{
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
    static const char *const names[] = {"p", "client.password", "daemon.password", "external",
                                        "external.client"};
    for (size_t i = 0; i < CB_ARRAY_LEN(names); i++) {
        char *path = mem_printf("%s/%s", folder, names[i]);
        unlink(path);
        free(path);
    }
    rmdir(folder);
}

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, make_folder, remove_folder);
    tcase_add_test(tc, passwords);
    tcase_add_test(tc, bad_password_files);
    tcase_add_test(tc, embedded);
    tcase_add_test(tc, external);
    tcase_add_test(tc, external_with_two_users);
}

UNIT_MAIN("connect", add_tests)
