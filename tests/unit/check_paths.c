/*
 * check_paths.c: common/paths.
 */
#include "common/compat.h"
#include "common/paths.h"

#include "common/exitcode.h"
#include "common/mem.h"
#include "tests/unit/unit.h"

#include <ftw.h>
#include <sys/stat.h>

static char folder[] = "/tmp/check_paths.XXXXXX";

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void setup(void)
{
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("HOME", "/home/somebody", 1);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_STATE_HOME");
    unsetenv("XDG_RUNTIME_DIR");
}

static void teardown(void)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

START_TEST(system_folders)
{
    struct paths p;
    ck_assert_int_eq(paths_init(&p, PATHS_SYSTEM, NULL), 0);
    ck_assert(p.is_system);
    ck_assert_str_eq(p.config_dir, CB_SYSCONFDIR "/claudebench");
    ck_assert_str_eq(p.run_dir, CB_RUNSTATEDIR "/claudebench");
    ck_assert_str_eq(p.state_dir, CB_LOCALSTATEDIR "/lib/claudebench");
    ck_assert_str_eq(p.log_dir, CB_LOCALSTATEDIR "/log/claudebench");
    paths_done(&p);
    paths_done(&p);
    ck_assert_int_eq(paths_init(&p, PATHS_AUTO, NULL), 0);
    ck_assert_int_eq(p.is_system, geteuid() == 0);
    paths_done(&p);
}
END_TEST

START_TEST(user_folders)
{
    struct paths p;
    char *run = mem_printf("%s/claudebench", folder);
    setenv("XDG_CONFIG_HOME", "/x/config", 1);
    setenv("XDG_STATE_HOME", "/x/state", 1);
    setenv("XDG_RUNTIME_DIR", folder, 1);
    ck_assert_int_eq(paths_init(&p, PATHS_USER, NULL), 0);
    ck_assert(!p.is_system);
    ck_assert_str_eq(p.config_dir, "/x/config/claudebench");
    ck_assert_str_eq(p.state_dir, "/x/state/claudebench");
    ck_assert_str_eq(p.log_dir, "/x/state/claudebench/log");
    ck_assert_str_eq(p.run_dir, run);
    paths_done(&p);
    free(run);
}
END_TEST

START_TEST(rules_of_the_user)
{
    struct paths p;
    char *config = mem_printf("%s/claudebench", folder);
    char *rules = mem_printf("%s/rules.d", config);
    setenv("XDG_CONFIG_HOME", folder, 1);
    ck_assert_int_eq(paths_init(&p, PATHS_USER, NULL), 0);
    char *found = paths_rules_dir(&p); /* the system's, or the shipped ones */
    ck_assert_str_ne(found, rules);
    free(found);
    ck_assert_int_eq(mkdir(config, 0700), 0);
    ck_assert_int_eq(mkdir(rules, 0700), 0);
    found = paths_rules_dir(&p);
    ck_assert_str_eq(found, rules);
    free(found);
    paths_done(&p);
    free(rules);
    free(config);
}
END_TEST

START_TEST(user_fallbacks)
{
    struct paths p;
    char own[64];
    struct stat st;
    setenv("XDG_CONFIG_HOME", "relative", 1);
    setenv("XDG_STATE_HOME", "", 1);
    setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
    ck_assert_int_eq(paths_init(&p, PATHS_USER, NULL), 0);
    ck_assert_str_eq(p.config_dir, "/home/somebody/.config/claudebench");
    ck_assert_str_eq(p.state_dir, "/home/somebody/.local/state/claudebench");
    snprintf(own, sizeof own, "/run/user/%u", (unsigned)geteuid());
    if (stat(own, &st) != 0)
        ck_assert_str_eq(p.run_dir, "/home/somebody/.local/state/claudebench/run");
    paths_done(&p);
    unsetenv("HOME"); /* the password file knows it, or it is an error */
    struct cb_error err;
    if (paths_init(&p, PATHS_USER, &err) == 0) {
        ck_assert_int_eq(p.state_dir[0], '/');
        paths_done(&p);
    } else {
        ck_assert_int_eq(err.code, EXITCODE_CONFIG);
    }
}
END_TEST

START_TEST(names_that_cannot_be_shown_are_refused)
{
    static const char *const variables[] = {"HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"};
    static const char *const bad[] = {"/a\nb", "/a\x1b[31m", "/a\xff", "/\xc2\x9b"};
    for (size_t v = 0; v < CB_ARRAY_LEN(variables); v++) {
        for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
            struct paths p;
            struct cb_error err;
            setenv(variables[v], bad[i], 1);
            ck_assert_int_eq(paths_init(&p, PATHS_USER, &err), -1);
            ck_assert_int_eq(err.code, EXITCODE_CONFIG);
            ck_assert_ptr_null(strchr(err.text, '\n'));
        }
        setenv(variables[v], "/ok", 1);
    }
}
END_TEST

