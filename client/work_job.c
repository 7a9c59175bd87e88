/*
 * work_job.c: the process of one job (see work.h).
 *
 * It gets the task on stdin (a memfd: no pipe to fill), leads a process group of its own, and dies
 * with us. Its stdout is kept up to the result's limit, of its stderr the tail. When its first
 * process has ended, what is left of its group is killed before the number of the group can be used
 * again.
 */
#include "common/compat.h"
#include "client/work.h"

#include "client/tell.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/spawn.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { READ_BYTES = 65536 };

/* ---- finding the command ---- */

static bool is_executable(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *job_find_command(const char *name)
{
    const char *path = getenv("PATH");

    errno = ENOENT;
    if (strchr(name, '/')) {
        char *real = realpath(name, NULL);
        if (real && !is_executable(real)) {
            free(real);
            real = NULL;
            errno = EACCES;
        }
        free(real);
        if (!real)
            return NULL;
        /* Not the resolved name: a program may look at how it was called. */
        char *cwd CB_CLEANUP(mem_free_ptr) = name[0] == '/' ? NULL : getcwd(NULL, 0);
        return cwd ? mem_printf("%s/%s", cwd, name) : mem_strdup(name);
    }
    for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *path;) {
        size_t len = strcspn(path, ":");
        char *full = mem_printf("%.*s/%s", (int)len, path, name);
        if (full[0] == '/' && is_executable(full))
            return full;
        free(full);
        path += len + (path[len] == ':');
    }
    errno = ENOENT;
    return NULL;
}

/* ---- start ---- */

/* The task for the job: as it was claimed, without the proof of the lease. */
static void put_public_task(struct buf *out, struct json_span task)
{
    struct json_iter it;
    struct json_item item;

    buf_putc(out, '{');
    json_iter_init(&it, task);
    while (json_iter_next(&it, &item)) {
        if (json_string_equals(item.key, "lease_token") ||
            json_string_equals(item.key, "lease_until"))
            continue;
        json_put_comma(out);
        buf_append(out, item.key.at, item.key.len);
        buf_putc(out, ':');
        buf_append(out, item.value.at, item.value.len);
    }
    buf_puts(out, "}\n");
}

