/*
 * health.c: see health.h. Recomputed at each change and once a second, and published in the scoreboard.
 */
#include "common/compat.h"
#include "supervisor/health.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/sdnotify.h"
#include "supervisor/circuits.h"
#include "supervisor/control.h"
#include "supervisor/daemonize.h"
#include "supervisor/supervisor.h"
#include "supervisor/unserved.h"

enum { LOOK_MS = 1000, SETTLE_MS = 500 };

const char *health_status_name(enum health_status status)
{
    static const char *const names[] = {"healthy", "degraded", "unhealthy"};
    return names[status];
}

/* ---- what is wrong ---- */

static void add_reason(struct health *h, const char *fmt, ...) CB_PRINTF(2, 3);
static void add_reason(struct health *h, const char *fmt, ...)
{
    va_list ap;

    if (h->len == HEALTH_REASONS_MAX)
        return;
    va_start(ap, fmt);
    vsnprintf(h->reasons[h->len++], HEALTH_REASON_SIZE, fmt, ap);
    va_end(ap);
}

static enum health_status worse(enum health_status a, enum health_status b)
{
    return a > b ? a : b;
}

static enum health_status look_at_memory(struct health *h)
{
    const struct scoreboard_global *g = &h->supervisor->scoreboard->global;

    if (!scoreboard_is_memory_short(g))
        return HEALTH_HEALTHY;
    add_reason(
        h, "redis uses %" PRIu64 " of %" PRIu64 " MiB, 90 %% or more: creating methods are refused",
        atomic_load(&g->used_memory) >> 20, atomic_load(&g->max_memory) >> 20);
    return HEALTH_DEGRADED;
}

/* Every write of claudebench would then wait in vain. */
static enum health_status look_at_replicas(struct health *h)
{
    int64_t wanted = h->supervisor->opts->redis.wait_replicas;
    int64_t found = instance_replicas(h->supervisor->instance);

    if (wanted == 0 || found < 0 || found >= wanted)
        return HEALTH_HEALTHY;
    add_reason(h,
               "redis has %" PRId64 " of the %" PRId64
               " replicas that redis.wait_replicas wants: writes are not confirmed",
               found, wanted);
    return HEALTH_DEGRADED;
}

static enum health_status look_at_instance(struct health *h)
{
    const struct instance *i = h->supervisor->instance;
    const char *error = instance_error(i);

    if (!instance_is_registered(i))
        add_reason(h, "instance is not registered yet%s%s", error[0] ? ": " : "", error);
    else if (error[0])
        add_reason(h, "instance cannot beat: %s", error);
    return instance_is_registered(i) && !error[0] ? HEALTH_HEALTHY : HEALTH_DEGRADED;
}

static enum health_status look_at_redis(struct health *h)
{
    const struct supervisor *s = h->supervisor;

    if (redis_conn_is_up(s->redis))
        return worse(worse(look_at_memory(h), look_at_replicas(h)), look_at_instance(h));
    if (s->embedded && embedded_redis_problem(s->embedded))
        add_reason(h, "%s", embedded_redis_problem(s->embedded));
    else if (redis_conn_state(s->redis) == REDIS_STATE_LOADING)
        add_reason(h, "redis is loading its data");
    else if (redis_conn_is_refused(s->redis))
        add_reason(h, "redis refuses user or password: %s", redis_conn_error(s->redis));
    else
        add_reason(h, "redis is down: %s", redis_conn_error(s->redis));
    return HEALTH_DEGRADED;
}

static enum health_status look_at_service(struct health *h, const struct service *service)
{
    struct service_counts n;

    service_count(&h->supervisor->services, service, &n);
    if (n.up < n.wanted)
        add_reason(h, "%s: %d of %d workers up", service->name, n.up, n.wanted);
    if (n.looping > 0)
        add_reason(h, "%s: %d in a crash loop", service->name, n.looping);
    if (n.gave_up > 0)
        add_reason(h, "%s: %d gave up (exit code 78)", service->name, n.gave_up);
    if (n.refused > 0)
        add_reason(h, "%s: redis refuses user, password or rights of %d (redis_auth in the log)",
                   service->name, n.refused);
    /* One in a crash loop may be up for a moment: that is no worker to rely on. */
    if (n.wanted > 0 && (n.up - n.up_refused <= 0 || n.looping >= n.wanted))
        return HEALTH_UNHEALTHY;
    return n.up < n.wanted || n.looping + n.refused > 0 ? HEALTH_DEGRADED : HEALTH_HEALTHY;
}

