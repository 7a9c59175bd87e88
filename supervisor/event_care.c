/*
 * event_care.c: see event_care.h. One script every few seconds while this instance leads. A script that removed much is
 * followed by another one at once: each removes about 10000 events at most.
 */
#include "common/compat.h"
#include "supervisor/event_care.h"

#include "common/keys.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/pace.h"

enum { CARE_MS = 5000, REMOVED_MUCH = 1000, REPLY_REMOVED = 2 };

struct event_care {
    const struct options *opts;
    const struct instance *instance;
    struct redis_conn *conn;
    struct event *timer;
    bool is_busy;
    struct log_repeat said;
};

static void arm(struct event_care *e, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(e->timer, &tv);
}

static void on_done(void *arg, const reply_t *reply)
{
    struct event_care *e = arg;
    unsigned times;

    e->is_busy = false;
    if (!reply)
        return;
    if (!reply_is_error(reply))
        log_repeat_over(&e->said);
    else if (log_repeat_may(&e->said, reply_str(reply), &times))
        log_event(EV_script_error, LOG_S("script", "event_care"), LOG_S("error", reply_str(reply)),
                  LOG_I("times", times));
    if (reply_int(reply_at(reply, REPLY_REMOVED)) >= REMOVED_MUCH)
        arm(e, PACE_AGAIN_MS);
}

static void care(struct event_care *e)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    const struct options *opts = e->opts;
    const char *prefix = opts->redis.prefix;
    struct script_call call;

    script_call_init(&call, SCRIPT_EVENT_CARE);
    script_call_key(&call, keys_make(&a, prefix, KEY_LEADER));
    script_call_key(&call, keys_make(&a, prefix, KEY_EVENTS));
    script_call_key(&call, keys_make(&a, prefix, KEY_EVENTS_READERS));
    script_call_key(&call, keys_make(&a, prefix, KEY_META));
    script_call_arg_str(&call, arena_printf(&a, "%s:", prefix));
    script_call_arg_str(&call, opts->instance.id);
    script_call_arg_str(&call, instance_incarnation(e->instance));
    script_call_arg_str(&call, instance_leader(e->instance).epoch);
    script_call_arg_str(&call, options_events_policy(opts, &a));
    e->is_busy = true;
    redis_conn_script(e->conn, &call, on_done, e);
    script_call_done(&call);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct event_care *e = arg;
    (void)fd, (void)what;

    arm(e, CARE_MS);
    if (!e->is_busy && instance_leader(e->instance).is_self && redis_conn_is_up(e->conn))
        care(e);
}

struct event_care *event_care_new(struct event_base *base, const struct options *opts,
                                  const struct instance *instance, struct redis_conn *conn)
{
    struct event_care *e = mem_alloc(sizeof *e);

    e->opts = opts;
    e->instance = instance;
    e->conn = conn;
    e->timer = evtimer_new(base, on_timer, e);
    cb_assert(e->timer);
    arm(e, CARE_MS);
    return e;
}

void event_care_free(struct event_care *e)
{
    if (!e)
        return;
    event_free(e->timer);
    free(e);
}
