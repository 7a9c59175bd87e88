/*
 * instance.c: see instance.h. At most one tick and one INFO are under way; while Redis is away none is.
 */
#include "common/compat.h"
#include "supervisor/instance.h"

#include "common/clock.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rnd.h"
#include "supervisor/circuits.h"
#include "supervisor/pace.h"
#include "supervisor/secret.h"

enum {
    INCARNATION_LEN = 22,
    GENERATION_LEN = 22,
    /* With two ticks a second, and what the leader does besides: three commands a second at most. */
    MEMORY_MS = 1500,
    SWEEP_BOUND = 100,            /* SWEEP in lua/tick.lua */
    SWEEP_MAX = 10 * SWEEP_BOUND, /* what is above it no sweep has done */
    HOSTS_MAX = 1000000,
    TICK_MEMBERS = 15 /* of its reply */
};

struct instance {
    const struct options *opts;
    struct scoreboard *scoreboard;
    struct redis_conn *conn;
    struct instance_hooks hooks;
    struct event *timer;
    char incarnation[INCARNATION_LEN + 1];
    char secret_hash[65];
    char leader[132];
    char epoch[24];
    char won_epoch[24]; /* the last one that we led in */
    bool is_self;       /* leads */
    bool is_registered;
    bool is_ticking;       /* a tick is under way */
    bool is_asking_memory; /* an INFO is under way */
    int64_t replicas;      /* -1: not known */
    int64_t tick_sent_ms;
    int64_t renewed_ms; /* when the last tick that kept the leadership was sent */
    int64_t memory_ms;  /* when memory was asked for last */
    struct log_repeat said;
    struct log_repeat problem_said;
    char error[256]; /* of the last tick, "" = it went well */
    struct instance_hosts hosts;
    struct circuits circuits;
    char orphan[132];   /* whose requests are being handed on, "" = nobody's */
    char finished[132]; /* an orphan of which nothing is left: the next tick tells */
    bool is_leaving;
    void (*left)(void *arg);
    void *left_arg;
};

/* ---- leadership ---- */

static void set_leader(struct instance *i, const char *id, const char *epoch, bool is_self)
{
    bool was_self = i->is_self;
    bool is_new = strcmp(i->leader, id) != 0 || strcmp(i->epoch, epoch) != 0 || was_self != is_self;

    snprintf(i->leader, sizeof i->leader, "%s", id);
    snprintf(i->epoch, sizeof i->epoch, "%s", epoch);
    i->is_self = is_self;
    atomic_store(&i->scoreboard->global.is_leader, is_self);
    if (is_self && !was_self) {
        bool is_same = strcmp(i->won_epoch, epoch) == 0;
        log_event(is_same ? EV_leader_resumed : EV_leader_elected, LOG_S("epoch", epoch));
        snprintf(i->won_epoch, sizeof i->won_epoch, "%s", epoch);
    }
    if (was_self && !is_self && !i->is_leaving)
        log_event(EV_leader_lost, LOG_S("leader", id), LOG_S("epoch", epoch));
    if (is_new)
        i->hooks.changed(i->hooks.arg);
}

/* A leader that could not renew steps down before anybody else can be elected. Effective time is never
 * faster than ours, so the lease that was renewed at `renewed_ms` is still held. */
static void step_down_in_time(struct instance *i)
{
    int64_t lease_ms = i->opts->cluster.leader_lease_ms;

    if (i->is_self && clock_mono_ms() - i->renewed_ms >= lease_ms - i->opts->cluster.tick_ms)
        set_leader(i, "", "0", false);
}

/* ---- the tick ---- */

static void put_tick_keys(struct script_call *call, struct arena *a, const struct options *opts)
{
    const char *prefix = opts->redis.prefix;

    script_call_key(call, keys_make(a, prefix, KEY_CLOCK));
    script_call_key(call, keys_make(a, prefix, KEY_LEADER));
    script_call_key(call, keys_make(a, prefix, KEY_INSTANCE, opts->instance.id));
    script_call_key(call, keys_make(a, prefix, KEY_INSTANCES_ACTIVE));
    script_call_key(call, keys_make(a, prefix, KEY_EVENTS));
    script_call_key(call, keys_make(a, prefix, KEY_META));
    script_call_key(call, keys_make(a, prefix, KEY_REQUESTS, "system"));
}

