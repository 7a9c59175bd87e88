/*
 * supervisor.c: see supervisor.h. Puts the parts together and passes events from one to the other.
 */
#include "common/compat.h"
#include "supervisor/jsonc.h"
#include "supervisor/supervisor.h"

#include "common/clock.h"
#include "common/connect.h"
#include "common/exitcode.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/config.h"
#include "supervisor/control.h"
#include "supervisor/daemonize.h"
#include "supervisor/durable.h"
#include "supervisor/lineage.h"
#include "supervisor/event_care.h"
#include "supervisor/figures.h"
#include "supervisor/inherit.h"
#include "supervisor/old_functions.h"
#include "supervisor/pidfile.h"
#include "supervisor/reap.h"
#include "supervisor/scheduler.h"
#include "supervisor/setup.h"
#include "supervisor/signals.h"
#include "supervisor/textfile.h"
#include "supervisor/todo_sweep.h"
#include "supervisor/unserved.h"

#include <fcntl.h>
#include <signal.h>

enum { FIRST_CONNECT_MS = 20 }; /* from the start of redis-server to the first try */

/* ---- what happens to the whole ---- */

static void changed(void *arg)
{
    struct supervisor *s = arg;

    health_update(&s->health);
    if (s->assign)
        assign_update(s->assign);
    stop_advance(&s->stop);
    services_settle_soon(&s->services);
    unserved_update(s->unserved);
}

void supervisor_fail(struct supervisor *s, int code, const char *why)
{
    log_event(EV_daemon_failed, LOG_S("error", why), LOG_I("code", code));
    if (!s->health.was_ready && strcmp(s->opts->log.destination, "stderr") != 0)
        fprintf(stderr, "claudebenchd: %s\n", why);
    s->exit_code = code;
    stop_now(&s->stop);
}

/* ---- reload ---- */

static void on_settled(void *arg)
{
    struct supervisor *s = arg;

    health_update(&s->health);
    if (!services_are_settled(&s->services))
        return;
    reload_settled(&s->reload);
    control_settled(s->control);
}

void supervisor_reload(struct supervisor *s)
{
    if (!stop_is_stopping(&s->stop))
        json_object_put(reload_now(s));
}

void supervisor_drain(struct supervisor *s)
{
    if (stop_is_stopping(&s->stop))
        return;
    services_drain(&s->services);
    health_update(&s->health);
}

void supervisor_set_log_level(struct supervisor *s, enum log_subsystem subsystem, int level)
{
    struct scoreboard_global *g = &s->scoreboard->global;

    log_set_subsystem_level(subsystem, level);
    atomic_store(&g->log_levels[subsystem], level + 1);
    atomic_fetch_add(&g->log_levels_serial, 1);
}

void supervisor_stop(struct supervisor *s)
{
    stop_gracefully(&s->stop);
}

/* One worker more or fewer in each domain that has any; until a reload. */
static void scale_all(struct supervisor *s, int step)
{
    for (size_t i = 0; i < s->services.len; i++) {
        struct service *v = &s->services.items[i];
        size_t before = v->wanted;
        struct cb_error err = {0};
        if (before == 0 || (step < 0 && before == 1))
            continue;
        size_t after = step < 0 ? before - 1 : before + 1;
        if (services_scale(&s->services, v, after, &err) < 0)
            log_event(EV_scale_refused, LOG_S("service", v->name), LOG_S("reason", err.text));
        else
            log_event(EV_workers_scaled, LOG_S("service", v->name), LOG_I("from", before),
                      LOG_I("to", after));
    }
}

/* ---- signals ---- */

static bool reap_other(void *arg, pid_t pid, int status)
{
    struct supervisor *s = arg;
    return embedded_redis_reaped(s->embedded, pid, status) ||
           upgrade_reaped(&s->upgrade, pid, status);
}

static void reopen_logs(struct supervisor *s)
{
    struct cb_error err = {0};

    if (log_reopen(&err) < 0)
        log_event(EV_log_reopen_failed, LOG_S("error", err.text));
    else
        log_event(EV_log_reopened);
    services_signal(&s->services, SIGUSR1);
    audit_reopen(s->audit);
}

