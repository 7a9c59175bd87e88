/*
 * embedded_redis.c: see embedded_redis.h. The process itself is started in redis_process.c.
 */
#include "common/compat.h"
#include "supervisor/embedded_redis.h"

#include "common/backoff.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/peer.h"
#include "supervisor/redis_dir.h"
#include "supervisor/redis_log.h"
#include "supervisor/redis_process.h"

#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

enum {
    LOOK_SECONDS = 5,     /* whether its socket is where everybody looks for it */
    SEEK_MS = 100,        /* between two looks at the lock */
    SEEK_EXTRA_MS = 1000, /* on top of redis.timeout_ms, until the search is given up */
    HEALTHY_MS = 1000,    /* a life of that length, with an answer in it, resets the brake */
};

enum embedded_state {
    EMBEDDED_IDLE,    /* not launched yet, or gone for good */
    EMBEDDED_SEEKING, /* the lock is held: by a server to adopt, or by one that is dying */
    EMBEDDED_RUNNING,
    EMBEDDED_WAITING, /* dead; waits for its restart */
};

struct embedded_redis {
    struct event_base *base;
    const struct options *opts;
    struct embedded_redis_hooks hooks;
    struct redis_dir dir;
    char *binary;
    enum embedded_state state;
    int lock_fd; /* -1: held by an adopted server only */
    pid_t pid;   /* 0 = none */
    int pidfd;   /* of an adopted server, -1 = none */
    struct event *pidfd_event;
    struct redis_output *output;
    struct event *timer;
    struct event *look;
    bool is_shared;
    bool is_renewing;         /* it was told to end for want of its socket */
    char socket_problem[512]; /* why that cannot be made anew, "" = nothing is wrong */
    struct backoff brake;
    int64_t started_ms;
    int64_t seek_since_ms;
    bool has_answered; /* with its data: one that still loads them may yet refuse them */
    bool has_run;      /* once, so that it is worth waiting for it */
    bool is_stopping;
    bool has_ever_answered;
    unsigned restarts;
    int64_t log_mark; /* where this server's log begins */
    char *problem;    /* why it does not start, NULL = it does */
    struct log_repeat said;
};

static void on_timer(evutil_socket_t fd, short what, void *arg);
static void launch(struct embedded_redis *e);

static void set_timer(struct embedded_redis *e, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(e->timer, &tv);
}

/* ---- its end ---- */

static void forget_process(struct embedded_redis *e)
{
    if (e->pidfd_event)
        event_free(e->pidfd_event);
    e->pidfd_event = NULL;
    if (e->pidfd >= 0)
        close(e->pidfd);
    e->pidfd = -1;
    redis_output_free(e->output);
    e->output = NULL;
    e->pid = 0;
}

static int64_t next_wait(struct embedded_redis *e)
{
    if (!e->has_answered || clock_mono_ms() - e->started_ms < HEALTHY_MS)
        return backoff_next_brake(&e->brake);
    backoff_reset(&e->brake);
    return 0;
}

static void wait_and_restart(struct embedded_redis *e, int64_t wait_ms)
{
    e->state = EMBEDDED_WAITING;
    e->restarts++;
    set_timer(e, wait_ms);
}

static void set_problem(struct embedded_redis *e, char *text)
{
    free(e->problem);
    e->problem = text;
}

/* It ended before it answered. Its log says why, but nobody looks there: our log, our status, and the error of a
 * start say it too. Data that it cannot read are no trouble that passes: then the first start fails. Returns whether
 * there is to be another try. */
static bool explain_false_start(struct embedded_redis *e, bool has_exited)
{
    struct buf words CB_CLEANUP(buf_done) = BUF_INIT;
    unsigned times;

    redis_log_last_words(e->dir.log_path, e->log_mark, &words);
    if (words.len == 0)
        return true;
    bool is_data = redis_log_blames_data(buf_peek(&words));
    const char *fix = is_data ? e->dir.fix_hint : "";
    set_problem(e, mem_printf("redis-server does not start: %s (see %s%s%s)", buf_peek(&words),
                              e->dir.log_path, is_data ? "; " : "", fix));
    if (is_data && has_exited && !e->has_ever_answered) {
        e->hooks.failed(e->hooks.arg, EXITCODE_UNAVAILABLE, e->problem);
        return false;
    }
    if (log_repeat_may(&e->said, buf_peek(&words), &times))
        log_event(EV_redis_not_starting, LOG_SN("error", words.data, words.len),
                  LOG_S("log", e->dir.log_path), LOG_S("hint", fix), LOG_I("times", times));
    return true;
}

