/*
 * check_rules_paths.c: common/rules: globs for names and paths, paths in one form, kinds of tools.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

#include "common/clock.h"
#include "common/mem.h"
#include "tests/unit/unit.h"

static struct arena arena = ARENA_INIT;

static void teardown(void)
{
    arena_done(&arena);
}

static void path_is(const char *path, const char *expected)
{
    const char *got = rules_normalise_path(&arena, path, strlen(path), "/home/u/p", "/home/u");
    ck_assert_msg(strcmp(got, expected) == 0, "%s: %s instead of %s", path, got, expected);
}

START_TEST(paths_in_one_form)
{
    path_is("/", "/");
    path_is("//", "/");
    path_is("/.", "/");
    path_is("/..", "/");
    path_is("/a/../..", "/");
    path_is("/a//b/./c/", "/a/b/c");
    path_is("/a/b/../c", "/a/c");
    path_is("", "/home/u/p");
    path_is(".", "/home/u/p");
    path_is("x/y", "/home/u/p/x/y");
    path_is("../../..", "/");
    path_is("../../../../etc", "/etc");
    path_is("~", "/home/u");
    path_is("~/x", "/home/u/x");
    path_is("~/..", "/home");
    path_is("~x", "/home/u/p/~x");
    path_is("$HOME/x", "/home/u/x");
    path_is("${HOME}", "/home/u");
    path_is("$HOMEX", "/home/u/p/$HOMEX");
    path_is("file:///etc/x", "/etc/x");
    path_is("/proc/self/root/etc", "/etc");
    path_is("/proc/1/root", "/");
    path_is("/proc/7/task/8/root/etc", "/etc");
    path_is("/proc/self/rooted", "/proc/self/rooted");
    path_is("/private/etc/x", "/etc/x");
    path_is("...", "/home/u/p/...");
    path_is("/a/..b", "/a/..b");
}
END_TEST

START_TEST(paths_of_nobody)
{
    ck_assert_str_eq(rules_normalise_path(&arena, "~/x", 3, NULL, NULL), "~/x");
    ck_assert_str_eq(rules_normalise_path(&arena, "x", 1, NULL, NULL), "\x01/x");
    ck_assert_str_eq(rules_normalise_path(&arena, "../../x", 7, NULL, NULL), "\x01/x");
    ck_assert_str_eq(rules_normalise_path(&arena, "/x", 2, NULL, NULL), "/x");
}
END_TEST

START_TEST(links)
{
    char dir[] = "/tmp/check-rules-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    char *link = mem_printf("%s/link", dir);
    char *below = mem_printf("%s/passwd", link);
    char *missing = mem_printf("%s/none/x", dir);
    ck_assert_int_eq(symlink("/etc", link), 0);
    ck_assert_str_eq(rules_resolve_path(&arena, link), "/etc");
    ck_assert_str_eq(rules_resolve_path(&arena, below), "/etc/passwd");
    ck_assert_ptr_null(rules_resolve_path(&arena, missing));
    ck_assert_ptr_null(rules_resolve_path(&arena, "relative"));
    unlink(link);
    rmdir(dir);
    free(link);
    free(below);
    free(missing);
}
END_TEST

static void glob_is(const char *pattern, const char *path, bool is_glob, bool expected)
{
    bool got = rules_path_glob(pattern, path, is_glob, "/home/u");
    ck_assert_msg(got == expected, "%s %s %s", pattern, got ? "matches" : "does not match", path);
}

START_TEST(path_globs)
{
    glob_is("/etc", "/etc", false, true);
    glob_is("/etc", "/etc/x", false, false);
    glob_is("/etc", "/etcx", false, false);
    glob_is("/etc/*", "/etc/x", false, true);
    glob_is("/etc/*", "/etc/x/y", false, false);
    glob_is("/etc/*", "/etc", false, false);
    glob_is("/etc/**", "/etc", false, true);
    glob_is("/etc/**", "/etc/x/y", false, true);
    glob_is("/etc/**", "/etcx", false, false);
    glob_is("/**", "/", false, true);
    glob_is("/**", "/a/b", false, true);
    glob_is("**/.env", "/a/b/.env", false, true);
    glob_is("**/.env", "/a/b/.envrc", false, false);
    glob_is("**/a/**/b", "/x/a/y/z/b", false, true);
    glob_is("/x?z", "/xyz", false, true);
    glob_is("/x?z", "/x/z", false, false);
    glob_is("/x[a-c]", "/xb", false, true);
    glob_is("/x[!a-c]", "/xb", false, false);
    glob_is("/x[!a-c]", "/xd", false, true);
    glob_is("~", "/home/u", false, true);
    glob_is("~/.ssh/id_*[!b]", "/home/u/.ssh/id_rsa", false, true);
    glob_is("~/.ssh/id_*[!b]", "/home/u/.ssh/id_rsa.pub", false, false);
    glob_is("~/x", "/home/user/x", false, false);
    glob_is("/lib*/**", "/lib64/x", false, true);
}
END_TEST

