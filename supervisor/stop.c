/*
 * stop.c: see stop.h. The exit code becomes 1 when a time-out had to kill somebody.
 */
#include "common/compat.h"
#include "supervisor/stop.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/sdnotify.h"
#include "supervisor/supervisor.h"

enum {
    KILL_MS = 5000,   /* from SIGKILL to the reaping; only a sick kernel needs more */
    REDIS_MS = 2000,  /* for handing on and unregistering together */
    SERVER_MS = 10000 /* for the embedded Redis to write its file out and end */
};

static void enter(struct stop *st, enum stop_phase phase, int64_t bound_ms)
{
    struct timeval tv = {.tv_sec = bound_ms / 1000, .tv_usec = bound_ms % 1000 * 1000};

    st->phase = phase;
    evtimer_add(st->timer, &tv);
}

static void finish(struct stop *st)
{
    st->phase = STOP_DONE;
    st->is_over = true;
    evtimer_del(st->timer);
    event_base_loopbreak(st->supervisor->base);
}

static void begin_redis(struct stop *st)
{
    struct supervisor *s = st->supervisor;

    redis_conn_stop(s->redis);
    if (!s->embedded) {
        finish(st);
        return;
    }
    enter(st, STOP_REDIS, SERVER_MS);
    embedded_redis_stop(s->embedded);
}

static void on_left(void *arg)
{
    struct stop *st = arg;

    if (st->phase == STOP_LEAVING)
        begin_redis(st);
}

/* Keeps the bound that handing on has set: both wait for Redis. */
static void begin_leaving(struct stop *st)
{
    st->phase = STOP_LEAVING;
    instance_leave(st->supervisor->instance, on_left, st);
}

static void begin_handing_on(struct stop *st)
{
    struct supervisor *s = st->supervisor;

    enter(st, STOP_HANDING_ON, REDIS_MS);
    if (handon_is_idle(s->handon) || !redis_conn_is_up(s->redis))
        begin_leaving(st);
}

static void begin_killing(struct stop *st)
{
    enter(st, STOP_KILLING, KILL_MS);
    services_close(&st->supervisor->services, CHILD_EV_KILL);
    stop_advance(st);
}

static int count_processes(const struct stop *st)
{
    struct service_counts n;

    services_count(&st->supervisor->services, &n);
    return n.processes;
}

void stop_advance(struct stop *st)
{
    if ((st->phase == STOP_DRAINING || st->phase == STOP_KILLING) && count_processes(st) == 0) {
        log_event(EV_drain_finished);
        begin_handing_on(st);
    } else if (st->phase == STOP_HANDING_ON && handon_is_idle(st->supervisor->handon)) {
        begin_leaving(st);
    }
}

static void fail_bound(struct stop *st, const char *what)
{
    log_event(EV_stop_timeout, LOG_S("waiting_for", what), LOG_I("processes", count_processes(st)));
    if (st->supervisor->exit_code == EXITCODE_OK)
        st->supervisor->exit_code = EXITCODE_FAILURE;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct stop *st = arg;
    (void)fd, (void)what;

    switch (st->phase) {
    case STOP_DRAINING:
        fail_bound(st, "workers");
        begin_killing(st);
        break;
    case STOP_KILLING:
        fail_bound(st, "killed workers");
        begin_handing_on(st);
        break;
    case STOP_HANDING_ON:
    case STOP_LEAVING: /* the next supervisor of this instance does it, or another instance's tick */
        begin_redis(st);
        break;
    case STOP_REDIS:
        fail_bound(st, "redis");
        embedded_redis_kill(st->supervisor->embedded);
        enter(st, STOP_DONE, KILL_MS);
        break;
    case STOP_NOT:
        break;
    case STOP_DONE:
        finish(st);
        break;
    }
}

static void begin(struct stop *st, bool is_urgent)
{
    log_event(EV_daemon_stopping, LOG_S("how", is_urgent ? "at once" : "graceful"));
    sdnotify_send("STOPPING=1");
    if (is_urgent) {
        begin_killing(st);
        return;
    }
    log_event(EV_drain_started);
    enter(st, STOP_DRAINING, st->supervisor->opts->supervisor.stop_timeout_ms);
    services_close(&st->supervisor->services, CHILD_EV_DRAIN);
    stop_advance(st);
}

void stop_gracefully(struct stop *st)
{
    if (st->phase == STOP_NOT)
        begin(st, false);
    else
        stop_now(st);
}

void stop_now(struct stop *st)
{
    if (st->phase == STOP_NOT)
        begin(st, true);
    else if (st->phase == STOP_DRAINING)
        begin_killing(st);
}

void stop_redis_gone(struct stop *st)
{
    if (st->phase == STOP_REDIS || st->phase == STOP_DONE)
        finish(st);
}

bool stop_is_stopping(const struct stop *st)
{
    return st->phase != STOP_NOT;
}

bool stop_is_over(const struct stop *st)
{
    return st->is_over;
}

void stop_init(struct stop *st, struct supervisor *s)
{
    st->supervisor = s;
    st->phase = STOP_NOT;
    st->is_over = false;
    st->timer = evtimer_new(s->base, on_timer, st);
    cb_assert(st->timer);
}

void stop_done(struct stop *st)
{
    if (st->timer)
        event_free(st->timer);
    st->timer = NULL;
}