static void ended(struct embedded_redis *e, const char *how, bool has_exited)
{
    pid_t pid = e->pid;

    redis_output_drain(e->output);
    forget_process(e);
    if (e->is_stopping) {
        e->state = EMBEDDED_IDLE;
        log_event(EV_child_stopped, LOG_S("service", "redis"), LOG_I("pid", pid),
                  LOG_S("how", how));
        e->hooks.gone(e->hooks.arg);
        return;
    }
    log_event(EV_redis_died, LOG_I("pid", pid), LOG_S("how", how));
    if (!e->has_answered && !explain_false_start(e, has_exited))
        return;
    wait_and_restart(e, next_wait(e));
    e->hooks.changed(e->hooks.arg);
}

bool embedded_redis_reaped(struct embedded_redis *e, pid_t pid, int status)
{
    char how[32];

    if (!e || e->pid != pid)
        return false;
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof how, "exit %d", WEXITSTATUS(status));
    ended(e, how, WIFEXITED(status));
    return true;
}

static void on_pidfd(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    ended(arg, "adopted", false);
}

/* ---- its beginning ---- */

static void start_failed(struct embedded_redis *e, const struct cb_error *err)
{
    log_event(EV_child_start_failed, LOG_S("service", "redis"), LOG_S("error", err->text));
    e->has_answered = false;
    wait_and_restart(e, backoff_next_short_brake(&e->brake));
}

static void start(struct embedded_redis *e)
{
    struct redis_process_plan plan = {
        .binary = e->binary, .opts = e->opts, .dir = &e->dir, .lock_fd = e->lock_fd};
    struct cb_error err = {0};
    int output_fd = -1;

    e->has_answered = e->is_renewing = false;
    e->started_ms = clock_mono_ms();
    redis_dir_rotate_log(&e->dir);
    e->log_mark = redis_log_mark(e->dir.log_path);
    e->pid = redis_process_start(&plan, &output_fd, &err);
    if (e->pid < 0) {
        e->pid = 0;
        start_failed(e, &err);
        return;
    }
    e->output = redis_output_new(e->base, output_fd);
    e->state = EMBEDDED_RUNNING;
    e->has_run = true;
    log_event(EV_redis_started, LOG_I("pid", e->pid), LOG_S("program", e->binary));
    e->hooks.started(e->hooks.arg);
    e->hooks.changed(e->hooks.arg);
}

static void seek(struct embedded_redis *e)
{
    if (e->state != EMBEDDED_SEEKING) {
        e->state = EMBEDDED_SEEKING;
        e->seek_since_ms = clock_mono_ms();
        e->hooks.started(e->hooks.arg); /* there may be one to connect to */
    }
    set_timer(e, SEEK_MS);
}

static void give_up_seeking(struct embedded_redis *e)
{
    char why[256];

    snprintf(why, sizeof why,
             "%s is held by another process, but no redis-server of ours answers on %s",
             e->dir.lock_path, e->dir.socket);
    log_event(EV_redis_dir_locked, LOG_S("dir", e->opts->redis.dir), LOG_S("problem", why));
    if (!e->has_run)
        e->hooks.failed(e->hooks.arg, EXITCODE_TEMPFAIL, why);
    e->seek_since_ms = clock_mono_ms();
}

/* With the lock in hand the server is ours to start; else somebody's server is there, or dying. */
static void launch(struct embedded_redis *e)
{
    struct cb_error err = {0};

    if (e->lock_fd < 0)
        e->lock_fd = redis_dir_lock(&e->dir, &err);
    if (e->lock_fd >= 0)
        start(e);
    else
        seek(e);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct embedded_redis *e = arg;
    int64_t patience_ms = e->opts->redis.timeout_ms + SEEK_EXTRA_MS;
    (void)fd, (void)what;

    if (e->is_stopping || (e->state != EMBEDDED_SEEKING && e->state != EMBEDDED_WAITING))
        return;
    if (e->state == EMBEDDED_SEEKING && clock_mono_ms() - e->seek_since_ms > patience_ms)
        give_up_seeking(e);
    launch(e);
}

/* ---- adoption ---- */

/* The connection is still there after the pidfd was opened, so the pid has not been given to another. */
static bool adopt(struct embedded_redis *e, pid_t pid)
{
    e->pidfd = pidfd_open(pid, 0);
    if (e->pidfd < 0)
        return false;
    e->pidfd_event = event_new(e->base, e->pidfd, EV_READ, on_pidfd, e);
    cb_assert(e->pidfd_event);
    event_add(e->pidfd_event, NULL);
    evtimer_del(e->timer);
    e->pid = pid;
    e->state = EMBEDDED_RUNNING;
    e->started_ms = clock_mono_ms();
    e->has_run = true;
    log_event(EV_redis_adopted, LOG_I("pid", pid));
    e->hooks.changed(e->hooks.arg);
    return true;
}

bool embedded_redis_contact(struct embedded_redis *e, int fd)
{
    pid_t pid = peer_pid(fd);

    if (pid <= 0)
        return false;
    if (e->state == EMBEDDED_SEEKING && !e->is_stopping && !adopt(e, pid))
        return false;
    return pid == e->pid;
}

