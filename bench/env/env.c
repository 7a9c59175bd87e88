/*
 * env.c: see env.h: the folder, Redis, our children. What was started dies with us (PR_SET_PDEATHSIG) even when
 * nothing of ours runs any more.
 */
#include "common/compat.h"
#include "bench/env/env.h"

#include "bench/env/stop.h"
#include "common/clock.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

enum {
    WAIT_MS = 20000,
    END_MS = 40000, /* longer than the daemon's stop may take (supervisor.stop_timeout_ms) */
    REWRITE_MS = 120000,
    STEP_MS = 5,
    LOG_TAIL = 2000,
    AOF_MAX = 256 * 1024 * 1024,
};

static struct env *open_env; /* for those who end the program */

/* ---- processes ---- */

static pid_t fork_child(const struct env *env, bool is_redis)
{
    sigset_t all, before;

    fflush(NULL); /* what is buffered is to be written once */
    /* A child that is ended before it has run must not meet our handlers: they only take note. */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        open_env = NULL; /* it is not ours to take away */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        stop_signals_default();
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        stop_failed("cannot fork");
    if (pid == 0)
        pin_self(env->layout, is_redis);
    return pid;
}

static pid_t start(const struct env *env, bool is_redis, const char *log, const char *const *argv)
{
    pid_t pid = fork_child(env, is_redis);
    if (pid > 0)
        return pid;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", env->dir, log);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(127);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

/* The folder is about to go, and with it what the processes had to say. */
static void show_log(const struct env *env, const char *name)
{
    char path[256], text[LOG_TAIL];

    snprintf(path, sizeof path, "%s/%s", env->dir, name);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (fseek(f, -(long)sizeof text, SEEK_END) != 0)
        rewind(f);
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    if (n > 0)
        fprintf(stderr, "--- the end of %s\n%.*s", name, (int)n, text);
}

static void show_daemon_logs(const struct env *env)
{
    char name[32];

    for (unsigned i = 0; i < ENV_DAEMONS_MAX; i++) {
        snprintf(name, sizeof name, ENV_DAEMON_LOG, i);
        show_log(env, name);
    }
}

/* SIGTERM, and SIGKILL with a message when that does not help. A signal to us does not cut this short. */
static void end_process(const struct env *env, pid_t *pid, const char *what)
{
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    int64_t until = clock_mono_ms() + END_MS;

    if (*pid <= 0)
        return;
    kill(*pid, SIGTERM);
    while (waitpid(*pid, NULL, WNOHANG) == 0) {
        if (clock_mono_ms() > until) {
            fprintf(stderr, "claudebench-bench: %s did not end in %d s and was killed\n", what,
                    END_MS / 1000);
            show_daemon_logs(env);
            kill(*pid, SIGKILL);
            until = INT64_MAX;
        }
        nanosleep(&step, NULL);
    }
    *pid = 0;
}

/* Nothing tells us of what we wait for here, so we look every few ms. */
static void wait_until(bool (*fn)(struct env *), struct env *env, const char *what)
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    while (!fn(env)) {
        if (clock_mono_ms() > until)
            stop_failed("%s", what);
        stop_sleep_ms(STEP_MS);
    }
}

/* ---- the folder and Redis ---- */

static void must_live(pid_t *pid, const char *what)
{
    if (waitpid(*pid, NULL, WNOHANG) != *pid)
        return;
    *pid = 0;
    stop_failed("%s", what);
}

static bool redis_answers(struct env *env)
{
    struct redis_link *link = NULL;
    struct cb_error err;
    must_live(&env->redis, "redis-server does not start");
    if (redis_link_open(&env->target, NULL, &link, &err) != 0)
        return false;
    redis_link_free(link);
    return true;
}

struct redis_link *env_link(struct env *env, const char *name)
{
    struct redis_link *link = NULL;
    struct cb_error err;
    if (redis_link_open(&env->target, name, &link, &err) != 0)
        stop_failed("redis: %s", err.text);
    return link;
}

/* Whoever ends the program before env_close() does it with a message, or because of a signal. */
static void close_at_exit(void)
{
    if (!open_env)
        return;
    if (!stop_is_asked()) {
        show_log(open_env, "redis.log");
        show_daemon_logs(open_env);
    }
    env_close(open_env);
}

