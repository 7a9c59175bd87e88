/*
 * check_fault.c: common/fault: which points act, how, and when. Built with CB_FAILPOINTS and its own copy
 * of fault.c whatever the build (tests/Makefile.inc). Each case runs in a child process, because most end it.
 */
#include "common/compat.h"
#include "common/fault.h"

#include "common/clock.h"
#include "common/mem.h"
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/wait.h>

/* Runs `body` in a child with that CLAUDEBENCH_FAILPOINT; returns its wait status (0: it survived). */
static int status_of(const char *spec, void (*body)(void))
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        setenv("CLAUDEBENCH_FAILPOINT", spec, 1);
        body();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    if (WIFSTOPPED(status)) {
        int after;
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, &after, 0), pid);
    }
    return status;
}

static void hit_once(void)
{
    fault_point("commit");
}

static void hit_three_times(void)
{
    for (int i = 0; i < 3; i++)
        fault_point("commit");
}

static void hit_with_text(void)
{
    fault_point_text("commit", "id=t-1 poison", 13);
}

static void hit_with_cut_text(void)
{
    fault_point_text("commit", "id=t-1 poison", 12);
}

static bool has_exited(int status, int code)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

static bool was_killed(int status, int signo)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == signo;
}

START_TEST(unarmed)
{
    unsetenv("CLAUDEBENCH_FAILPOINT");
    fault_point("commit");
    fault_point_text("commit", NULL, 0);
    static const char *const specs[] = {
        "",          "other:kill",   "commit", "commit:", "commit:unknown",
        "comm:kill", "commits:kill", ",,:"};
    for (size_t i = 0; i < CB_ARRAY_LEN(specs); i++)
        ck_assert_msg(has_exited(status_of(specs[i], hit_once), 0), "%s", specs[i]);
}
END_TEST

START_TEST(actions)
{
    ck_assert(was_killed(status_of("commit:kill", hit_once), SIGKILL));
    ck_assert(has_exited(status_of("commit:exit=78", hit_once), 78));
    ck_assert(was_killed(status_of("commit:abort", hit_once), SIGABRT));
    int status = status_of("commit:stop", hit_once);
    ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
}
END_TEST

/* ASan turns the signal into an exit of its own. */
START_TEST(segv)
{
    int status = status_of("commit:segv", hit_once);
    ck_assert(was_killed(status, SIGSEGV) || (WIFEXITED(status) && WEXITSTATUS(status) != 0));
}
END_TEST

START_TEST(delays)
{
    int64_t start = clock_mono_ms();
    ck_assert(has_exited(status_of("commit:delay=30", hit_once), 0));
    ck_assert_int_ge(clock_mono_ms() - start, 30);
}
END_TEST

START_TEST(several_points)
{
    ck_assert(has_exited(status_of("a:kill,commit:exit=3,b:kill", hit_once), 3));
    ck_assert(has_exited(status_of("commit:delay=1,commit:exit=4", hit_once), 4));
}
END_TEST

START_TEST(nth)
{
    ck_assert(has_exited(status_of("commit:exit=5:nth=1", hit_once), 5));
    ck_assert(has_exited(status_of("commit:exit=5:nth=2", hit_once), 0));
    ck_assert(has_exited(status_of("commit:exit=5:nth=3", hit_three_times), 5));
    ck_assert(has_exited(status_of("commit:exit=5:nth=4", hit_three_times), 0));
}
END_TEST

START_TEST(matches)
{
    ck_assert(has_exited(status_of("commit:exit=6:match=poison", hit_with_text), 6));
    ck_assert(has_exited(status_of("commit:exit=6:match=poison", hit_with_cut_text), 0));
    ck_assert(has_exited(status_of("commit:exit=6:match=poison", hit_once), 0));
    ck_assert(has_exited(status_of("commit:exit=6:match=poison:nth=2", hit_with_text), 0));
}
END_TEST

START_TEST(once_over_all_processes)
{
    char folder[] = "/tmp/check_fault.XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    char *file = mem_printf("%s/once", folder);
    char *spec = mem_printf("commit:exit=7:once=%s", file);
    ck_assert(has_exited(status_of(spec, hit_once), 7));
    ck_assert(has_exited(status_of(spec, hit_once), 0));
    ck_assert(has_exited(status_of(spec, hit_three_times), 0));
    unlink(file);
    ck_assert(has_exited(status_of(spec, hit_three_times), 7));
    unlink(file);
    rmdir(folder);
    free(spec);
    free(file);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, unarmed);
    tcase_add_test(tc, actions);
    tcase_add_test(tc, segv);
    tcase_add_test(tc, delays);
    tcase_add_test(tc, several_points);
    tcase_add_test(tc, nth);
    tcase_add_test(tc, matches);
    tcase_add_test(tc, once_over_all_processes);
}

UNIT_MAIN("fault", add_tests)
