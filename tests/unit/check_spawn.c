/*
 * check_spawn.c: common/spawn: exactly the planned descriptors, a clean signal state, errors of exec told
 * to the parent, no zombie and no descriptor left when it fails.
 */
#include "common/compat.h"
#include "common/spawn.h"

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static int count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Runs `sh -c script` with these descriptors and stdout in a pipe; returns what it wrote. */
static void run(const char *script, const struct spawn_fd *more, size_t nmore,
                struct spawn_plan plan, char *out, size_t size)
{
    int output[2];
    struct spawn_fd fds[8];
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)script, NULL};
    struct cb_error err = {0};
    size_t len = 0;
    ssize_t n;

    ck_assert_int_eq(pipe2(output, O_CLOEXEC), 0);
    fds[0] = (struct spawn_fd){output[1], STDOUT_FILENO};
    for (size_t i = 0; i < nmore; i++)
        fds[i + 1] = more[i];
    plan.path = "/bin/sh";
    plan.argv = argv;
    plan.fds = fds;
    plan.nfds = nmore + 1;
    pid_t pid = spawn_process(&plan, &err);
    ck_assert_msg(pid > 0, "%s", err.text);
    close(output[1]);
    while ((n = read(output[0], out + len, size - 1 - len)) > 0)
        len += (size_t)n;
    out[len] = '\0';
    close(output[0]);
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

START_TEST(the_child_has_the_planned_descriptors_only)
{
    char out[512];
    int stray[40];
    int a = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int b = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    const struct spawn_fd plan[] = {{a, 3}, {b, 4}};

    for (size_t i = 0; i < CB_ARRAY_LEN(stray); i++)
        stray[i] = open("/dev/full", O_WRONLY); /* not close-on-exec: must be closed all the same */
    run("cd /proc/$$/fd && for f in [3-9] [1-9][0-9]; do [ -L $f ] && echo $f $(readlink $f); "
        "done; :",
        plan, 2, (struct spawn_plan){0}, out, sizeof out);
    ck_assert_ptr_nonnull(strstr(out, "3 /dev/null\n"));
    ck_assert_ptr_nonnull(strstr(out, "4 /dev/zero\n"));
    ck_assert_ptr_null(strstr(out, "/dev/full"));
    for (size_t i = 0; i < CB_ARRAY_LEN(stray); i++)
        close(stray[i]);
    close(a);
    close(b);
}
END_TEST

/* 3 to 4 and 4 to 3: neither overwrites the other. */
START_TEST(descriptors_may_change_places)
{
    char out[512];
    int a = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int b = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    ck_assert_int_eq(dup2(a, 10), 10);
    ck_assert_int_eq(dup2(b, 11), 11);
    const struct spawn_fd plan[] = {{10, 11}, {11, 10}, {10, 10 - 7}};
    run("readlink /proc/$$/fd/11 /proc/$$/fd/10 /proc/$$/fd/3", plan, 3, (struct spawn_plan){0},
        out, sizeof out);
    ck_assert_str_eq(out, "/dev/null\n/dev/zero\n/dev/null\n");
    close(10);
    close(11);
    close(a);
    close(b);
}
END_TEST

START_TEST(signals_are_as_if_nobody_had_touched_them)
{
    char out[512];
    sigset_t set;
    sigset_t now;

    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    run("grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t'", NULL, 0, (struct spawn_plan){0},
        out, sizeof out);
    unsigned long long blocked, ignored;
    char *end;
    ck_assert_int_eq(strncmp(out, "SigBlk:", 7), 0);
    blocked = strtoull(out + 7, &end, 16);
    ck_assert_int_eq(strncmp(end, "\nSigIgn:", 8), 0);
    ignored = strtoull(end + 8, NULL, 16);
    ck_assert_uint_eq(blocked, 0);
    /* 32 and 33 are libc's own: sigaction() refuses them, and they stay as our own parent left them. */
    ck_assert_uint_eq(ignored & ~(1ULL << 31 | 1ULL << 32), 0);
    sigprocmask(SIG_SETMASK, NULL, &now); /* ours is what it was */
    ck_assert_int_eq(sigismember(&now, SIGTERM), 1);
}
END_TEST

