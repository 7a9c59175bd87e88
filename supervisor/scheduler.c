/*
 * scheduler.c: see scheduler.h. At most one script is under way; while it is, being woken is of no use, as its answer
 * says when to look again. A lost connection or a refusal ends the round: the next tick begins another one.
 */
#include "common/compat.h"
#include "supervisor/scheduler.h"

#include "common/fault.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/pace.h"
#include "supervisor/schedule_plan.h"

enum {
    ROUND_SCHEDULES = 20, /* of one round */
    ROUND_TASKS = SCHEDULE_FIRE_MAX,
    HOLD_MS = 60000, /* for a schedule that cannot be computed */
    AHEAD_TICKS = 2  /* what is due later, a later tick says again */
};

struct scheduler {
    const struct options *opts;
    const struct scoreboard *scoreboard;
    const struct instance *instance;
    struct redis_conn *conn;
    struct event *timer;
    bool is_busy;        /* a script is under way */
    bool is_memory_full; /* and that has been said */
    struct log_repeat said;
    size_t len; /* schedules of this round */
    char *ids[ROUND_SCHEDULES];
    int64_t dropped[ROUND_SCHEDULES];
};

static void forget_round(struct scheduler *s)
{
    while (s->len > 0)
        free(s->ids[--s->len]);
    s->is_busy = false;
}

static void arm(struct scheduler *s, int64_t in_ms)
{
    if (in_ms < 0)
        in_ms = 0;
    if (in_ms > AHEAD_TICKS * s->opts->cluster.tick_ms) {
        evtimer_del(s->timer);
        return;
    }
    struct timeval tv = {.tv_sec = in_ms / 1000, .tv_usec = in_ms % 1000 * 1000};
    evtimer_add(s->timer, &tv);
}

/* "" = there is no next one. */
static void arm_as_told(struct scheduler *s, const reply_t *wait)
{
    int64_t ms = strtoll(reply_str(wait), NULL, 10);

    if (reply_bytes(wait) > 0)
        arm(s, ms > PACE_AGAIN_MS ? ms : PACE_AGAIN_MS);
}

/* True when a reply is one to go on with. */
static bool take_reply(struct scheduler *s, enum script_id script, const reply_t *reply)
{
    unsigned times;

    if (reply && reply_is_error(reply) && log_repeat_may(&s->said, reply_str(reply), &times))
        log_event(EV_script_error, LOG_S("script", scripts_name(script)),
                  LOG_S("error", reply_str(reply)), LOG_I("times", times));
    if (reply && !reply_is_error(reply) && strcmp(reply_str(reply_at(reply, 0)), "ok") == 0) {
        log_repeat_over(&s->said);
        return true;
    }
    forget_round(s);
    return false;
}

/* The keys and arguments that both scripts begin with. */
static void begin_call(const struct scheduler *s, struct script_call *call, enum script_id script,
                       struct arena *a)
{
    const char *prefix = s->opts->redis.prefix;

    script_call_init(call, script);
    script_call_key(call, keys_make(a, prefix, KEY_LEADER));
    script_call_key(call, keys_make(a, prefix, KEY_SCHEDULES));
    script_call_key(call, keys_make(a, prefix, KEY_SCHEDULES_DUE));
    if (script == SCRIPT_SCHEDULE_FIRE)
        script_call_key(call, keys_make(a, prefix, KEY_EVENTS));
    script_call_arg_str(call, arena_printf(a, "%s:", prefix));
    script_call_arg_str(call, s->opts->instance.id);
    script_call_arg_str(call, instance_incarnation(s->instance));
    script_call_arg_str(call, instance_leader(s->instance).epoch);
}

/* ---- schedule_fire ---- */

static void log_outcome(const struct scheduler *s, size_t i, const reply_t *result)
{
    const char *id = i < s->len ? s->ids[i] : "", *outcome = reply_str(reply_at(result, 0));
    const char *why = reply_str(reply_at(result, 2));

    if (strcmp(outcome, "full") == 0)
        log_event(EV_schedule_blocked, LOG_S("schedule", id));
    else if (strcmp(outcome, "failed") == 0)
        log_event(EV_schedule_failed, LOG_S("schedule", id), LOG_S("problem", why));
    else if (why[0])
        log_event(EV_schedule_missed, LOG_S("schedule", id), LOG_S("reason", why));
    if (strcmp(outcome, "fired") == 0 && i < s->len && s->dropped[i] > 0)
        log_event(EV_schedule_missed, LOG_S("schedule", id), LOG_I("dropped", s->dropped[i]),
                  LOG_S("reason", "late"));
}

static void on_fired(void *arg, const reply_t *reply)
{
    struct scheduler *s = arg;

    if (!take_reply(s, SCRIPT_SCHEDULE_FIRE, reply))
        return;
    for (size_t i = 2; i < reply_count(reply); i++)
        log_outcome(s, i - 2, reply_at(reply, i));
    forget_round(s);
    arm_as_told(s, reply_at(reply, 1));
}

static void add_plan(struct script_call *call, const struct schedule_plan *plan)
{
    script_call_arg_str(call, "");
    if (plan->has_next)
        script_call_arg_int(call, plan->next_ms);
    else
        script_call_arg_str(call, "");
    script_call_arg_int(call, plan->dropped);
    script_call_arg_int(call, (int64_t)plan->len);
    for (size_t i = 0; i < plan->len; i++)
        script_call_arg_int(call, plan->times[i]);
}

static void add_hold(struct script_call *call)
{
    script_call_arg_int(call, HOLD_MS);
    script_call_arg_str(call, "");
    script_call_arg_int(call, 0);
    script_call_arg_int(call, 0);
}

