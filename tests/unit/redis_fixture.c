/*
 * redis_fixture.c: see redis_fixture.h.
 *
 * The server is a child with PR_SET_PDEATHSIG. The keeper is a shell in a session of its own (Check
 * kills the test's process group), whose standard input is a pipe that only this process holds open.
 */
#include "common/compat.h"
#include "redis_fixture.h"

#include "common/clock.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { START_MS = 20000, ASK_EVERY_MS = 3, PORT_TRIES = 5 };

/* ---- the folder ---- */

static CB_NORETURN void run_keeper(int read_end, const char *path)
{
    setsid();
    dup2(read_end, STDIN_FILENO);
    execlp("sh", "sh", "-c",
           "exec >/dev/null 2>&1; read -r _; for i in 1 2 3; do rm -rf -- \"$1\" && exit 0; done",
           "sh", path, (char *)NULL);
    _exit(127);
}

void fixture_folder_make(struct fixture_folder *folder)
{
    int ends[2];
    /* Not TMPDIR: the path of a socket may have 107 bytes only. */
    snprintf(folder->path, sizeof folder->path, "/tmp/cb-unit-XXXXXX");
    if (!mkdtemp(folder->path) || pipe2(ends, O_CLOEXEC) < 0)
        ck_abort_msg("cannot make a temporary folder: %s", strerror(errno));
    folder->keeper = fork();
    ck_assert_msg(folder->keeper >= 0, "fork: %s", strerror(errno));
    if (folder->keeper == 0)
        run_keeper(ends[0], folder->path);
    close(ends[0]);
    folder->keeper_fd = ends[1];
}