static void on_signal(void *arg, int sig, pid_t sender)
{
    struct supervisor *s = arg;

    if (sig == SIGCHLD) {
        reap_children(&s->services, reap_other, s);
        return;
    }
    if (sig == SIGWINCH && sender == SIGNALS_KERNEL)
        return; /* our terminal was resized */
    log_event(EV_signal_received, LOG_S("signal", sigabbrev_np(sig)), LOG_I("from", sender));
    if (sig == SIGTERM || sig == SIGINT)
        supervisor_stop(s);
    else if (sig == SIGQUIT)
        stop_now(&s->stop);
    else if (sig == SIGUSR1)
        reopen_logs(s);
    else if (sig == SIGHUP)
        supervisor_reload(s);
    else if (sig == SIGUSR2)
        upgrade_begin(&s->upgrade);
    else if (sig == SIGWINCH)
        supervisor_drain(s);
    else if (sig == SIGTTIN || sig == SIGTTOU)
        scale_all(s, sig == SIGTTIN ? 1 : -1);
}

/* ---- workers ---- */

static bool redis_is_up(void *arg)
{
    const struct supervisor *s = arg;
    return redis_conn_is_up(s->redis);
}

static void on_dead(void *arg, const struct child_death *death)
{
    struct supervisor *s = arg;
    struct handon_item item = {.domain = death->domain,
                               .consumer = death->consumer,
                               .redis_id = death->redis_id,
                               .entry = death->entry,
                               .how = death->how};

    if (options_domain_has_requests(death->domain))
        handon_add(s->handon, &item);
}

/* ---- Redis ---- */

static bool on_contact(void *arg, int fd)
{
    struct supervisor *s = arg;
    return !s->embedded || embedded_redis_contact(s->embedded, fd);
}

static void give_advice(struct supervisor *s, const struct redis_info *info)
{
    const char *text;

    for (size_t i = 0; !s->is_advised && (text = redis_info_advice(info, i)); i++)
        log_event(EV_redis_advice, LOG_S("advice", text));
    s->is_advised = true;
}

/* A server that will not do is tried every few seconds. */
static int say_unsuitable(struct supervisor *s, const struct cb_error *err)
{
    unsigned times;

    if (log_repeat_may(&s->unsuitable_said, err->text, &times))
        log_event(EV_redis_unsuitable, LOG_S("problem", err->text), LOG_I("times", times));
    return -1;
}

/* Too old at the start is a mistake of whoever configured us; later it is weather. */
static int on_accept(void *arg, const struct redis_info *info, struct cb_error *err)
{
    struct supervisor *s = arg;

    if (s->embedded && embedded_redis_accept(s->embedded, info, err) < 0)
        return say_unsuitable(s, err);
    if (redis_info_check(info, s->opts->redis.prefix, err) < 0) {
        say_unsuitable(s, err);
        if (err->code == EXITCODE_CONFIG && !s->health.was_ready && !stop_is_stopping(&s->stop))
            supervisor_fail(s, err->code, err->text);
        return -1;
    }
    if (info->is_replica) {
        redis_info_refuse_replica(err);
        return say_unsuitable(s, err);
    }
    log_repeat_over(&s->unsuitable_said);
    give_advice(s, info);
    return 0;
}

/* The operator may have put the password file right instead of Redis. */
static void on_login_refused(void *arg)
{
    struct supervisor *s = arg;
    connect_renew_password(s->opts, CONNECT_DAEMON, &s->target);
}

static void on_up(void *arg)
{
    struct supervisor *s = arg;

    if (s->had_redis)
        atomic_fetch_add(&s->scoreboard->global.redis_reconnects, 1);
    s->had_redis = true;
    durable_look(s->durable);
    lineage_look(s->lineage);
    handon_resume(s->handon); /* of workers that were ours */
    instance_resume(s->instance);
}

static void on_redis_started(void *arg)
{
    struct supervisor *s = arg;
    redis_conn_start(s->redis, FIRST_CONNECT_MS);
}

static void on_redis_failed(void *arg, int code, const char *why)
{
    supervisor_fail(arg, code, why);
}

static void on_redis_gone(void *arg)
{
    struct supervisor *s = arg;
    stop_redis_gone(&s->stop);
}