static void put_tick_args(struct script_call *call, struct arena *a, const struct instance *i)
{
    const struct options *opts = i->opts;
    char *generation = arena_alloc(a, GENERATION_LEN + 1); /* the call keeps what it is given */

    script_call_arg_str(call, arena_printf(a, "%s:", opts->redis.prefix));
    script_call_arg_str(call, opts->instance.id);
    script_call_arg_str(call, i->incarnation);
    script_call_arg_str(call, i->secret_hash);
    script_call_arg_int(call, !i->is_registered);
    script_call_arg_int(call, i->is_leaving);
    script_call_arg_int(call, opts->cluster.tick_ms);
    script_call_arg_int(call, opts->cluster.offline_ms);
    script_call_arg_int(call, opts->cluster.leader_lease_ms);
    script_call_arg_int(call, opts->cluster.suspect_ms);
    script_call_arg_str(call, options_events_policy(opts, a));
    script_call_arg_int(call, opts->task.keep_finished);
    script_call_arg_int(call, opts->task.keep_finished_ms);
    script_call_arg_int(call, opts->task.keep_finished_min_ms);
    script_call_arg_int(call, opts->task.keep_finished_bytes);
    script_call_arg_int(call, opts->task.aging_ms);
    /* Data that are lost do not come back under their name. */
    rnd_token(generation, GENERATION_LEN);
    script_call_arg_str(call, generation);
    script_call_arg_int(call, !i->orphan[0]);
    script_call_arg_str(call, i->finished);
    i->hooks.measure(i->hooks.arg, i->is_leaving, call, a);
}

static void send_tick(struct instance *i, redis_conn_fn *fn)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    struct script_call call;

    script_call_init(&call, SCRIPT_TICK);
    put_tick_keys(&call, &a, i->opts);
    put_tick_args(&call, &a, i);
    redis_conn_script(i->conn, &call, fn, i);
    script_call_done(&call);
    i->finished[0] = '\0'; /* if this tick is lost, the orphan is looked after once more */
}

static void note_registered(struct instance *i)
{
    if (i->is_registered)
        return;
    i->is_registered = true;
    log_event(EV_instance_registered, LOG_S("instance", i->opts->instance.id),
              LOG_S("incarnation", i->incarnation));
    i->hooks.registered(i->hooks.arg);
}

/* A sweep that was cut off at its bound has more to do: at once, not a tick later. */
static void go_on_sweeping(struct instance *i)
{
    static const struct timeval at_once = {.tv_usec = PACE_AGAIN_MS * 1000};
    evtimer_add(i->timer, &at_once);
}

static void tick_failed(struct instance *i, const char *error)
{
    unsigned times;

    snprintf(i->error, sizeof i->error, "%s", error);
    if (log_repeat_may(&i->said, error, &times))
        log_event(EV_tick_failed, LOG_S("error", error), LOG_I("times", times));
    i->hooks.changed(i->hooks.arg);
}

static void tick_went_well(struct instance *i)
{
    if (!i->error[0])
        return;
    i->error[0] = '\0';
    log_repeat_over(&i->said);
    i->hooks.changed(i->hooks.arg);
}

static int64_t hosts_at(const reply_t *reply, size_t i)
{
    int64_t n = reply_int(reply_at(reply, i));
    return n < 0 ? 0 : n < HOSTS_MAX ? n : HOSTS_MAX;
}

static void take_hosts(struct instance *i, const reply_t *reply)
{
    struct scoreboard_global *g = &i->scoreboard->global;
    int64_t since = strtoll(reply_str(reply_at(reply, 2)), NULL, 10);
    int64_t seen = hosts_at(reply, 0), known = hosts_at(reply, 1);
    bool is_new = (since == 0) != (i->hosts.partition_since_ms == 0) || i->hosts.seen != seen ||
                  i->hosts.known != known;

    i->hosts.seen = seen;
    i->hosts.known = known;
    i->hosts.partition_since_ms = since;
    snprintf(i->hosts.silent, sizeof i->hosts.silent, "%s", reply_str(reply_at(reply, 3)));
    atomic_store(&g->hosts_seen, (int)i->hosts.seen);
    atomic_store(&g->hosts_known, (int)i->hosts.known);
    atomic_store(&g->partition_since_ms, since);
    if (is_new)
        i->hooks.changed(i->hooks.arg);
}

