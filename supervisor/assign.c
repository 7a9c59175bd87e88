/*
 * assign.c: see assign.h. At most one call of the script and one pop are under way. Whatever is lost on the way is asked
 * for again by the timer.
 */
#include "common/compat.h"
#include "supervisor/assign.h"

#include "common/clock.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rnd.h"
#include "supervisor/pace.h"

enum {
    TOKEN_LEN = 22,
    CURSOR_SIZE = 160, /* of a queue's name and a role's */
    POP_MAX_MS = 3000, /* without a wake it looks all the same after so long */
    POP_COUNT = 100,   /* wakes that one pop takes */
    SEEN_MAX = 1000000,
    RETRY_MS = 1000,    /* after an error, or when the pop is not possible */
    REPLY_ASSIGNED = 1, /* positions in the script's reply */
    REPLY_CURSOR = 2,
    REPLY_SEEN = 3,
    REPLY_NAMES = 4,
    REPLY_PROBLEM = 5
};

struct assign {
    const struct options *opts;
    const struct instance *instance;
    struct redis_conn *conn; /* for the script */
    struct redis_conn *pops;
    char *pops_name;
    struct event *timer;
    char token[TOKEN_LEN + 1];
    char epoch[24]; /* of the leadership that we act in, "" = none */
    char cursor[CURSOR_SIZE];
    int64_t seen; /* names of queues since the last task was given */
    bool is_calling;
    bool is_popping;
    int64_t popped_ms; /* monotonic: when the pop was sent */
    bool is_due;       /* something happened while a call was under way */
    struct log_repeat said;
};

/* ---- when ---- */

static bool is_leading(const struct assign *a)
{
    struct instance_leader leader = instance_leader(a->instance);
    return leader.is_self && strcmp(leader.epoch, a->epoch) == 0;
}

static void call_in(struct assign *a, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(a->timer, &tv);
}

/* ---- waiting to be woken ---- */

/* One that has blocked says what is new: at once. One that has not may say so for ever. */
static void on_pop(void *arg, const reply_t *reply)
{
    struct assign *a = arg;
    bool has_blocked = clock_mono_ms() - a->popped_ms > PACE_AGAIN_MS;

    a->is_popping = false;
    if (reply && reply_is_error(reply))
        log_event(EV_redis_error, LOG_S("command", "BLMPOP"), LOG_S("error", reply_str(reply)));
    call_in(a, !reply || reply_is_error(reply) ? RETRY_MS : has_blocked ? 0 : PACE_AGAIN_MS);
}

static void wait_for_wake(struct assign *a)
{
    CB_CLEANUP(arena_done) struct arena arena = ARENA_INIT;
    int64_t ms = a->opts->redis.timeout_ms / 2 < POP_MAX_MS ? a->opts->redis.timeout_ms / 2
                                                            : POP_MAX_MS;
    char seconds[32], count[16];

    if (a->is_popping)
        return;
    if (!redis_conn_is_up(a->pops)) {
        redis_conn_start(a->pops, 0);
        call_in(a, a->opts->cluster.tick_ms);
        return;
    }
    snprintf(seconds, sizeof seconds, "%" PRId64 ".%03" PRId64, ms / 1000, ms % 1000);
    snprintf(count, sizeof count, "%d", POP_COUNT);
    a->is_popping = true;
    a->popped_ms = clock_mono_ms();
    redis_conn_call(a->pops, on_pop, a, "BLMPOP", seconds, "1",
                    keys_make(&arena, a->opts->redis.prefix, KEY_REPLY, a->token), "LEFT", "COUNT",
                    count, NULL);
}

static void nothing_to_give(struct assign *a)
{
    if (a->opts->task.assignment == ASSIGNMENT_PUSH)
        wait_for_wake(a);
    else if (a->opts->task.assignment == ASSIGNMENT_HYBRID)
        call_in(a, a->opts->cluster.tick_ms);
}

/* ---- the script ---- */

static void put_args(struct script_call *call, struct arena *arena, const struct assign *a)
{
    const struct options *opts = a->opts;
    bool is_hybrid = opts->task.assignment == ASSIGNMENT_HYBRID;
    char *secret = arena_alloc(arena, RND_LEASE_SECRET + 1); /* the call outlives us */

    rnd_token(secret, RND_LEASE_SECRET);
    script_call_arg_str(call, arena_printf(arena, "%s:", opts->redis.prefix));
    script_call_arg_str(call, opts->instance.id);
    script_call_arg_str(call, instance_incarnation(a->instance));
    script_call_arg_str(call, a->epoch);
    script_call_arg_str(call, options_events_policy(opts, arena));
    script_call_arg_str(call, options_assignment_name(opts->task.assignment));
    script_call_arg_int(call, is_hybrid ? opts->task.auto_assign_ms : 0);
    script_call_arg_int(call, opts->task.lease_ms);
    script_call_arg_str(call, secret);
    script_call_arg_str(call, a->cursor);
    script_call_arg_str(call, opts->task.assignment == ASSIGNMENT_PUSH ? a->token : "");
    script_call_arg_int(call, opts->task.deny_ms);
}

