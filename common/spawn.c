/*
 * spawn.c: see spawn.h. The child works on a copy of the plan that was made before the fork, and ends
 * with _exit(127) after it has written its errno into the pipe.
 */
#include "common/compat.h"
#include "common/spawn.h"

#include "common/mem.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#ifdef HAVE_LINUX_CLOSE_RANGE_H
#include <linux/close_range.h>
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

enum { SPAWN_FDS_MAX = 8, SPAWN_FD_MAX = 16 };

/* ---- in the child: async-signal-safe calls only ---- */

/* Everything from 3 on is closed by the exec, unless the plan puts it in place afterwards. */
static void child_mark_cloexec(void)
{
#ifdef HAVE_CLOSE_RANGE
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
#endif
    long max = sysconf(_SC_OPEN_MAX);
    for (int fd = 3; fd < max; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* First all sources out of the way of all targets, then each to its place. */
static int child_place_fds(const struct spawn_plan *plan)
{
    int moved[SPAWN_FDS_MAX];

    for (size_t i = 0; i < plan->nfds; i++) {
        moved[i] = fcntl(plan->fds[i].from, F_DUPFD_CLOEXEC, SPAWN_FD_MAX);
        if (moved[i] < 0)
            return -1;
    }
    child_mark_cloexec();
    for (size_t i = 0; i < plan->nfds; i++)
        if (dup2(moved[i], plan->fds[i].to) < 0)
            return -1;
    return 0;
}

static void child_reset_signals(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        (void)sigaction(sig, &dfl, NULL); /* fails for KILL, STOP and libc's own */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_prepare(const struct spawn_plan *plan, pid_t parent)
{
    if (plan->parent_death_signal) {
        if (prctl(PR_SET_PDEATHSIG, plan->parent_death_signal) < 0)
            return -1;
        if (getppid() != parent) {
            errno = ESRCH; /* the parent died before the prctl */
            return -1;
        }
    }
    if (plan->new_session && setsid() < 0)
        return -1;
    if (plan->new_group && !plan->new_session && setpgid(0, 0) < 0)
        return -1;
    if (plan->cwd && chdir(plan->cwd) < 0)
        return -1;
    return child_place_fds(plan);
}

static CB_NORETURN void child_run(const struct spawn_plan *plan, pid_t parent, int error_fd)
{
    if (child_prepare(plan, parent) == 0) {
        child_reset_signals();
        execve(plan->path, plan->argv, plan->envp ? plan->envp : environ);
    }
    int code = errno;
    ssize_t ignored = write(error_fd, &code, sizeof code);
    (void)ignored;
    _exit(127);
}

/* ---- in the parent ---- */

/* A pipe above the targets, so that the child's dup2 can't hit it. */
static int open_error_pipe(int out[2])
{
    int low[2];

    if (pipe2(low, O_CLOEXEC) < 0)
        return -1;
    out[0] = low[0];
    out[1] = fcntl(low[1], F_DUPFD_CLOEXEC, SPAWN_FD_MAX);
    int saved = errno;
    close(low[1]);
    if (out[1] < 0) {
        close(low[0]);
        errno = saved;
        return -1;
    }
    return 0;
}

/* The child's errno, or 0 when the exec closed the pipe. */
static int read_exec_error(int fd)
{
    int code = 0;
    ssize_t n;

    do
        n = read(fd, &code, sizeof code);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof code ? code : 0;
}

static pid_t fork_blocked(const struct spawn_plan *plan, int error_fd)
{
    sigset_t all;
    sigset_t old;
    pid_t parent = getpid();

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid == 0)
        child_run(plan, parent, error_fd);
    int saved = errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return pid;
}

pid_t spawn_process(const struct spawn_plan *plan, struct cb_error *err)
{
    int error_pipe[2];

    cb_assert(plan->nfds <= SPAWN_FDS_MAX);
    for (size_t i = 0; i < plan->nfds; i++)
        cb_assert(plan->fds[i].to >= 0 && plan->fds[i].to < SPAWN_FD_MAX);
    if (open_error_pipe(error_pipe) < 0)
        return cb_error_set(err, errno, "%s: pipe: %s", plan->path, strerror(errno));

    pid_t pid = fork_blocked(plan, error_pipe[1]);
    int code = pid < 0 ? errno : 0;
    close(error_pipe[1]);
    if (pid < 0) {
        close(error_pipe[0]);
        return cb_error_set(err, code, "%s: fork: %s", plan->path, strerror(code));
    }
    code = read_exec_error(error_pipe[0]);
    close(error_pipe[0]);
    if (code == 0)
        return pid;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return cb_error_set(err, code, "%s: %s", plan->path, strerror(code));
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *spawn_find(const char *name)
{
    const char *path = getenv("PATH");

    for (const char *p = path ? path : "/usr/local/bin:/usr/bin:/bin"; *p;) {
        size_t len = strcspn(p, ":");
        char *candidate = mem_printf("%.*s/%s", (int)len, p, name);
        if (*p == '/' && is_program(candidate))
            return candidate;
        free(candidate);
        p += len + (p[len] == ':');
    }
    return NULL;
}

int spawn_own_dir(char *out, size_t size)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

    if (n < 0)
        return -1;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        return -1;
    *slash = '\0';
    if (strlen(path) >= size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(out, path, strlen(path) + 1);
    return 0;
}