/* ---- this instance ---- */

/* Not before: what seems left over of an earlier life may be the workers of a live daemon that has our id, and is to
 * be left alone. With each tick, as a look may have been cut off, and after an upgrade in place nothing is registered. */
static void on_ours(void *arg)
{
    struct supervisor *s = arg;

    leftover_look(s->leftover, s->redis);
    if (!s->had_id)
        old_functions_remove(s->redis);
    s->had_id = true;
}

static void on_registered(void *arg)
{
    struct supervisor *s = arg;

    services_open(&s->services);
    health_update(&s->health);
}

static void on_due(void *arg, int64_t in_ms)
{
    struct supervisor *s = arg;
    scheduler_wake(s->scheduler, in_ms);
}

static void on_audit(void *arg, const char *last_id)
{
    struct supervisor *s = arg;
    audit_wake(s->audit, last_id);
}

static void on_refused(void *arg)
{
    struct supervisor *s = arg;
    char why[160];

    snprintf(why, sizeof why, "the instance id %s is in use by another live daemon",
             s->opts->instance.id);
    supervisor_fail(s, EXITCODE_TEMPFAIL, why);
}

static void on_measure(void *arg, bool is_last, struct script_call *call, struct arena *a)
{
    const struct supervisor *s = arg;
    publish_put(s->publish, is_last, call, a);
}

static void on_orphan_handled(void *arg, int found)
{
    struct supervisor *s = arg;
    instance_orphan_handled(s->instance, found == 0);
}

/* The last one is done: there is only one at a time. */
static void on_orphan(void *arg, const char *id)
{
    struct supervisor *s = arg;

    leftover_free(s->orphan);
    s->orphan = leftover_new_of(&s->services, s->handon, id, on_orphan_handled, s);
    leftover_look(s->orphan, s->redis);
}

/* ---- making it ---- */

static int make_redis(struct supervisor *s, struct cb_error *err)
{
    const struct embedded_redis_hooks server = {.arg = s,
                                                .started = on_redis_started,
                                                .failed = on_redis_failed,
                                                .gone = on_redis_gone,
                                                .changed = changed};
    const struct redis_conn_hooks hooks = {.arg = s,
                                           .contact = on_contact,
                                           .accept = on_accept,
                                           .up = on_up,
                                           .refused = on_login_refused,
                                           .changed = changed};

    if (s->opts->redis.embedded &&
        embedded_redis_open(s->base, s->opts, s->config->is_system, &server, &s->embedded, err) < 0)
        return -1;
    if (connect_target(s->opts, CONNECT_DAEMON, &s->target, err) < 0)
        return -1;
    s->client_name = mem_printf("claudebenchd:%s", s->opts->instance.id);
    s->redis = redis_conn_new(s->base, &s->target, s->client_name, &hooks);
    return 0;
}

static void adopt_worker(struct supervisor *s, json_object *worker)
{
    const struct child_life life = {
        .state = (enum child_state)inherit_worker_int(worker, "state"),
        .pid = (pid_t)inherit_worker_int(worker, "pid"),
        .fd = inherit_take_worker_fd(worker),
        .generation = (uint64_t)inherit_worker_int(worker, "generation"),
        .started_ms = inherit_worker_int(worker, "started_ms"),
        .ready_ms = inherit_worker_int(worker, "ready_ms"),
        .restarts = (unsigned)inherit_worker_int(worker, "restarts"),
        .is_retiring = inherit_worker_int(worker, "retiring") != 0};
    const char *domain = json_object_get_string(json_object_object_get(worker, "domain"));

    if (!services_adopt(&s->services, domain ? domain : "", (int)inherit_worker_int(worker, "slot"),
                        &life) &&
        life.fd >= 0)
        close(life.fd); /* it leaves */
}

static void adopt_workers(struct supervisor *s, const struct inherit *in)
{
    json_object *workers = inherit_workers(in);

    for (size_t i = 0; workers && i < json_object_array_length(workers); i++)
        adopt_worker(s, json_object_array_get_idx(workers, i));
}