/* Others that are silent make us no worse at our own work, but somebody is to look. */
static enum health_status look_at_hosts(struct health *h)
{
    const struct instance_hosts *hosts = instance_hosts(h->supervisor->instance);

    if (!redis_conn_is_up(h->supervisor->redis) || hosts->seen >= hosts->known)
        return HEALTH_HEALTHY;
    add_reason(h, "%s%" PRId64 " of %" PRId64 " daemons are seen; silent: %s",
               hosts->partition_since_ms ? "partition: " : "", hosts->seen, hosts->known,
               hosts->silent);
    return hosts->partition_since_ms ? HEALTH_UNHEALTHY : HEALTH_DEGRADED;
}

/* Calls are refused until somebody mends the rules; tasks are none the worse for it. */
static enum health_status look_at_rules(struct health *h)
{
    struct scoreboard_rules rules;

    scoreboard_sum_rules(h->supervisor->scoreboard, &rules);
    if (rules.troubled == 0)
        return HEALTH_HEALTHY;
    add_reason(h, "hook: rules cannot be used: %s", rules.problem);
    return HEALTH_DEGRADED;
}

/* Everything works without it, but somebody relies on it. */
static enum health_status look_at_audit(struct health *h)
{
    struct scoreboard_global *g = &h->supervisor->scoreboard->global;
    struct audit_status audit;
    bool is_failing = audit_status(h->supervisor->audit, &audit) && audit.error[0];

    scoreboard_set_trouble(g, TROUBLE_AUDIT, is_failing ? audit.error : NULL);
    if (!is_failing)
        return HEALTH_HEALTHY;
    add_reason(h, "the audit file is not written: %s", audit.error);
    return HEALTH_DEGRADED;
}

/* To have no workers for a domain is trouble only when nobody else has any, and somebody waits. */
static enum health_status look_at_unserved(struct health *h)
{
    const struct supervisor *s = h->supervisor;
    CB_CLEANUP(buf_done) struct buf names = BUF_INIT;
    char text[HEALTH_REASON_SIZE];
    size_t at = 0;

    for (const char *name; (name = unserved_next(s->unserved, &at));)
        buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", name);
    snprintf(text, sizeof text, "%s: requests wait, and no worker of any host serves them",
             buf_peek(&names));
    scoreboard_set_trouble(&s->scoreboard->global, TROUBLE_UNSERVED, names.len > 0 ? text : NULL);
    if (names.len == 0)
        return HEALTH_HEALTHY;
    add_reason(h, "%s", text);
    return HEALTH_DEGRADED;
}

/* Who is connected notices nothing, and nobody else gets in. */
static enum health_status look_at_sockets(struct health *h)
{
    const struct supervisor *s = h->supervisor;
    const char *problems[] = {embedded_redis_socket_problem(s->embedded),
                              control_problem(s->control)};
    char text[HEALTH_REASON_SIZE] = "";

    for (size_t i = 0; i < CB_ARRAY_LEN(problems); i++) {
        if (!problems[i][0])
            continue;
        snprintf(text, sizeof text, "a socket is gone and cannot be made anew: %s", problems[i]);
        add_reason(h, "%s", text);
    }
    scoreboard_set_trouble(&s->scoreboard->global, TROUBLE_SOCKET, text[0] ? text : NULL);
    return text[0] ? HEALTH_DEGRADED : HEALTH_HEALTHY;
}

/* Nothing waits for it; but what it has not had is in Redis alone. */
static enum health_status look_at_archive(struct health *h)
{
    const struct options *opts = h->supervisor->opts;
    struct scoreboard_archives archive;