int embedded_redis_accept(struct embedded_redis *e, const struct redis_info *info,
                          struct cb_error *err)
{
    if (info->process_id == (int64_t)e->pid) {
        e->has_answered = e->has_ever_answered = true;
        set_problem(e, NULL);
        log_repeat_over(&e->said);
        return 0;
    }
    return cb_error_set(err, EXITCODE_CONFIG,
                        "another redis-server answers on our socket, pid %" PRId64,
                        info->process_id);
}

/* ---- a socket that is gone ---- */

static void signal_process(struct embedded_redis *e, int sig)
{
    if (e->pidfd >= 0)
        (void)pidfd_send_signal(e->pidfd, sig, NULL, 0);
    else if (e->pid > 0)
        (void)kill(e->pid, sig);
}

/* With the folder that it was in: connections go on, and no new one can be made. A server opens it at its start alone; by
 * SIGTERM it writes its file out, so nothing is lost. As long as the folder cannot be made, a restart is of no use. */
static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct embedded_redis *e = arg;
    struct cb_error err = {0};
    (void)fd, (void)what;

    if (e->state != EMBEDDED_RUNNING || !e->has_answered || e->is_stopping || e->is_renewing)
        return;
    e->socket_problem[0] = '\0';
    if (access(e->dir.socket, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR))
        return;
    if (redis_dir_make_run(&e->dir, e->is_shared, &err) < 0) {
        snprintf(e->socket_problem, sizeof e->socket_problem, "%s: %s", e->dir.socket, err.text);
        return;
    }
    e->is_renewing = true;
    log_event(EV_redis_socket_gone, LOG_S("path", e->dir.socket), LOG_I("pid", e->pid));
    signal_process(e, SIGTERM);
}

static void start_looking(struct embedded_redis *e)
{
    const struct timeval every = {.tv_sec = LOOK_SECONDS};

    e->look = event_new(e->base, -1, EV_PERSIST, on_look, e);
    cb_assert(e->look);
    evtimer_add(e->look, &every);
}

const char *embedded_redis_socket_problem(const struct embedded_redis *e)
{
    return e ? e->socket_problem : "";
}

/* ---- interface ---- */

int embedded_redis_open(struct event_base *base, const struct options *opts, bool shared,
                        const struct embedded_redis_hooks *hooks, struct embedded_redis **ret,
                        struct cb_error *err)
{
    struct embedded_redis *e = mem_alloc(sizeof *e);

    *e = (struct embedded_redis){.base = base,
                                 .opts = opts,
                                 .hooks = *hooks,
                                 .is_shared = shared,
                                 .lock_fd = -1,
                                 .pidfd = -1,
                                 .dir.owner_fd = -1};
    backoff_init(&e->brake, opts->supervisor.restart_min_ms, opts->supervisor.restart_max_ms);
    if (redis_process_find(&e->binary, err) < 0 || redis_dir_open(&e->dir, opts, shared, err) < 0) {
        embedded_redis_free(e);
        return -1;
    }
    e->timer = evtimer_new(base, on_timer, e);
    cb_assert(e->timer);
    start_looking(e);
    *ret = e;
    return 0;
}

void embedded_redis_options_changed(struct embedded_redis *e)
{
    backoff_init(&e->brake, e->opts->supervisor.restart_min_ms, e->opts->supervisor.restart_max_ms);
}

void embedded_redis_free(struct embedded_redis *e)
{
    if (!e)
        return;
    forget_process(e);
    if (e->timer)
        event_free(e->timer);
    if (e->look)
        event_free(e->look);
    if (e->lock_fd >= 0)
        close(e->lock_fd);
    redis_dir_done(&e->dir);
    free(e->binary);
    free(e->problem);
    free(e);
}

void embedded_redis_launch(struct embedded_redis *e)
{
    launch(e);
}

void embedded_redis_stop(struct embedded_redis *e)
{
    e->is_stopping = true;
    evtimer_del(e->timer);
    if (e->pid > 0) {
        signal_process(e, SIGTERM);
        return;
    }
    e->state = EMBEDDED_IDLE;
    e->hooks.gone(e->hooks.arg);
}

void embedded_redis_kill(struct embedded_redis *e)
{
    signal_process(e, SIGKILL);
}

pid_t embedded_redis_pid(const struct embedded_redis *e)
{
    return e->pid;
}

bool embedded_redis_is_adopted(const struct embedded_redis *e)
{
    return e->pidfd >= 0;
}

unsigned embedded_redis_restarts(const struct embedded_redis *e)
{
    return e->restarts;
}

const char *embedded_redis_problem(const struct embedded_redis *e)
{
    return e->problem;
}
