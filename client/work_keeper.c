/*
 * work_keeper.c: ends the jobs of a `claudebench work` that was killed with -9.
 *
 * PDEATHSIG reaches a job's first process only, not what that has started. So `work` starts this
 * process of its own binary with a pipe on stdin, in a session of its own, and tells it each job's
 * process group: "+123\n" when it begins, "-123\n" before its number can be used again. When the
 * pipe ends, the groups that are left are killed. It ignores all signals that it can and leaves
 * with `work`.
 */
#include "common/compat.h"
#include "client/verbs.h"
#include "client/work.h"

#include "common/exitcode.h"
#include "common/spawn.h"

#include <fcntl.h>
#include <sys/prctl.h>

/* ---- in work ---- */

int keeper_start(void)
{
    static char name[] = "claudebench", verb[] = WORK_KEEPER_VERB;
    char *argv[] = {name, verb, NULL};
    int pipe_fds[2];
    struct cb_error err = {0};

    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return -1;
    struct spawn_fd stdin_fd = {.from = pipe_fds[0], .to = STDIN_FILENO};
    struct spawn_plan plan = {
        .path = "/proc/self/exe",
        .argv = argv,
        .fds = &stdin_fd,
        .nfds = 1,
        .new_session = true,
    };
    pid_t pid = spawn_process(&plan, &err);
    close(pipe_fds[0]);
    if (pid < 0) {
        close(pipe_fds[1]);
        cli_say("cannot start the keeper (%s): jobs may outlive a kill -9 of this process",
                err.text);
        return -1;
    }
    return pipe_fds[1];
}

void keeper_tell(int fd, pid_t group, bool has_begun)
{
    char line[24];

    if (fd < 0)
        return;
    int len = snprintf(line, sizeof line, "%c%d\n", has_begun ? '+' : '-', (int)group);
    ssize_t n;
    do
        n = write(fd, line, (size_t)len); /* atomic: shorter than PIPE_BUF */
    while (n < 0 && errno == EINTR);
}

/* ---- the keeper ---- */

static pid_t groups[WORK_JOBS_MAX];

static void keep_line(const char *line)
{
    pid_t group = (pid_t)strtol(line + 1, NULL, 10);
    pid_t from = line[0] == '+' ? 0 : group, to = line[0] == '+' ? group : 0;

    if (group <= 1)
        return;
    for (size_t i = 0; i < CB_ARRAY_LEN(groups); i++) {
        if (groups[i] == from) {
            groups[i] = to;
            return;
        }
    }
}

static void keep_bytes(struct buf *text)
{
    char *eol;

    while (text->len > 0 && (eol = memchr(text->data, '\n', text->len))) {
        *eol = '\0';
        keep_line(text->data);
        buf_consume(text, (size_t)(eol - text->data) + 1);
    }
    if (text->len > 64)
        buf_reset(text); /* none of ours */
}

int work_keeper_main(void)
{
    struct buf text = BUF_INIT;

    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_IGN); /* fails for KILL and STOP */
    prctl(PR_SET_NAME, "cb-work-keeper");
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buf_reserve(&text, 512), 512);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        text.len += (size_t)n;
        text.data[text.len] = '\0';
        keep_bytes(&text);
    }
    for (size_t i = 0; i < CB_ARRAY_LEN(groups); i++)
        if (groups[i] > 1)
            kill(-groups[i], SIGKILL);
    buf_done(&text);
    return EXITCODE_OK;
}