START_TEST(folders_are_made)
{
    char *path = mem_printf("%s/a/b/c", folder);
    char *parent = mem_printf("%s/a", folder);
    mode_t mask = umask(0077);
    ck_assert_int_eq(paths_make_dir(path, 0750, NULL), 0);
    ck_assert_int_eq(mode_of(path), 0750);
    ck_assert_int_eq(mode_of(parent), 0755);
    ck_assert_int_eq(paths_make_dir(path, 0700, NULL), 0);
    ck_assert_int_eq(mode_of(path), 0750); /* what is there is left alone */
    free(path);
    path = mem_printf("%s/x/y/", folder);
    ck_assert_int_eq(paths_make_dir(path, 0700, NULL), 0);
    ck_assert_int_eq(mode_of(path), 0700);
    umask(mask);
    free(path);
    free(parent);
}
END_TEST

static void make_file(const char *path)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fclose(file);
}

START_TEST(folders_that_cannot_be_trusted)
{
    struct cb_error err;
    char *path = mem_printf("%s/open", folder);
    char *below = mem_printf("%s/open/file/x", folder);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(chmod(path, 0777), 0);
    ck_assert_int_eq(paths_make_dir(path, 0700, &err), -1);
    ck_assert_int_eq(err.code, EPERM);
    free(path);

    path = mem_printf("%s/open/file", folder);
    make_file(path);
    ck_assert_int_eq(paths_make_dir(path, 0700, &err), -1);
    ck_assert_int_eq(err.code, ENOTDIR);
    ck_assert_int_eq(paths_make_dir(below, 0700, &err), -1);
    ck_assert_int_eq(err.code, ENOTDIR);
    ck_assert_int_eq(paths_make_dir("", 0700, &err), -1);
    free(path);
    free(below);
}
END_TEST

/* What would come of it is told, and nothing is made. */
START_TEST(folders_and_files_are_looked_at)
{
    struct cb_error err;
    const struct {
        const char *name;
        int dir, file; /* errno, 0: it can be */
    } rows[] = {{"there", 0, EISDIR},         {"new/of/three/", 0, ENOENT}, {"there/new", 0, 0},
                {"file", ENOTDIR, 0},         {"file/x", ENOTDIR, ENOTDIR}, {"open", EPERM, EISDIR},
                {"dangling", ENOENT, ENOENT}, {"link", 0, EISDIR}};
    char *path[4] = {mem_printf("%s/there", folder), mem_printf("%s/file", folder),
                     mem_printf("%s/dangling", folder), mem_printf("%s/open", folder)};
    char *link = mem_printf("%s/link", folder);
    ck_assert(mkdir(path[0], 0700) == 0 && mkdir(path[3], 0700) == 0 && chmod(path[3], 0777) == 0);
    ck_assert(symlink("nowhere", path[2]) == 0 && symlink("there", link) == 0);
    make_file(path[1]);
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        char *at = mem_printf("%s/%s", folder, rows[i].name);
        struct stat before, after;
        bool was_there = lstat(at, &before) == 0;
        err.code = 0;
        ck_assert_int_eq(paths_check_dir(at, &err), rows[i].dir ? -1 : 0);
        ck_assert_msg(err.code == rows[i].dir, "%s: %s", at, err.code ? err.text : "good");
        err.code = 0;
        ck_assert_int_eq(paths_check_file(at, &err), rows[i].file ? -1 : 0);
        ck_assert_msg(err.code == rows[i].file, "%s: %s", at, err.code ? err.text : "good");
        ck_assert_int_eq(lstat(at, &after) == 0, was_there);
        free(at);
    }
    ck_assert_int_eq(paths_check_dir("", &err), -1);
    for (size_t i = 0; i < CB_ARRAY_LEN(path); i++)
        free(path[i]);
    free(link);
}
END_TEST

START_TEST(folder_part)
{
    static const char *const rows[][2] = {{"/a/b", "/a"},   {"/a", "/"}, {"a", "."},
                                          {"a/b/c", "a/b"}, {"", "."},   {"/", "/"}};
    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++) {
        char *dir = paths_dirname(rows[i][0]);
        ck_assert_str_eq(dir, rows[i][1]);
        free(dir);
    }
}
END_TEST

START_TEST(system_configuration)
{
    ck_assert(paths_is_system_config(CB_SYSCONFDIR "/claudebench/claudebench.yaml"));
    ck_assert(paths_is_system_config(CB_SYSCONFDIR "/claudebench/other/x.yaml"));
    ck_assert(!paths_is_system_config(CB_SYSCONFDIR "/claudebench-old/x.yaml"));
    ck_assert(!paths_is_system_config("/tmp/x.yaml"));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, system_folders);
    tcase_add_test(tc, user_folders);
    tcase_add_test(tc, rules_of_the_user);
    tcase_add_test(tc, user_fallbacks);
    tcase_add_test(tc, names_that_cannot_be_shown_are_refused);
    tcase_add_test(tc, folders_are_made);
    tcase_add_test(tc, folders_that_cannot_be_trusted);
    tcase_add_test(tc, folders_and_files_are_looked_at);
    tcase_add_test(tc, folder_part);
    tcase_add_test(tc, system_configuration);
}

UNIT_MAIN("paths", add_tests)
