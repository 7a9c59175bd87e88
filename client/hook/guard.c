/*
 * guard.c: the call in a process of its own, so that whatever happens there ends in an answer. See hook.h.
 *
 * An agent lets the tool run when its hook dies or takes too long. So the process that the agent sees does nothing that can
 * go wrong: it starts another one, waits for a whole answer, and writes that in one piece; when none comes, it refuses. The
 * other one has no part of the agent's pipes but stdin; what it does after its answer (records, the spool) nobody waits for.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

#include "common/clock.h"
#include "common/exitcode.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

/* In front of the two texts. */
struct header {
    uint32_t exit;
    uint32_t out_len;
    uint32_t err_len;
};

enum { ANSWER_MAX = 2 * HOOK_STDIN_MAX, CHILD_S = 10 };

/* ---- the child ---- */

static int write_all(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static void send_answer(void *arg, const struct hook_answer *answer)
{
    int fd = *(int *)arg;
    struct header header = {(uint32_t)answer->exit, (uint32_t)answer->out.len,
                            (uint32_t)answer->err.len};
    struct buf all = BUF_INIT;

    buf_append(&all, &header, sizeof header);
    buf_append(&all, buf_peek(&answer->out), answer->out.len);
    buf_append(&all, buf_peek(&answer->err), answer->err.len);
    write_all(fd, all.data, all.len);
    buf_done(&all);
    close(fd);
}

static CB_NORETURN void run_child(const struct hook_call *call, int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    /* The agent waits until all that have its pipes are gone. */
    if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
        _exit(EXITCODE_SOFTWARE);
    alarm(CHILD_S); /* whatever holds it up later: it is not to stay */
    hook_run(call, send_answer, &fd);
    _exit(EXITCODE_OK);
}

/* ---- the process that the agent sees ---- */

static int64_t patience_ms(void)
{
#ifdef CB_FAILPOINTS
    const char *text = getenv("CLAUDEBENCH_TEST_GUARD_MS");
    if (text)
        return strtol(text, NULL, 10);
#endif
    return HOOK_GUARD_MS;
}

/* The two texts, if it is a whole answer. */
static bool take_answer(const struct buf *all, struct header *ret)
{
    if (all->len < sizeof *ret)
        return false;
    memcpy(ret, all->data, sizeof *ret);
    return (ret->exit == 0 || ret->exit == HOOK_EXIT_BLOCK) &&
           (uint64_t)ret->out_len + ret->err_len + sizeof *ret == all->len;
}

/* What comes until it is a whole answer, or the end, or the deadline. */
static void collect(int fd, struct buf *out)
{
    struct header header;
    int64_t until = clock_mono_ms() + patience_ms();

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = until - clock_mono_ms();
        int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return;
        ssize_t n = read(fd, buf_reserve(out, 65536), 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || out->len > ANSWER_MAX)
            return;
        out->len += (size_t)n;
        if (take_answer(out, &header))
            return;
    }
}

/* What cannot be said is a refusal: by the exit code, at least. */
static int put_answer(const struct buf *all, const struct header *h)
{
    const char *texts = all->data + sizeof *h;
    int failed = 0;

    if (h->out_len)
        failed |= write_all(STDOUT_FILENO, texts, h->out_len);
    if (h->err_len)
        failed |= write_all(STDERR_FILENO, texts + h->out_len, h->err_len);
    return failed ? HOOK_EXIT_BLOCK : (int)h->exit;
}

static int refuse(const char *text)
{
    write_all(STDERR_FILENO, text, strlen(text));
    return HOOK_EXIT_BLOCK;
}

int hook_guarded(const struct hook_call *call)
{
    struct buf all = BUF_INIT;
    struct header header;
    int pipe_fds[2];

    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return refuse("claudebench: this could not be checked: no pipe\n");
    pid_t pid = fork();
    if (pid < 0)
        return refuse("claudebench: this could not be checked: no process\n");
    if (pid == 0) {
        close(pipe_fds[0]);
        run_child(call, pipe_fds[1]);
    }
    close(pipe_fds[1]);
    collect(pipe_fds[0], &all);
    if (!take_answer(&all, &header)) {
        kill(pid, SIGKILL);
        return refuse("claudebench: this could not be checked: the check itself failed\n");
    }
    int code = put_answer(&all, &header);
    buf_done(&all);
    return code;
}
