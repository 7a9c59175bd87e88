/*
 * spawn_time.c: claudebench-spawn-time: how long programs take from their start to their end, as whoever runs them sees it.
 *
 *   claudebench-spawn-time ROUNDS NAME INPUT PROGRAM ARG... \; NAME INPUT PROGRAM ARG... \; ...
 *
 * Each round runs every row once, so that what else the machine does meets all rows alike. INPUT is a file for stdin ("" for
 * none); each @ROUND in it becomes the round's number. The time is from before the start to the end of stdout and of the
 * process. One line of JSON a row: milliseconds, and the exit codes that there were. For bench/hook/hook.py.
 */
#include "common/compat.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/mem.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

enum { ROWS_MAX = 32, WARM_UP = 5 };

struct row {
    const char *name;
    struct buf input;
    char **argv;
    int64_t *us;
    int exit_low, exit_high;
};

static CB_NORETURN void fail(const char *what)
{
    fprintf(stderr, "claudebench-spawn-time: %s: %s\n", what, strerror(errno));
    exit(EXITCODE_SOFTWARE);
}

static void read_file(const char *path, struct buf *out)
{
    int fd = *path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (*path && fd < 0)
        fail(path);
    for (ssize_t n = 1; fd >= 0 && n > 0;) {
        n = read(fd, buf_reserve(out, 65536), 65536);
        if (n < 0)
            fail(path);
        out->len += (size_t)n;
        out->data[out->len] = '\0';
    }
    if (fd >= 0)
        close(fd);
}

/* The input of one round. */
static void make_input(const struct row *row, int round, struct buf *out)
{
    const char *at = buf_peek(&row->input), *mark;

    while ((mark = strstr(at, "@ROUND"))) {
        buf_append(out, at, (size_t)(mark - at));
        buf_printf(out, "%d", round);
        at = mark + 6;
    }
    buf_puts(out, at);
}

static pid_t start(const struct row *row, int in, int out)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    errno = posix_spawn(&pid, row->argv[0], &actions, NULL, row->argv, environ);
    if (errno != 0)
        fail(row->argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

/* Microseconds of one run. */
static int64_t run(struct row *row, int round)
{
    struct buf input CB_CLEANUP(buf_done) = BUF_INIT;
    int in[2], out[2], status = 0;
    char rest[4096];

    make_input(row, round, &input);
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        fail("pipe");
    int64_t begin = clock_mono_us();
    pid_t pid = start(row, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    if (write(in[1], buf_peek(&input), input.len) != (ssize_t)input.len && errno != EPIPE)
        fail("write");
    close(in[1]);
    while (read(out[0], rest, sizeof rest) > 0)
        continue;
    close(out[0]);
    if (waitpid(pid, &status, 0) != pid)
        fail("wait");
    int64_t us = clock_mono_us() - begin;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    row->exit_low = code < row->exit_low ? code : row->exit_low;
    row->exit_high = code > row->exit_high ? code : row->exit_high;
    return us;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static double at(const struct row *row, int rounds, double part)
{
    int i = (int)(part * (double)(rounds - 1) + 0.5);
    return (double)row->us[i] / 1000.0;
}

static void report(struct row *row, int rounds)
{
    qsort(row->us, (size_t)rounds, sizeof *row->us, compare);
    printf("{\"row\":\"%s\",\"rounds\":%d,\"min\":%.3f,\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f,"
           "\"max\":%.3f,"
           "\"exit\":[%d,%d]}\n",
           row->name, rounds, at(row, rounds, 0), at(row, rounds, 0.5), at(row, rounds, 0.95),
           at(row, rounds, 0.99), at(row, rounds, 1), row->exit_low, row->exit_high);
}

int main(int argc, char **argv)
{
    static struct row rows[ROWS_MAX];
    size_t nrows = 0;
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;

    for (int i = 2; i + 2 < argc && nrows < ROWS_MAX; i++) {
        struct row *row = &rows[nrows++];
        row->name = argv[i++];
        read_file(argv[i++], &row->input);
        row->argv = argv + i;
        row->exit_low = INT_MAX;
        while (i < argc && strcmp(argv[i], ";") != 0)
            i++;
        if (i < argc)
            argv[i] = NULL;
    }
    if (rounds < 1 || rounds > 1000000 || nrows == 0) {
        fprintf(stderr, "usage: claudebench-spawn-time ROUNDS NAME INPUT PROGRAM ARG... ';' ...\n");
        return EXITCODE_USAGE;
    }
    for (size_t r = 0; r < nrows; r++)
        rows[r].us = mem_calloc((size_t)rounds, sizeof *rows[r].us);
    for (int round = -WARM_UP; round < rounds; round++) {
        for (size_t r = 0; r < nrows; r++) {
            int64_t us = run(&rows[r], round + WARM_UP);
            if (round >= 0)
                rows[r].us[round] = us;
        }
    }
    for (size_t r = 0; r < nrows; r++)
        report(&rows[r], rounds);
    return EXITCODE_OK;
}