static void take_orphan(struct instance *i, const char *id)
{
    if (!id[0] || i->orphan[0])
        return;
    snprintf(i->orphan, sizeof i->orphan, "%s", id);
    i->hooks.orphan(i->hooks.arg, id);
}

/* The tick went well, but for one part of it. */
static void say_problem(struct instance *i, const char *problem)
{
    unsigned times;

    if (log_repeat_may(&i->problem_said, problem, &times))
        log_event(EV_script_error, LOG_S("script", "tick"), LOG_S("error", problem),
                  LOG_I("times", times));
}

/* How much the parts of a sweep have done: they were asked for no more than their bound. */
static int check_sweep(const reply_t *reply, struct cb_error *err)
{
    static const size_t counts[] = {5, 6, 7, 9};

    for (size_t i = 0; i < CB_ARRAY_LEN(counts); i++) {
        int64_t n = reply_int(reply_at(reply, counts[i]));
        if (n < 0 || n > SWEEP_MAX)
            return cb_error_set(err, REDIS_LOST, "impossible numbers from the script tick");
    }
    return 0;
}

static void take_tick(struct instance *i, const reply_t *reply)
{
    int64_t expired = reply_int(reply_at(reply, 5));
    int64_t promoted = reply_int(reply_at(reply, 6));
    int64_t moved = reply_int(reply_at(reply, 7));
    int64_t waited = reply_int(reply_at(reply, 9));
    bool is_self = reply_int(reply_at(reply, 4)) == 1;

    if (strcmp(reply_str(reply_at(reply, 0)), "refused") == 0) {
        set_leader(i, "", "0", false);
        i->hooks.refused(i->hooks.arg);
        return;
    }
    if (is_self)
        i->renewed_ms = i->tick_sent_ms;
    set_leader(i, reply_str(reply_at(reply, 2)), reply_str(reply_at(reply, 3)), is_self);
    atomic_fetch_add(&i->scoreboard->global.leases_expired, (uint64_t)expired);
    atomic_fetch_add(&i->scoreboard->global.tasks_moved, (uint64_t)moved);
    if (expired > 0)
        log_event(EV_leases_expired, LOG_I("leases", expired));
    if (moved > 0)
        log_event(EV_instance_offline, LOG_I("tasks", moved));
    if (reply_bytes(reply_at(reply, 8)) > 0)
        say_problem(i, reply_str(reply_at(reply, 8)));
    i->hooks.ours(i->hooks.arg);
    note_registered(i);
    tick_went_well(i);
    take_orphan(i, reply_str(reply_at(reply, 10)));
    take_hosts(i, reply_at(reply, 11));
    i->hooks.audit(i->hooks.arg, reply_str(reply_at(reply, 13)));
    if (circuits_take(&i->circuits, reply_at(reply, 14)))
        i->hooks.changed(i->hooks.arg);
    if (is_self && reply_bytes(reply_at(reply, 12)) > 0)
        i->hooks.due(i->hooks.arg, strtoll(reply_str(reply_at(reply, 12)), NULL, 10));
    if (expired >= SWEEP_BOUND || promoted >= SWEEP_BOUND || moved >= SWEEP_BOUND ||
        waited >= SWEEP_BOUND)
        go_on_sweeping(i);
}

static void on_tick(void *arg, const reply_t *reply)
{
    struct instance *i = arg;
    struct cb_error err = {0};

    i->is_ticking = false;
    if (reply && reply_is_error(reply)) {
        reply_error(reply, &err);
        tick_failed(i, err.text);
    } else if (reply && (scripts_check_reply(SCRIPT_TICK, reply, TICK_MEMBERS, &err) != 0 ||
                         check_sweep(reply, &err) != 0)) {
        tick_failed(i, err.text);
    } else if (reply && !i->is_leaving) {
        take_tick(i, reply);
    }
}

static void on_left(void *arg, const reply_t *reply)
{
    struct instance *i = arg;

    if (reply && reply_is_error(reply))
        log_event(EV_script_error, LOG_S("script", "tick"), LOG_S("error", reply_str(reply)));
    set_leader(i, "", "0", false);
    i->left(i->left_arg);
}

/* ---- memory, replicas ---- */