static int open_stdin(struct json_span task)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    int fd = memfd_create("claudebench-task", MFD_CLOEXEC);

    put_public_task(&text, task);
    for (size_t done = 0; fd >= 0 && done < text.len;) {
        ssize_t n = write(fd, text.data + done, text.len - done);
        if (n < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

/* Set for a job, or, when `work` itself is a job, not to be seen by its jobs. */
static bool is_ours(const struct work *w, const char *entry)
{
    static const char *const names[] = {TELL_ENV_ID,     TELL_ENV_ATTEMPT,    TELL_ENV_SOCKET,
                                        LEASE_TOKEN_ENV, "CLAUDEBENCH_QUEUE", "CLAUDEBENCH_CONFIG"};
    size_t len = strcspn(entry, "=");

    for (size_t i = 0; i < CB_ARRAY_LEN(names) - (w->config ? 0 : 1); i++)
        if (strlen(names[i]) == len && strncmp(entry, names[i], len) == 0)
            return true;
    return false;
}

/* Our environment and a few names more; only what is behind *ret_own is to be freed. */
static char **job_environment(const struct work *w, const struct job *job, size_t *ret_own)
{
    size_t n = 0, count = 0;

    while (environ[count])
        count++;
    char **env = mem_calloc(count + 6, sizeof *env);
    for (size_t i = 0; i < count; i++)
        if (!is_ours(w, environ[i]))
            env[n++] = environ[i];
    *ret_own = n;
    env[n++] = mem_printf("%s=%s", TELL_ENV_ID, job->id);
    env[n++] = mem_printf("%s=%" PRId64, TELL_ENV_ATTEMPT, job->attempt);
    env[n++] = mem_printf("CLAUDEBENCH_QUEUE=%s", job->queue);
    if (w->tell_fd >= 0)
        env[n++] = mem_printf("%s=%s", TELL_ENV_SOCKET, w->tell_name);
    if (w->config)
        env[n++] = mem_printf("CLAUDEBENCH_CONFIG=%s", w->config);
    return env;
}

static pid_t spawn_job(const struct work *w, const struct job *job, const int fds[3],
                       struct cb_error *err)
{
    size_t own;
    char **env = job_environment(w, job, &own);
    struct spawn_fd plan_fds[] = {
        {fds[0], STDIN_FILENO}, {fds[1], STDOUT_FILENO}, {fds[2], STDERR_FILENO}};
    struct spawn_plan plan = {
        .path = w->path,
        .argv = w->command,
        .envp = env,
        .fds = plan_fds,
        .nfds = CB_ARRAY_LEN(plan_fds),
        .parent_death_signal = SIGKILL,
        .new_group = true,
    };
    pid_t pid = spawn_process(&plan, err);

    for (size_t i = own; env[i]; i++)
        free(env[i]);
    free(env);
    return pid;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void job_launch(struct work *w, struct job *job, struct json_span task)
{
    int out[2] = {-1, -1}, err_pipe[2] = {-1, -1};
    int in = open_stdin(task);
    struct cb_error err = {0};
    pid_t pid = -1;

    if (in < 0 || pipe2(out, O_CLOEXEC | O_NONBLOCK) != 0 ||
        pipe2(err_pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
        cb_error_set(&err, errno, "cannot prepare the job: %s", strerror(errno));
    } else {
        /* Ours are the read ends; a job expects its own to block. */
        fcntl(out[1], F_SETFL, 0);
        fcntl(err_pipe[1], F_SETFL, 0);
        pid = spawn_job(w, job, (int[]){in, out[1], err_pipe[1]}, &err);
    }
    close_fd(&in);
    close_fd(&out[1]);
    close_fd(&err_pipe[1]);
    job->out_fd = out[0];
    job->err_fd = err_pipe[0];
    job->pid = pid > 0 ? pid : 0;
    if (pid > 0) {
        keeper_tell(w->keeper_fd, pid, true);
        return;
    }
    snprintf(job->why, sizeof job->why, "%.100s", err.text);
    /* Nothing is wrong with the task when this machine is short of something. */
    if (err.code == EAGAIN || err.code == ENOMEM || err.code == EMFILE || err.code == ENFILE) {
        work_say(w, "%s: %s; trying later", job->id, err.text);
        job->fate = FATE_RELEASED;
        report_claim_later(w);
    }
}

void job_start(struct work *w, struct job *job, struct json_span task)
{
    job->state = JOB_RUNNING;
    job->started_ms = clock_mono_ms();
    w->started++;
    job_launch(w, job, task);
    if (job->pid == 0)
        report_job(w, job);
}

/* ---- output ---- */

static void keep_output(struct job *job, const char *data, size_t len, size_t limit)
{
    if (job->is_out_too_large)
        return;
    if (job->out.len + len > limit) {
        job->is_out_too_large = true;
        buf_done(&job->out);
        return;
    }
    buf_append(&job->out, data, len);
}

static void keep_error(struct job *job, const char *data, size_t len)
{
    buf_append(&job->err, data, len);
    if (job->err.len > WORK_ERR_TAIL)
        buf_consume(&job->err, job->err.len - WORK_ERR_TAIL);
}

enum { RESULT_BYTES = 262144 };

void job_read(struct job *job, int fd)
{
    static char chunk[READ_BYTES];
    bool is_out = fd == job->out_fd;

    /* A few chunks a turn: a job that writes without end must not keep us from the others. */
    for (int turn = 0; turn < 4; turn++) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close_fd(is_out ? &job->out_fd : &job->err_fd);
            return;
        }
        if (is_out)
            keep_output(job, chunk, (size_t)n, RESULT_BYTES);
        else
            keep_error(job, chunk, (size_t)n);
    }
}

/* What was written before the end; a stranger may still hold the pipe, so its end is not waited
 * for. */
static void drain(struct job *job)
{
    for (int turn = 0; turn < 64 && job->out_fd >= 0; turn++)
        job_read(job, job->out_fd);
    for (int turn = 0; turn < 64 && job->err_fd >= 0; turn++)
        job_read(job, job->err_fd);
    close_fd(&job->out_fd);
    close_fd(&job->err_fd);
}

/* ---- end ---- */

bool job_reap(struct work *w, struct job *job)
{
    siginfo_t info = {0};

    if (job->state != JOB_RUNNING || job->pid == 0)
        return false;
    if (waitid(P_PID, (id_t)job->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
        return false;
    kill(-job->pid, SIGKILL); /* the rest of its group; the number is ours until waitpid */
    drain(job);
    keeper_tell(w->keeper_fd, job->pid, false);
    while (waitpid(job->pid, &job->status, 0) < 0 && errno == EINTR)
        continue;
    job->pid = 0;
    return true;
}

void job_end(struct job *job, enum job_fate fate, int64_t kill_after_ms)
{
    if (job->fate == FATE_NONE)
        job->fate = fate;
    if (job->pid == 0)
        return;
    int64_t kill_ms = clock_mono_ms() + kill_after_ms;
    if (job->kill_ms == 0)
        kill(-job->pid, SIGTERM);
    if (job->kill_ms == 0 || kill_ms < job->kill_ms)
        job->kill_ms = kill_ms;
}

int64_t job_check_kill(struct job *job, int64_t now_ms)
{
    if (job->pid == 0 || job->kill_ms == 0 || job->is_killed)
        return 0;
    if (now_ms < job->kill_ms)
        return job->kill_ms;
    kill(-job->pid, SIGKILL);
    job->is_killed = true;
    return 0;
}

static void put_status(const struct job *job, struct buf *out)
{
    if (job->why[0])
        buf_puts(out, job->why);
    else if (WIFSIGNALED(job->status))
        buf_printf(out, "killed by signal %d (%s)", WTERMSIG(job->status),
                   strsignal(WTERMSIG(job->status)));
    else
        buf_printf(out, "exit status %d", WEXITSTATUS(job->status));
}

/* The tail as clean UTF-8, from the start of a line if it was cut. */
static void put_tail(const struct job *job, size_t room, struct buf *out)
{
    const char *s = buf_peek(&job->err);
    size_t len = job->err.len;

    while (len > 0 && (s[len - 1] == '\n' || s[len - 1] == ' '))
        len--;
    if (len > room) {
        const char *from = s + (len - room);
        const char *eol = memchr(from, '\n', room);
        from = eol && eol + 1 < s + len ? eol + 1 : from;
        len -= (size_t)(from - s);
        s = from;
    }
    /* A bad byte grows to three, a NUL is not allowed in a text: made literal and decoded again. */
    struct buf literal = BUF_INIT, clean = BUF_INIT;
    json_put_string(&literal, s, len);
    json_decode_string((struct json_span){literal.data, literal.len}, &clean);
    for (size_t i = 0; i < clean.len; i++)
        if (clean.data[i] == '\0')
            clean.data[i] = ' ';
    size_t keep = clean.len > room ? room : clean.len;
    while (keep > 0 && keep < clean.len && ((unsigned char)clean.data[keep] & 0xc0) == 0x80)
        keep--;
    buf_append(out, clean.data ? clean.data : "", keep);
    buf_done(&literal);
    buf_done(&clean);
}

void job_put_error(const struct job *job, struct buf *out)
{
    size_t start = out->len;

    if (job->told == TOLD_FAILURE && !job->why[0]) {
        buf_append(out, job->told_text.data, job->told_text.len);
        return;
    }
    put_status(job, out);
    if (job->err.len == 0)
        return;
    buf_puts(out, ": ");
    size_t used = out->len - start;
    put_tail(job, WORK_ERROR_BYTES - used, out);
}

void job_put_crash(const struct job *job, struct buf *params)
{
    if (job->why[0] || job->told != TOLD_NOTHING || !WIFSIGNALED(job->status))
        return;
    const char *name = sigabbrev_np(WTERMSIG(job->status));
    json_put_key(params, "signal");
    if (name)
        buf_printf(params, "\"SIG%s\"", name);
    else
        buf_printf(params, "\"SIG%d\"", WTERMSIG(job->status));
}

void job_clear(struct job *job)
{
    unsigned index = job->index;

    cb_assert(job->pid == 0);
    close_fd(&job->out_fd);
    close_fd(&job->err_fd);
    buf_done(&job->out);
    buf_done(&job->err);
    buf_done(&job->told_text);
    buf_done(&job->progress);
    *job = (struct job){.index = index, .out_fd = -1, .err_fd = -1};
}