void fixture_folder_remove(struct fixture_folder *folder)
{
    close(folder->keeper_fd);
    while (waitpid(folder->keeper, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* ---- the server ---- */

static void add_arg(struct redis_fixture *f, const char *arg)
{
    size_t n = 0;
    while (f->args[n])
        n++;
    ck_assert_uint_lt(n + 1, CB_ARRAY_LEN(f->args));
    f->args[n] = mem_strdup(arg);
}

void redis_fixture_set_args(struct redis_fixture *f, const char *const *extra)
{
    char port[8];
    snprintf(port, sizeof port, "%d", f->port);
    const char *const fixed[] = {
        "redis-server", "--port",    port,           "--bind",     "127.0.0.1", "--unixsocket",
        f->socket_path, "--dir",     f->folder.path, "--save",     "",          "--appendonly",
        "no",           "--logfile", "redis.log",    "--loglevel", "notice",    "--daemonize",
        "no",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(f->args); i++) {
        free(f->args[i]);
        f->args[i] = NULL;
    }
    for (size_t i = 0; i < CB_ARRAY_LEN(fixed); i++)
        add_arg(f, fixed[i]);
    for (size_t i = 0; extra && extra[i]; i++)
        add_arg(f, extra[i]);
}

static CB_NORETURN void run_server(const struct redis_fixture *f, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    execvp(f->args[0], f->args);
    _exit(127);
}

void redis_fixture_spawn(struct redis_fixture *f)
{
    pid_t parent = getpid();
    ck_assert_int_eq(f->pid, 0);
    f->pid = fork();
    ck_assert_msg(f->pid >= 0, "fork: %s", strerror(errno));
    if (f->pid == 0)
        run_server(f, parent);
}

static bool has_exited(struct redis_fixture *f)
{
    if (f->pid != 0 && waitpid(f->pid, NULL, WNOHANG) == f->pid)
        f->pid = 0;
    return f->pid == 0;
}

static bool is_answering(struct redis_fixture *f)
{
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    if (redis_link_open(&f->target, NULL, &link, &err) < 0)
        return err.code == REDIS_AUTH;
    redis_link_free(link);
    return true;
}

/* True when it answers, false when it has ended instead. */
static bool wait_answering(struct redis_fixture *f)
{
    int64_t deadline_ms = clock_mono_ms() + START_MS;
    while (!is_answering(f)) {
        if (has_exited(f))
            return false;
        ck_assert_msg(clock_mono_ms() < deadline_ms, "redis-server does not answer");
        poll(NULL, 0, ASK_EVERY_MS);
    }
    return true;
}

static void fail_with_log(const struct redis_fixture *f)
{
    char path[96], log[2048] = "";
    snprintf(path, sizeof path, "%s/redis.log", f->folder.path);
    FILE *file = fopen(path, "r");
    if (file) {
        size_t n = fread(log, 1, sizeof log - 1, file);
        log[n] = '\0';
        fclose(file);
    }
    ck_abort_msg("redis-server has ended (is it installed?): %s", log);
}

void redis_fixture_wait(struct redis_fixture *f)
{
    if (!wait_answering(f))
        fail_with_log(f);
}

/* A port that nobody has right now; somebody may take it before the server does. */
static int free_port(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    close(fd);
    return ntohs(in.sin_port);
}

static struct redis_fixture *fixture_new(void)
{
    struct redis_fixture *f = mem_alloc(sizeof *f);
    struct cb_error err;
    fixture_folder_make(&f->folder);
    snprintf(f->socket_path, sizeof f->socket_path, "%s/redis.sock", f->folder.path);
    snprintf(f->url, sizeof f->url, "unix://%s", f->socket_path);
    ck_assert_int_eq(redis_target_parse(f->url, &f->target, &err), 0);
    return f;
}

struct redis_fixture *redis_fixture_start(const char *const *extra)
{
    struct redis_fixture *f = fixture_new();
    redis_fixture_set_args(f, extra);
    redis_fixture_spawn(f);
    redis_fixture_wait(f);
    return f;
}

struct redis_fixture *redis_fixture_start_tcp(const char *const *extra)
{
    struct redis_fixture *f = fixture_new();
    for (int tries = 0; tries < PORT_TRIES; tries++) {
        f->port = free_port();
        redis_fixture_set_args(f, extra);
        redis_fixture_spawn(f);
        if (wait_answering(f))
            return f;
    }
    fail_with_log(f);
    return NULL;
}

void redis_fixture_kill(struct redis_fixture *f)
{
    if (f->pid == 0)
        return;
    kill(f->pid, SIGKILL);
    while (waitpid(f->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    f->pid = 0;
}

void redis_fixture_restart(struct redis_fixture *f)
{
    redis_fixture_spawn(f);
    redis_fixture_wait(f);
}

static void signal_and_wait(struct redis_fixture *f, int signal, int wait_for)
{
    int status;
    pid_t pid;
    ck_assert_int_eq(kill(f->pid, signal), 0);
    do
        pid = waitpid(f->pid, &status, wait_for);
    while (pid < 0 && errno == EINTR);
    ck_assert_int_eq(pid, f->pid);
    ck_assert(signal == SIGSTOP ? WIFSTOPPED(status) : WIFCONTINUED(status));
}

void redis_fixture_stop(struct redis_fixture *f)
{
    signal_and_wait(f, SIGSTOP, WUNTRACED);
}

void redis_fixture_cont(struct redis_fixture *f)
{
    signal_and_wait(f, SIGCONT, WCONTINUED);
}

void redis_fixture_free(struct redis_fixture *f)
{
    if (!f)
        return;
    redis_fixture_kill(f);
    fixture_folder_remove(&f->folder);
    redis_target_done(&f->target);
    for (size_t i = 0; f->args[i]; i++)
        free(f->args[i]);
    free(f);
}

/* ---- for tests ---- */

struct redis_link *redis_fixture_link(struct redis_fixture *f)
{
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    if (redis_link_open(&f->target, "unit-test", &link, &err) < 0)
        ck_abort_msg("cannot connect: %s", err.text);
    return link;
}

void fixture_wait_until(bool (*is_true)(void *arg), void *arg, int timeout_ms, const char *what)
{
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    while (!is_true(arg)) {
        ck_assert_msg(clock_mono_ms() < deadline_ms, "in vain waited until %s", what);
        poll(NULL, 0, ASK_EVERY_MS);
    }
}