static void make_folder(struct env *env)
{
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(env->dir, sizeof env->dir, "%s/cb-bench.XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (n >= 80) /* a socket's path ends at 107 bytes */
        stop_failed("TMPDIR is too long");
    if (!mkdtemp(env->dir))
        stop_failed("cannot make a temporary folder");
    ssize_t len = readlink("/proc/self/exe", env->bindir, sizeof env->bindir - 1);
    env->bindir[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(env->bindir, '/');
    if (slash)
        *slash = '\0';
}

static void start_redis(struct env *env)
{
    char socket[160];
    snprintf(socket, sizeof socket, "%s/redis.sock", env->dir);
    bool has_aof = strcmp(env->appendfsync, "off") != 0;
    /* The AOF is written anew between runs (env_flush), never during one. */
    const char *argv[] = {"redis-server",
                          "--port",
                          "0",
                          "--unixsocket",
                          socket,
                          "--dir",
                          env->dir,
                          "--save",
                          "",
                          "--hash-max-listpack-value",
                          "1024",
                          "--zset-max-listpack-entries",
                          "16",
                          "--appendonly",
                          has_aof ? "yes" : "no",
                          "--appendfsync",
                          has_aof ? env->appendfsync : "no",
                          "--auto-aof-rewrite-percentage",
                          "0",
                          NULL};
    env->redis = start(env, true, "redis.log", argv);
    wait_until(redis_answers, env, "redis-server does not answer");
}

void env_open(struct env *env, const char *appendfsync, enum pin_layout layout)
{
    static bool is_registered;
    struct cb_error err;
    char url[192];

    *env = (struct env){.appendfsync = appendfsync, .layout = layout};
    make_folder(env);
    open_env = env;
    if (!is_registered)
        atexit(close_at_exit);
    is_registered = true;
    snprintf(url, sizeof url, "unix://%s/redis.sock", env->dir);
    if (redis_target_parse(url, &env->target, &err) != 0)
        stop_failed("%s", err.text);
    env->target.timeout_ms = WAIT_MS;
    start_redis(env);
    env_write_config(env, &(struct env_daemon){.task_workers = 1, .system_workers = 1, .batch = 64},
                     0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

void env_close(struct env *env)
{
    open_env = NULL;
    env_kill_workers(env);
    env_stop_daemons(env);
    end_process(env, &env->redis, "redis-server");
    redis_target_done(&env->target);
    options_free(env->opts);
    nftw(env->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void command(struct redis_link *link, const char *name, const char *argument)
{
    struct cb_error err;
    if (redis_link_callv(link, NULL, &err, name, argument, NULL) != 0)
        stop_failed("redis: %s: %s", name, err.text);
}

static int64_t persistence(struct redis_link *link, const char *name)
{
    struct cb_error err;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    if (redis_link_callv(link, &reply, &err, "INFO", "persistence", NULL) != 0)
        stop_failed("redis: %s", err.text);
    const char *at = strstr(reply_str(reply), name);
    return at ? strtoll(at + strlen(name), NULL, 10) : 0;
}

void env_flush(struct env *env)
{
    struct redis_link *link = env_link(env, NULL);

    command(link, "FLUSHALL", "SYNC");
    command(link, "MEMORY",
            "PURGE"); /* or the RSS of a row would be that of the largest before it */
    if (persistence(link, "aof_current_size:") > AOF_MAX) {
        command(link, "BGREWRITEAOF", NULL);
        int64_t until = clock_mono_ms() + REWRITE_MS;
        while (persistence(link, "aof_rewrite_in_progress:") ||
               persistence(link, "aof_rewrite_scheduled:")) {
            if (clock_mono_ms() > until)
                stop_failed("redis-server does not end its rewrite of the AOF");
            stop_sleep_ms(STEP_MS);
        }
    }
    command(link, "CONFIG", "RESETSTAT");
    redis_link_free(link);
}

void env_settle(struct env *env)
{
    int dir = open(env->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0 || syncfs(dir) != 0)
        stop_failed("%s: %s", env->dir, strerror(errno));
    close(dir);
}

/* ---- the daemons and our own workers ---- */

/* The one that was started last. */
static bool daemon_is_ready(struct env *env)
{
    char path[256], name[32], line[1024];
    bool is_ready = false;
    unsigned number = env->ndaemons - 1;

    must_live(&env->daemons[number], "claudebenchd does not start");
    snprintf(name, sizeof name, ENV_DAEMON_LOG, number);
    snprintf(path, sizeof path, "%s/%s", env->dir, name);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        is_ready = is_ready || strstr(line, "event=daemon_ready");
    if (f)
        fclose(f);
    return is_ready;
}

static void start_daemon(struct env *env, const struct env_daemon *config)
{
    char program[600], path[256], name[32], log[256];
    unsigned number = env->ndaemons;

    env_write_config(env, config, number);
    snprintf(program, sizeof program, "%s/claudebenchd", env->bindir);
    snprintf(path, sizeof path, "%s/" ENV_CONFIG, env->dir, number);
    snprintf(name, sizeof name, ENV_DAEMON_LOG, number);
    snprintf(log, sizeof log, "%s/%s", env->dir, name);
    unlink(log);
    const char *argv[] = {program, "-c", path, NULL};
    env->daemons[env->ndaemons++] = start(env, false, name, argv);
    wait_until(daemon_is_ready, env, "claudebenchd does not get ready");
}

void env_start_daemons(struct env *env, const struct env_daemon *config)
{
    unsigned instances = config->instances ? config->instances : 1;

    cb_assert(env->ndaemons == 0 && instances <= ENV_DAEMONS_MAX);
    while (env->ndaemons < instances)
        start_daemon(env, config);
    env_find_workers(env);
    unsigned each = config->task_workers + config->system_workers + config->hook_workers;
    if (env->nworkers != instances * each)
        stop_failed("%u daemons have %u workers", instances, env->nworkers);
}

void env_stop_daemons(struct env *env)
{
    if (env->ndaemons)
        env->nworkers = 0;
    while (env->ndaemons > 0)
        end_process(env, &env->daemons[--env->ndaemons], "claudebenchd");
}

pid_t env_fork(struct env *env, env_fn *fn, const void *arg)
{
    pid_t pid = fork_child(env, false);
    if (pid == 0) {
        fn(env, arg, 0);
        _exit(0);
    }
    return pid;
}

void env_end(struct env *env, pid_t *pid, const char *what)
{
    end_process(env, pid, what);
}

void env_fork_workers(struct env *env, unsigned count, env_fn *fn, const void *arg)
{
    cb_assert(count <= ENV_WORKERS_MAX && env->nworkers == 0);
    for (unsigned i = 0; i < count; i++) {
        pid_t pid = fork_child(env, false);
        if (pid == 0) {
            fn(env, arg, i);
            _exit(0);
        }
        env->workers[env->nworkers++] = pid;
    }
}

void env_kill_workers(struct env *env)
{
    if (env->ndaemons) /* they are the daemons' */
        return;
    while (env->nworkers > 0)
        end_process(env, &env->workers[--env->nworkers], "a bare server");
}