/* It is tried again, and again: said once, and then now and then. */
static void say_problem(struct assign *a, const char *problem)
{
    unsigned times;

    if (log_repeat_may(&a->said, problem, &times))
        log_event(EV_script_error, LOG_S("script", "assign_pending"), LOG_S("error", problem),
                  LOG_I("times", times));
}

static void take(struct assign *a, const reply_t *reply)
{
    int64_t assigned = reply_int(reply_at(reply, REPLY_ASSIGNED));
    int64_t seen = reply_int(reply_at(reply, REPLY_SEEN));

    if (seen < 0 || seen > SEEN_MAX) /* no script of ours says that */
        seen = 0;

    /* The tick says so, or it was an older epoch. */
    if (strcmp(reply_str(reply_at(reply, 0)), "ok") != 0) {
        call_in(a, RETRY_MS);
        return;
    }
    if (reply_bytes(reply_at(reply, REPLY_PROBLEM)) > 0)
        say_problem(a, reply_str(reply_at(reply, REPLY_PROBLEM)));
    else
        log_repeat_over(&a->said);
    snprintf(a->cursor, sizeof a->cursor, "%s", reply_str(reply_at(reply, REPLY_CURSOR)));
    a->seen = assigned > 0 ? 0 : a->seen + seen;
    if (assigned > 0)
        log_event(EV_tasks_assigned, LOG_I("tasks", assigned));
    if (assigned > 0 || a->is_due ||
        (seen > 0 && a->seen < reply_int(reply_at(reply, REPLY_NAMES)))) {
        call_in(a, PACE_AGAIN_MS);
        return;
    }
    a->seen = 0;
    nothing_to_give(a);
}

static void on_reply(void *arg, const reply_t *reply)
{
    struct assign *a = arg;

    a->is_calling = false;
    if (!is_leading(a))
        return;
    if (!reply || reply_is_error(reply)) {
        if (reply)
            say_problem(a, reply_str(reply));
        call_in(a, RETRY_MS);
        return;
    }
    take(a, reply);
}

static void give(struct assign *a)
{
    CB_CLEANUP(arena_done) struct arena arena = ARENA_INIT;
    const char *prefix = a->opts->redis.prefix;
    struct script_call call;

    a->is_due = a->is_calling;
    if (a->is_calling || !is_leading(a) || !redis_conn_is_up(a->conn))
        return;
    a->is_calling = true;
    script_call_init(&call, SCRIPT_ASSIGN_PENDING);
    script_call_key(&call, keys_make(&arena, prefix, KEY_LEADER));
    script_call_key(&call, keys_make(&arena, prefix, KEY_EVENTS));
    script_call_key(&call, keys_make(&arena, prefix, KEY_META));
    put_args(&call, &arena, a);
    redis_conn_script(a->conn, &call, on_reply, a);
    script_call_done(&call);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    give(arg);
}

/* ---- interface ---- */

void assign_update(struct assign *a)
{
    struct instance_leader leader = instance_leader(a->instance);

    if (!leader.is_self || !redis_conn_is_up(a->conn)) {
        a->epoch[0] = '\0';
        evtimer_del(a->timer);
        return;
    }
    if (strcmp(leader.epoch, a->epoch) == 0)
        return;
    snprintf(a->epoch, sizeof a->epoch, "%s", leader.epoch);
    a->seen = 0;
    call_in(a, 0);
}

/* The script has to declare the mode, and may have more to give, or nothing any more. */
void assign_options_changed(struct assign *a)
{
    if (!a->epoch[0])
        return;
    a->seen = 0;
    call_in(a, 0);
}

static bool is_ours(void *arg, int fd)
{
    (void)arg, (void)fd;
    return true; /* the first connection has looked */
}

static int will_do(void *arg, const struct redis_info *info, struct cb_error *err)
{
    (void)arg;
    return info->is_replica ? redis_info_refuse_replica(err) : 0;
}

static void is_up(void *arg)
{
    struct assign *a = arg;
    if (is_leading(a))
        call_in(a, 0);
}

static void nothing(void *arg)
{
    (void)arg;
}

struct assign *assign_new(struct event_base *base, const struct options *opts,
                          const struct redis_target *target, struct redis_conn *conn,
                          const struct instance *instance)
{
    struct assign *a = mem_alloc(sizeof *a);
    const struct redis_conn_hooks hooks = {.arg = a,
                                           .is_quiet = true,
                                           .contact = is_ours,
                                           .accept = will_do,
                                           .up = is_up,
                                           .refused = nothing,
                                           .changed = nothing};

    a->opts = opts;
    a->instance = instance;
    a->conn = conn;
    a->pops_name = mem_printf("claudebenchd:%s:assign", opts->instance.id);
    a->pops = redis_conn_new(base, target, a->pops_name, &hooks);
    rnd_token(a->token, TOKEN_LEN);
    a->timer = evtimer_new(base, on_timer, a);
    cb_assert(a->timer);
    return a;
}

/* Callbacks of what is under way still come: the timer last. */
void assign_free(struct assign *a)
{
    if (!a)
        return;
    redis_conn_free(a->pops);
    event_free(a->timer);
    free(a->pops_name);
    free(a);
}