START_TEST(folder_group_and_environment)
{
    char out[512];
    char *env[] = {(char *)"ONLY=this", NULL};

    run("pwd; echo $ONLY $HOME", NULL, 0, (struct spawn_plan){.cwd = "/usr", .envp = env}, out,
        sizeof out);
    ck_assert_str_eq(out, "/usr\nthis\n");
    run("set -- $(cat /proc/$$/stat); [ $1 = $5 ] && echo leads", NULL, 0,
        (struct spawn_plan){.new_group = true}, out, sizeof out);
    ck_assert_str_eq(out, "leads\n");
    run("set -- $(cat /proc/$$/stat); [ $1 = $6 ] && echo session", NULL, 0,
        (struct spawn_plan){.new_session = true, .new_group = true}, out, sizeof out);
    ck_assert_str_eq(out, "session\n");
}
END_TEST

static void assert_fails(struct spawn_plan *plan, int code)
{
    struct cb_error err = {0};
    int before = count_fds();

    ck_assert_int_eq(spawn_process(plan, &err), -1);
    ck_assert_int_eq(err.code, code);
    ck_assert_ptr_nonnull(strstr(err.text, plan->path));
    ck_assert_int_eq(count_fds(), before);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
    ck_assert_int_eq(errno, ECHILD);
}

START_TEST(a_failed_exec_is_told)
{
    char *argv[] = {(char *)"x", NULL};
    const struct spawn_fd bad[] = {{999, 3}};
    struct spawn_plan plan = {.path = "/does/not/exist", .argv = argv};

    assert_fails(&plan, ENOENT);
    plan.path = "/etc";
    assert_fails(&plan, EACCES);
    plan = (struct spawn_plan){.path = "/bin/true", .argv = argv, .cwd = "/does/not/exist"};
    assert_fails(&plan, ENOENT);
    plan = (struct spawn_plan){.path = "/bin/true", .argv = argv, .fds = bad, .nfds = 1};
    assert_fails(&plan, EBADF);
}
END_TEST

/* A parent of our own dies; its child must not outlive it. */
START_TEST(dies_with_its_parent)
{
    int life[2];
    char byte;

    ck_assert_int_eq(pipe2(life, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        char *argv[] = {(char *)"sleep", (char *)"60", NULL};
        const struct spawn_fd fds[] = {{life[1], 3}};
        struct spawn_plan plan = {.path = "/bin/sleep",
                                  .argv = argv,
                                  .fds = fds,
                                  .nfds = 1,
                                  .parent_death_signal = SIGKILL};
        _exit(spawn_process(&plan, NULL) > 0 ? 0 : 1);
    }
    close(life[1]);
    int status = 0;
    waitpid(parent, &status, 0);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(read(life[0], &byte, 1), 0); /* ends when the last holder has died */
    close(life[0]);
}
END_TEST

START_TEST(own_dir)
{
    char dir[PATH_MAX];
    char small[2];

    ck_assert_int_eq(spawn_own_dir(dir, sizeof dir), 0);
    ck_assert_int_eq(dir[0], '/');
    ck_assert_int_ne(dir[strlen(dir) - 1], '/');
    ck_assert_int_eq(spawn_own_dir(small, sizeof small), -1);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, the_child_has_the_planned_descriptors_only);
    tcase_add_test(tc, descriptors_may_change_places);
    tcase_add_test(tc, signals_are_as_if_nobody_had_touched_them);
    tcase_add_test(tc, folder_group_and_environment);
    tcase_add_test(tc, a_failed_exec_is_told);
    tcase_add_test(tc, dies_with_its_parent);
    tcase_add_test(tc, own_dir);
}

UNIT_MAIN("spawn", add_tests)