    scoreboard_sum_archives(h->supervisor->scoreboard, &archive);
    if (opts->domains.archive.workers == 0 || archive.workers == 0)
        return HEALTH_HEALTHY; /* workers that are missing are told of by their service */
    if (archive.down > 0)
        add_reason(h, "the archive waits for PostgreSQL: %s", archive.problem);
    else if (archive.lag_ms > opts->archive.lag_ms)
        add_reason(h, "the archive is %" PRId64 " s behind", archive.lag_ms / 1000);
    return archive.down > 0 || archive.lag_ms > opts->archive.lag_ms ? HEALTH_DEGRADED
                                                                     : HEALTH_HEALTHY;
}

static enum health_status look_at_circuits(struct health *h)
{
    const struct circuits *circuits = instance_circuits(h->supervisor->instance);

    if (!redis_conn_is_up(h->supervisor->redis))
        return HEALTH_HEALTHY;
    for (size_t i = 0; i < circuits->len; i++) {
        const struct circuit *c = &circuits->items[i];
        char since[CLOCK_RFC3339_SIZE];
        clock_format_rfc3339(c->since_ms, since);
        add_reason(h, "the circuit of %s is %s since %s: %s", c->method, c->state, since,
                   c->reason);
    }
    return circuits->len > 0 ? HEALTH_DEGRADED : HEALTH_HEALTHY;
}

/* Without Redis no worker can be ready: that is one trouble, not two. */
static enum health_status look(struct health *h)
{
    struct supervisor *s = h->supervisor;
    enum health_status redis;
    enum health_status workers = HEALTH_HEALTHY;

    h->len = 0;
    if (stop_is_stopping(&s->stop)) {
        add_reason(h, "stopping");
        return HEALTH_DEGRADED;
    }
    redis = look_at_redis(h);
    if (s->services.is_drained) {
        add_reason(h, "drained: no workers until a reload");
        redis = worse(redis, HEALTH_UNHEALTHY);
    }
    for (size_t i = 0; i < s->services.len; i++)
        workers = worse(workers, look_at_service(h, &s->services.items[i]));
    return redis != HEALTH_HEALTHY && workers == HEALTH_UNHEALTHY ? HEALTH_DEGRADED
                                                                  : worse(redis, workers);
}

/* Whether the start is over: everything is there that is going to come. Memory that is short, and workers that crash or
 * gave up beside others that serve, are trouble of a daemon that runs, and no reason to let its start fail. */
static bool is_serving(const struct supervisor *s)
{
    if (stop_is_stopping(&s->stop) || !redis_conn_is_up(s->redis) ||
        !instance_is_registered(s->instance) || s->services.is_drained)
        return false;
    for (size_t i = 0; i < s->services.len; i++) {
        struct service_counts n;
        service_count(&s->services, &s->services.items[i], &n);
        if (n.wanted > 0 && (n.up - n.up_refused <= 0 || n.up + n.looping + n.gave_up < n.wanted))
            return false;
    }
    return true;
}

/* ---- whom it is told ---- */

static void publish(const struct health *h)
{
    const struct supervisor *s = h->supervisor;
    struct scoreboard_global *g = &s->scoreboard->global;
    struct service_counts n;
    struct audit_status audit;

    services_count(&s->services, &n);
    if (audit_status(s->audit, &audit)) {
        atomic_store(&g->audit_records, (uint64_t)audit.records);
        atomic_store(&g->audit_waiting, (uint64_t)audit.waiting);
        atomic_store(&g->audit_lost, (uint64_t)audit.gaps);
        atomic_store(&g->audit_local, (uint64_t)audit.local);
    }
    atomic_store(&g->redis_state, redis_conn_state(s->redis));
    atomic_store(&g->redis_since_ms, redis_conn_since_ms(s->redis));
    atomic_store(&g->workers_wanted, n.wanted);
    atomic_store(&g->workers_ready, n.up);
    atomic_store(&g->health_since_ms, h->since_ms);
}

static void become_ready(struct health *h)
{
    const struct supervisor *s = h->supervisor;

    h->is_logged = false;
    log_event(EV_daemon_ready, LOG_S("instance", s->opts->instance.id),
              LOG_I("uptime_ms", clock_mono_ms() - s->started_ms));
    if (h->was_ready)
        return;
    h->was_ready = true;
    sdnotify_send("READY=1\nMAINPID=%ld", (long)getpid());
    daemonize_ready();
}