static void make_workers(struct supervisor *s, const struct inherit *in)
{
    uint64_t generation = (uint64_t)inherit_int(in, "next_generation", clock_wall_ms());

    s->services.env = (struct child_env){.base = s->base,
                                         .opts = s->opts,
                                         .scoreboard = s->scoreboard,
                                         .scoreboard_fd = s->scoreboard_fd,
                                         .options_fd = s->options_fd,
                                         .worker_path = s->worker_path,
                                         .null_fd = s->null_fd,
                                         .is_background = daemonize_is_on(),
                                         .first_generation = generation,
                                         .next_generation = generation,
                                         .options_serial = 1, /* those that we adopt have 0 */
                                         .tally = &s->tally,
                                         .arg = s,
                                         .redis_is_up = redis_is_up,
                                         .on_dead = on_dead,
                                         .on_change = changed,
                                         .on_settled = on_settled};
    services_init(&s->services);
    adopt_workers(s, in);
}

/* Registered, as the earlier program in our place was. */
static void go_on(struct supervisor *s, const struct inherit *in)
{
    const char *incarnation = inherit_string(in, "incarnation", NULL);

    if (!incarnation)
        return;
    instance_go_on(s->instance, incarnation);
    services_open(&s->services);
}

static void on_figures(void *arg)
{
    struct supervisor *s = arg;

    control_figures_came(s->control, s->figures);
}

static void on_metrics_figures(void *arg)
{
    struct supervisor *s = arg;

    control_figures_came(s->control, s->metrics_figures);
    textfile_figures_came(s->textfile);
}

static int make_parts(struct supervisor *s, const char *secret, struct inherit *in,
                      struct cb_error *err)
{
    const struct instance_hooks hooks = {.arg = s,
                                         .ours = on_ours,
                                         .registered = on_registered,
                                         .refused = on_refused,
                                         .changed = changed,
                                         .due = on_due,
                                         .audit = on_audit,
                                         .measure = on_measure,
                                         .orphan = on_orphan};

    s->handon = handon_new(s->base, s->opts, changed, s);
    handon_set_conn(s->handon, s->redis);
    s->instance = instance_new(s->base, s->opts, s->scoreboard, secret, &hooks);
    instance_set_conn(s->instance, s->redis);
    s->assign = assign_new(s->base, s->opts, &s->target, s->redis, s->instance);
    s->scheduler = scheduler_new(s->base, s->opts, s->scoreboard, s->instance, s->redis);
    s->event_care = event_care_new(s->base, s->opts, s->instance, s->redis);
    s->figures = figures_new(s->opts, s->redis, SCRIPT_STATUS_FIGURES, on_figures, s);
    s->metrics_figures = figures_new(s->opts, s->redis, SCRIPT_METRICS_FIGURES, on_metrics_figures,
                                     s);
    s->audit = audit_new(s->base, s->opts, s->redis);
    audit_go_on(s->audit, (int64_t)atomic_load(&s->scoreboard->global.audit_records),
                (int64_t)atomic_load(&s->scoreboard->global.audit_lost));
    s->durable = durable_new(s->base, s->scoreboard, s->redis);
    s->lineage = lineage_new(s->base, s->opts, s->redis);
    s->todo_sweep = todo_sweep_new(s->base, s->opts, s->redis);
    make_workers(s, in);
    s->unserved = unserved_new(s->base, &s->services, s->redis, changed, s);
    go_on(s, in);
    s->publish = publish_new(&s->services, s->scoreboard);
    s->leftover = leftover_new(&s->services, s->handon);
    s->watch = watch_new(&s->services);
    stop_init(&s->stop, s);
    health_init(&s->health, s);
    s->textfile = textfile_new(s, err);
    if (!s->textfile)
        return -1;
    return control_open(s, s->opts->supervisor.control_socket, in, &s->control, err);
}

static int make_scoreboard(struct supervisor *s, struct inherit *in, struct cb_error *err)
{
    s->scoreboard_fd = inherit_take_fd(in, "scoreboard");
    if (s->scoreboard_fd < 0)
        s->scoreboard_fd = scoreboard_create(&s->scoreboard, err);
    else if (scoreboard_attach(s->scoreboard_fd, &s->scoreboard, err) == 0)
        tally_add_slot(&s->tally, &s->scoreboard->retired);
    log_set_ring(s->scoreboard ? &s->scoreboard->log : NULL);
    for (int i = 0; s->scoreboard && i < LOG_SUBSYSTEMS; i++)
        supervisor_set_log_level(s, (enum log_subsystem)i, -1);
    return s->scoreboard ? 0 : -1;
}