/* A number of a row; '' is `absent`. */
static int64_t number_at(const reply_t *row, size_t i, int64_t absent)
{
    const char *text = reply_str(reply_at(row, i));
    return text[0] ? strtoll(text, NULL, 10) : absent;
}

static enum schedule_missed missed_of(const char *word)
{
    if (strcmp(word, "skip") == 0)
        return SCHEDULE_SKIP;
    return strcmp(word, "all") == 0 ? SCHEDULE_ALL : SCHEDULE_ONCE;
}

/* A row is that of schedule_due.lua: id, version, due, floor, cron, every, anchor, zone, missed, end; a damaged record
 * has only its id and what is wrong. */
static int plan_row(const reply_t *row, int64_t now_ms, size_t room, struct schedule_plan *plan,
                    const char **problem)
{
    if (reply_count(row) < 10) {
        *problem = reply_str(reply_at(row, 1));
        return -1;
    }
    const char *cron = reply_str(reply_at(row, 4));
    struct schedule_when when = {
        .cron = cron[0] ? cron : NULL,
        .timezone = reply_str(reply_at(row, 7)),
        .every_ms = number_at(row, 5, 0),
        .anchor_ms = number_at(row, 6, 0),
        .end_ms = number_at(row, 9, INT64_MAX),
        .due_ms = number_at(row, 2, 0),
        .floor_ms = number_at(row, 3, 0),
        .missed = missed_of(reply_str(reply_at(row, 8))),
    };
    return schedule_plan(&when, now_ms, room, plan, problem);
}

/* Puts one schedule behind the arguments of schedule_fire; returns how many tasks it is to make. */
static size_t add_row(struct scheduler *s, struct script_call *call, const reply_t *row,
                      int64_t now_ms, size_t room)
{
    struct schedule_plan plan = {.len = 0};
    const char *id = reply_str(reply_at(row, 0)), *problem;
    bool is_damaged = reply_count(row) < 10;

    script_call_arg(call, id, reply_bytes(reply_at(row, 0)));
    script_call_arg_str(call, is_damaged ? "" : reply_str(reply_at(row, 1)));
    script_call_arg_str(call, is_damaged ? "" : reply_str(reply_at(row, 2)));
    if (plan_row(row, now_ms, room, &plan, &problem) == 0) {
        add_plan(call, &plan);
    } else {
        if (!is_damaged) /* else the script says so */
            log_event(EV_schedule_failed, LOG_S("schedule", id), LOG_S("problem", problem));
        add_hold(call);
    }
    s->dropped[s->len] = plan.dropped;
    s->ids[s->len++] = mem_strdup(id);
    return plan.len;
}

static void fire(struct scheduler *s, const reply_t *due)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    struct script_call call;
    int64_t now_ms = reply_int(reply_at(due, 1));
    size_t room = ROUND_TASKS, rows = reply_count(due) - 3;

    if (rows > ROUND_SCHEDULES) /* nobody asked for more */
        rows = ROUND_SCHEDULES;
    begin_call(s, &call, SCRIPT_SCHEDULE_FIRE, &a);
    script_call_arg_str(&call, options_events_policy(s->opts, &a));
    script_call_arg_int(&call, s->opts->task.max_pending);
    script_call_arg_int(&call, (int64_t)rows);
    for (size_t i = 0; i < rows; i++)
        room -= add_row(s, &call, reply_at(due, 3 + i), now_ms, room);
    fault_point("schedule_fire");
    redis_conn_script(s->conn, &call, on_fired, s);
    script_call_done(&call);
}

/* ---- schedule_due ---- */

static void on_due(void *arg, const reply_t *reply)
{
    struct scheduler *s = arg;

    if (!take_reply(s, SCRIPT_SCHEDULE_DUE, reply))
        return;
    if (reply_count(reply) > 3 && redis_conn_is_up(s->conn)) {
        fire(s, reply);
        return;
    }
    forget_round(s);
    arm_as_told(s, reply_at(reply, 2));
}

/* As for requests: nothing that makes Redis larger is begun: due times wait, and may count as missed. */
static bool is_memory_full(struct scheduler *s)
{
    bool is_full = scoreboard_is_memory_short(&s->scoreboard->global);

    if (is_full && !s->is_memory_full)
        log_event(EV_schedules_wait, LOG_S("reason", "memory full"));
    s->is_memory_full = is_full;
    return is_full;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct scheduler *s = arg;
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    struct script_call call;
    (void)fd, (void)what;

    if (s->is_busy || !redis_conn_is_up(s->conn) || !instance_leader(s->instance).is_self ||
        is_memory_full(s))
        return;
    begin_call(s, &call, SCRIPT_SCHEDULE_DUE, &a);
    script_call_arg_int(&call, ROUND_SCHEDULES);
    s->is_busy = true;
    redis_conn_script(s->conn, &call, on_due, s);
    script_call_done(&call);
}

/* ---- interface ---- */

struct scheduler *scheduler_new(struct event_base *base, const struct options *opts,
                                const struct scoreboard *scoreboard,
                                const struct instance *instance, struct redis_conn *conn)
{
    struct scheduler *s = mem_alloc(sizeof *s);

    *s = (struct scheduler){
        .opts = opts, .scoreboard = scoreboard, .instance = instance, .conn = conn};
    s->timer = evtimer_new(base, on_timer, s);
    cb_assert(s->timer);
    return s;
}

void scheduler_free(struct scheduler *s)
{
    if (!s)
        return;
    forget_round(s);
    event_free(s->timer);
    free(s);
}

void scheduler_wake(struct scheduler *s, int64_t in_ms)
{
    if (!s->is_busy)
        arm(s, in_ms);
}