/* The path is a pattern itself: could it be one of these? */
START_TEST(globs_against_globs)
{
    glob_is("/etc", "/e?c", true, true);
    glob_is("/etc", "/e[st]c", true, true);
    glob_is("/etc", "/*", true, true);
    glob_is("/etc", "/x*", true, false);
    glob_is("/etc/**", "/*/passwd", true, true);
    glob_is("/etc/passwd", "/*/*", true, true);
    glob_is("/etc/passwd", "/*", true, false);
    glob_is("/etc/*.conf", "/etc/*.d", true, false);
    glob_is("/etc/*.conf", "/etc/a*", true, true);
    glob_is("~/.ssh", "/home/u/*", true, false);
    glob_is("~/.ssh", "/home/u/.*", true, true);
    glob_is("~/Documents", "/home/u/*", true, true);
    glob_is("**/.env", "/home/u/p/.env*", true, true);
    glob_is("**/secrets.yml", "/home/u/p/*.yml", true, false);
    glob_is("**/.claude/settings.json", "/home/u/p/.claude/*", true, true);
}
END_TEST

START_TEST(globs_are_never_slow)
{
    char pattern[2001], path[4001];
    memset(path, 'a', 4000);
    path[0] = '/';
    path[4000] = '\0';
    for (size_t i = 0; i < 2000; i++)
        pattern[i] = "*a"[i % 2];
    pattern[2000] = '\0';
    pattern[0] = '/';
    pattern[1998] = 'b';
    int64_t before = clock_mono_us();
    rules_path_glob(pattern, path, false, NULL);
    rules_path_glob(pattern, path, true, NULL);
    rules_glob(pattern, path, 4000);
    for (size_t i = 0; i < 1998; i++)
        pattern[i] = "**a"[i % 3];
    rules_path_glob(pattern, path, false, NULL);
    printf("# worst globs took %" PRId64 " us\n", clock_mono_us() - before);
}
END_TEST

START_TEST(name_globs)
{
    ck_assert(rules_glob("rm", "rm", 2));
    ck_assert(!rules_glob("rm", "rmdir", 5));
    ck_assert(rules_glob("python*", "python3.11", 10));
    ck_assert(rules_glob("*", "", 0));
    ck_assert(rules_glob("*a*b", "xaxab", 5));
    ck_assert(!rules_glob("*a*b", "xaxa", 4));
    ck_assert(!rules_glob("?", "", 0));
    ck_assert(rules_glob("a?c", "abc", 3));
}
END_TEST

START_TEST(tools)
{
    ck_assert_uint_eq(rules_tool_kind("Bash"), RULES_TOOL_SHELL);
    ck_assert_uint_eq(rules_tool_kind("bash"), RULES_TOOL_SHELL);
    ck_assert_uint_eq(rules_tool_kind("mcp__x__exec_command"), RULES_TOOL_SHELL);
    ck_assert_uint_eq(rules_tool_kind("Write"), RULES_TOOL_EDIT);
    ck_assert_uint_eq(rules_tool_kind("Read"), RULES_TOOL_READ);
    ck_assert_uint_eq(rules_tool_kind("TodoWrite"), 0);
    ck_assert(rules_tool_matches("@edit", "MultiEdit"));
    ck_assert(!rules_tool_matches("@edit", "Read"));
    ck_assert(rules_tool_matches("mcp__*", "mcp__a__b"));
    ck_assert(rules_is_tool_pattern("@shell") && !rules_is_tool_pattern("@none"));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_unchecked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, paths_in_one_form);
    tcase_add_test(tc, paths_of_nobody);
    tcase_add_test(tc, links);
    tcase_add_test(tc, path_globs);
    tcase_add_test(tc, globs_against_globs);
    tcase_add_test(tc, globs_are_never_slow);
    tcase_add_test(tc, name_globs);
    tcase_add_test(tc, tools);
}

UNIT_MAIN("rules_paths", add_tests)
