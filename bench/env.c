/*
 * env.c: the processes of a run: a private Redis on a unix socket in a temporary folder, a daemon, our children.
 * Whatever fails ends the program with a line; what was started dies with it (PR_SET_PDEATHSIG).
 */
#include "common/compat.h"
#include "bench/bench.h"

#include "common/clock.h"
#include "common/exitcode.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum { WAIT_MS = 20000, STEP_US = 5000 };

static CB_NORETURN void fail(const char *what)
{
    fprintf(stderr, "claudebench-bench: %s\n", what);
    exit(EXITCODE_UNAVAILABLE);
}

static void pin(const struct bench_env *env)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    if (env->pinned)
        sched_setaffinity(0, sizeof set, &set);
}

static pid_t start(struct bench_env *env, const char *log, const char *const *argv)
{
    pid_t pid = fork();
    if (pid < 0)
        fail("cannot fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    pin(env);
    char path[160];
    snprintf(path, sizeof path, "%s/%s", env->dir, log);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

/* Ours alone: a benchmark has no condition to be told of, so it looks every 5 ms. */
static bool wait_for(bool (*fn)(struct bench_env *), struct bench_env *env)
{
    struct timespec step = {0, STEP_US * 1000L};
    int64_t until = clock_mono_ms() + WAIT_MS;
    while (!fn(env)) {
        if (clock_mono_ms() > until)
            return false;
        nanosleep(&step, NULL);
    }
    return true;
}

static bool redis_answers(struct bench_env *env)
{
    struct redis_link *link = NULL;
    struct cb_error err;
    if (redis_link_open(&env->target, NULL, &link, &err) != 0)
        return false;
    redis_link_free(link);
    return true;
}

void env_open(struct bench_env *env, const char *appendfsync, bool pinned)
{
    struct cb_error err;
    char url[128];

    *env = (struct bench_env){.appendfsync = appendfsync, .pinned = pinned};
    snprintf(env->dir, sizeof env->dir, "/tmp/cb-bench.XXXXXX");
    if (!mkdtemp(env->dir))
        fail("cannot make a temporary folder");
    snprintf(env->socket, sizeof env->socket, "%s/redis.sock", env->dir);
    snprintf(url, sizeof url, "unix://%s", env->socket);
    if (redis_target_parse(url, &env->target, &err) != 0)
        fail(err.text);
    env->target.timeout_ms = WAIT_MS;
    ssize_t n = readlink("/proc/self/exe", env->bindir, sizeof env->bindir - 1);
    env->bindir[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(env->bindir, '/');
    if (slash)
        *slash = '\0';
    bool aof = strcmp(appendfsync, "off") != 0;
    const char *argv[] = {"redis-server",
                          "--port",
                          "0",
                          "--unixsocket",
                          env->socket,
                          "--dir",
                          env->dir,
                          "--save",
                          "",
                          "--hash-max-listpack-value",
                          "1024",
                          "--appendonly",
                          aof ? "yes" : "no",
                          "--appendfsync",
                          aof ? appendfsync : "no",
                          NULL};
    env->redis = start(env, "redis.log", argv);
    if (!wait_for(redis_answers, env))
        fail("redis-server does not answer");
}

void env_kill(pid_t *pid)
{
    if (*pid <= 0)
        return;
    kill(*pid, SIGTERM);
    waitpid(*pid, NULL, 0);
    *pid = 0;
}

static void remove_folder(const char *dir)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", dir, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
}

void env_close(struct bench_env *env)
{
    env_stop_daemon(env);
    env_kill(&env->redis);
    redis_target_done(&env->target);
    remove_folder(env->dir);
}

void env_flush(struct bench_env *env)
{
    struct redis_link *link = NULL;
    struct cb_error err;
    if (redis_link_open(&env->target, NULL, &link, &err) != 0 ||
        redis_link_callv(link, NULL, &err, "FLUSHALL", NULL) != 0 ||
        redis_link_callv(link, NULL, &err, "CONFIG", "RESETSTAT", NULL) != 0)
        fail(err.text);
    redis_link_free(link);
}

/* ---- the daemon ---- */

static void write_config(struct bench_env *env, unsigned workers, unsigned batch)
{
    char path[128];
    snprintf(path, sizeof path, "%s/claudebench.yaml", env->dir);
    FILE *f = fopen(path, "we");
    if (!f)
        fail("cannot write the configuration");
    fprintf(f,
            "config_version: 1\n"
            "instance: { id: bench }\n"
            "redis: { embedded: false, url: \"unix://%s\" }\n"
            "supervisor: { pidfile: %s/pid, control_socket: %s/control.sock, state_dir: %s }\n"
            "domains: { task: { workers: %u, batch: %u }, system: { workers: 2 } }\n"
            "limits: { backlog: 100000000 }\n"
            "task: { max_pending: 100000000 }\n"
            "log: { level: info }\n",
            env->socket, env->dir, env->dir, env->dir, workers, batch);
    fclose(f);
}

static bool daemon_is_ready(struct bench_env *env)
{
    char path[128], line[512];
    bool found = false;
    snprintf(path, sizeof path, "%s/daemon.log", env->dir);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        found = found || strstr(line, "event=daemon_ready");
    if (f)
        fclose(f);
    return found;
}

/* The task workers among the daemon's children. */
static void find_workers(struct bench_env *env)
{
    char path[64], text[4096], name[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", env->daemon, env->daemon);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    env->nworkers = 0;
    char *end = text;
    for (long pid = strtol(text, &end, 10); pid > 0; pid = strtol(end, &end, 10)) {
        snprintf(path, sizeof path, "/proc/%ld/cmdline", pid);
        f = fopen(path, "re");
        n = f ? fread(name, 1, sizeof name - 1, f) : 0;
        if (f)
            fclose(f);
        if (n && memmem(name, n, "-d\0task", 7) && env->nworkers < BENCH_WORKERS_MAX)
            env->workers[env->nworkers++] = (pid_t)pid;
    }
}

void env_start_daemon(struct bench_env *env, unsigned workers, unsigned batch)
{
    char program[600], config[128], log[128];

    write_config(env, workers, batch);
    snprintf(program, sizeof program, "%s/claudebenchd", env->bindir);
    snprintf(config, sizeof config, "%s/claudebench.yaml", env->dir);
    snprintf(log, sizeof log, "%s/daemon.log", env->dir);
    unlink(log);
    const char *argv[] = {program, "-c", config, NULL};
    env->daemon = start(env, "daemon.log", argv);
    if (!wait_for(daemon_is_ready, env))
        fail("claudebenchd is not ready");
    find_workers(env);
}

void env_stop_daemon(struct bench_env *env)
{
    env_kill(&env->daemon);
    env->nworkers = 0;
}

pid_t env_fork(struct bench_env *env, void (*fn)(struct bench_env *, const void *), const void *arg)
{
    pid_t pid = fork();
    if (pid < 0)
        fail("cannot fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        pin(env);
        fn(env, arg);
        _exit(0);
    }
    return pid;
}