int supervisor_init(struct supervisor *s, struct options *opts, struct config *config,
                    const struct pidfile *pidfile, struct inherit *in, struct cb_error *err)
{
    char *secret CB_CLEANUP(mem_free_ptr) = NULL;
    bool is_system = config->is_system;

    *s = (struct supervisor){.opts = opts,
                             .config = config,
                             .scoreboard_fd = -1,
                             .options_fd = -1,
                             .state_fd = inherit_take_fd(in, "state"),
                             .null_fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY),
                             .started_ms = inherit_int(in, "started_ms", clock_mono_ms())};
    reload_init(&s->reload);
    if (setup_state_dir(opts, is_system, &s->state_fd, &secret, err) < 0 ||
        setup_run_dirs(opts, is_system, err) < 0 || setup_worker_path(&s->worker_path, err) < 0 ||
        (s->options_fd = setup_options_fd(opts, err)) < 0)
        return -1;
    s->base = event_base_new();
    if (make_scoreboard(s, in, err) < 0 || !s->base ||
        signals_open(s->base, on_signal, s, &s->signals, err) < 0) {
        err->code = EXITCODE_SOFTWARE;
        return -1;
    }
    if (!in)
        atomic_store(&s->scoreboard->global.started_ms, clock_wall_ms());
    upgrade_init(&s->upgrade, s, pidfile->fd);
    if (make_redis(s, err) < 0)
        return -1;
    return make_parts(s, secret, in, err);
}

int supervisor_run(struct supervisor *s)
{
    log_event(EV_daemon_started, LOG_S("version", PACKAGE_VERSION),
              LOG_S("instance", s->opts->instance.id), LOG_S("worker", s->worker_path));
    if (s->embedded)
        embedded_redis_launch(s->embedded);
    else
        redis_conn_start(s->redis, 0);
    if (!stop_is_stopping(&s->stop))
        services_start(&s->services);
    fault_point("services_started");
    reap_children(&s->services, reap_other,
                  s); /* who died while one program gave way to the other, or Redis, that fast */
    if (!stop_is_over(&s->stop))
        event_base_dispatch(s->base);
    log_event(EV_daemon_stopped, LOG_I("code", s->exit_code),
              LOG_I("uptime_ms", clock_mono_ms() - s->started_ms));
    return s->exit_code;
}

/* The connection first: its unanswered commands still have callbacks in the other parts. */
void supervisor_done(struct supervisor *s)
{
    control_free(s->control);
    s->control = NULL; /* what is told from now on is told to nobody */
    redis_conn_free(s->redis);
    assign_free(s->assign);
    audit_free(s->audit);
    leftover_free(s->leftover);
    leftover_free(s->orphan);
    handon_free(s->handon);
    scheduler_free(s->scheduler);
    event_care_free(s->event_care);
    textfile_free(s->textfile);
    figures_free(s->figures);
    figures_free(s->metrics_figures);
    todo_sweep_free(s->todo_sweep);
    unserved_free(s->unserved);
    s->unserved = NULL;
    durable_free(s->durable);
    lineage_free(s->lineage);
    instance_free(s->instance);
    publish_free(s->publish);
    watch_free(s->watch);
    health_done(&s->health);
    services_done(&s->services);
    reload_done(&s->reload);
    upgrade_done(&s->upgrade);
    stop_done(&s->stop);
    embedded_redis_free(s->embedded);
    signals_free(s->signals);
    if (s->base)
        event_base_free(s->base);
    redis_target_done(&s->target);
    tally_done(&s->tally);
    log_set_ring(NULL);
    scoreboard_detach(s->scoreboard);
    int fds[] = {s->scoreboard_fd, s->options_fd, s->state_fd, s->null_fd};
    for (size_t i = 0; i < CB_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(s->worker_path);
    free(s->client_name);
}