static void on_memory(void *arg, const reply_t *reply)
{
    struct instance *i = arg;
    struct redis_info info = {0};

    i->is_asking_memory = false;
    if (!reply || reply_is_error(reply))
        return;
    redis_info_parse(reply_str(reply), &info);
    atomic_store(&i->scoreboard->global.used_memory, info.used_memory);
    atomic_store(&i->scoreboard->global.max_memory, info.max_memory);
    i->replicas = info.replicas;
}

static void ask_memory(struct instance *i)
{
    int64_t now = clock_mono_ms();

    if (i->is_asking_memory || now - i->memory_ms < MEMORY_MS)
        return;
    i->memory_ms = now;
    i->is_asking_memory = true;
    redis_conn_call(i->conn, on_memory, i, "INFO", "memory", "replication", NULL);
}

/* ---- the timer ---- */

static void arm(struct instance *i)
{
    int64_t ms = i->opts->cluster.tick_ms;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(i->timer, &tv);
}

static void tick(struct instance *i)
{
    if (i->is_leaving || !i->conn || !redis_conn_is_up(i->conn))
        return;
    if (!i->is_ticking) {
        i->is_ticking = true;
        i->tick_sent_ms = clock_mono_ms();
        send_tick(i, on_tick);
    }
    ask_memory(i);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct instance *i = arg;
    (void)fd, (void)what;

    step_down_in_time(i);
    tick(i);
    arm(i);
}

/* ---- interface ---- */

static void show_incarnation(const struct instance *i)
{
    snprintf(i->scoreboard->global.incarnation, sizeof i->scoreboard->global.incarnation, "%s",
             i->incarnation);
}

void instance_go_on(struct instance *i, const char *incarnation)
{
    snprintf(i->incarnation, sizeof i->incarnation, "%s", incarnation);
    i->is_registered = true;
    show_incarnation(i);
}

struct instance *instance_new(struct event_base *base, const struct options *opts,
                              struct scoreboard *scoreboard, const char *secret,
                              const struct instance_hooks *hooks)
{
    struct instance *i = mem_alloc(sizeof *i);

    i->opts = opts;
    i->scoreboard = scoreboard;
    i->hooks = *hooks;
    snprintf(i->epoch, sizeof i->epoch, "0");
    i->memory_ms = clock_mono_ms() - MEMORY_MS;
    i->replicas = -1;
    rnd_token(i->incarnation, INCARNATION_LEN);
    secret_hash(secret, i->secret_hash);
    snprintf(scoreboard->global.instance_id, sizeof scoreboard->global.instance_id, "%s",
             opts->instance.id);
    show_incarnation(i);
    i->timer = evtimer_new(base, on_timer, i);
    cb_assert(i->timer);
    arm(i);
    return i;
}

void instance_free(struct instance *i)
{
    if (!i)
        return;
    event_free(i->timer);
    free(i);
}

void instance_set_conn(struct instance *i, struct redis_conn *conn)
{
    i->conn = conn;
}

void instance_resume(struct instance *i)
{
    tick(i);
    arm(i);
}

void instance_leave(struct instance *i, void (*done)(void *arg), void *arg)
{
    i->is_leaving = true;
    evtimer_del(i->timer);
    if (!i->is_registered || !i->conn || !redis_conn_is_up(i->conn)) {
        done(arg);
        return;
    }
    i->left = done;
    i->left_arg = arg;
    send_tick(i, on_left);
}

void instance_orphan_handled(struct instance *i, bool is_nothing_left)
{
    if (is_nothing_left)
        memcpy(i->finished, i->orphan, sizeof i->finished);
    i->orphan[0] = '\0';
}

bool instance_is_registered(const struct instance *i)
{
    return i->is_registered;
}

const char *instance_error(const struct instance *i)
{
    return i->error;
}

const char *instance_incarnation(const struct instance *i)
{
    return i->incarnation;
}

struct instance_leader instance_leader(const struct instance *i)
{
    return (struct instance_leader){.id = i->leader, .epoch = i->epoch, .is_self = i->is_self};
}

const struct instance_hosts *instance_hosts(const struct instance *i)
{
    return &i->hosts;
}

int64_t instance_replicas(const struct instance *i)
{
    return i->replicas;
}

const struct circuits *instance_circuits(const struct instance *i)
{
    return &i->circuits;
}