/* The service manager's line about us, sent when it is another one than it has. */
static void tell_status(struct health *h)
{
    struct service_counts n;
    char text[sizeof h->told];

    services_count(&h->supervisor->services, &n);
    if (h->len > 1)
        snprintf(text, sizeof text, "%s: %s (and %u more)", health_status_name(h->status),
                 h->reasons[0], h->len - 1);
    else if (h->len == 1)
        snprintf(text, sizeof text, "%s: %s", health_status_name(h->status), h->reasons[0]);
    else
        snprintf(text, sizeof text, "%s: %d workers", health_status_name(h->status), n.up);
    if (strcmp(text, h->told) == 0)
        return;
    memcpy(h->told, text, sizeof text);
    sdnotify_send("STATUS=%s", text);
}

static void log_trouble(struct health *h)
{
    h->is_logged = true;
    log_event(EV_daemon_degraded, LOG_S("status", health_status_name(h->status)),
              LOG_S("reason", h->len ? h->reasons[0] : ""), LOG_I("reasons", h->len));
}

/* Trouble that is over at once is not logged. */
static void settle_soon(struct health *h)
{
    struct timeval settle = {.tv_usec = SETTLE_MS * 1000};

    evtimer_add(h->settle, &settle);
}

static void status_changed(struct health *h)
{
    if (h->status != HEALTH_HEALTHY) {
        if (!h->is_logged && h->was_ready && !stop_is_stopping(&h->supervisor->stop))
            settle_soon(h);
        return;
    }
    evtimer_del(h->settle);
    if (!h->was_ready || h->is_logged)
        become_ready(h);
}

void health_update(struct health *h)
{
    enum health_status old = h->status;

    h->status = look(h); /* first: the reasons begin anew with it */
    h->status = worse(h->status, look_at_hosts(h));
    h->status = worse(h->status, look_at_rules(h));
    h->status = worse(h->status, look_at_unserved(h));
    h->status = worse(h->status, look_at_sockets(h));
    h->status = worse(h->status, look_at_audit(h));
    h->status = worse(h->status, look_at_archive(h));
    h->status = worse(h->status, look_at_circuits(h));
    if (h->status != old)
        h->since_ms = clock_wall_ms();
    publish(h);
    tell_status(h);
    if (h->status != old)
        status_changed(h);
    if (h->was_ready || !is_serving(h->supervisor))
        return;
    become_ready(h);
    if (h->status != HEALTH_HEALTHY)
        settle_soon(h);
}

/* ---- timers ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct health *h = arg;
    (void)fd, (void)what;

    health_update(h);
    if (!h->was_ready && clock_mono_ms() - h->supervisor->started_ms >= DAEMONIZE_WAIT_MS)
        daemonize_not_ready(h->len ? h->reasons[0] : "");
}

static void on_settle(evutil_socket_t fd, short what, void *arg)
{
    struct health *h = arg;
    (void)fd, (void)what;

    health_update(h);
    if (h->status != HEALTH_HEALTHY && !h->is_logged && !stop_is_stopping(&h->supervisor->stop))
        log_trouble(h);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
    sdnotify_send("WATCHDOG=1");
}

static struct event *every(struct event_base *base, int64_t ms, event_callback_fn fn, void *arg)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    struct event *e = event_new(base, -1, EV_PERSIST, fn, arg);

    cb_assert(e);
    evtimer_add(e, &tv);
    return e;
}

void health_init(struct health *h, struct supervisor *s)
{
    h->supervisor = s;
    h->status = HEALTH_DEGRADED;
    h->since_ms = clock_wall_ms();
    h->timer = every(s->base, LOOK_MS, on_timer, h);
    h->settle = evtimer_new(s->base, on_settle, h);
    cb_assert(h->settle);
    if (sdnotify_watchdog_ms() > 0)
        h->watchdog = every(s->base, sdnotify_watchdog_ms(), on_watchdog, h);
}

void health_done(struct health *h)
{
    struct event *events[] = {h->timer, h->settle, h->watchdog};

    for (size_t i = 0; i < CB_ARRAY_LEN(events); i++)
        if (events[i])
            event_free(events[i]);
    h->timer = h->settle = h->watchdog = NULL;
}
