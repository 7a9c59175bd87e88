/*
 * todo_sweep.c: see todo_sweep.h.
 */
#include "common/compat.h"
#include "supervisor/todo_sweep.h"

#include "common/keys.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/pace.h"

enum { SWEEP_MS = 60000, RETRY_MS = 1000, SWEEP_TASKS = 100 };

struct todo_sweep {
    const struct options *opts;
    struct redis_conn *conn;
    struct event *timer;
    bool is_calling;
    struct log_repeat said;
};

static void arm(struct todo_sweep *t, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(t->timer, &tv);
}

static void on_reply(void *arg, const reply_t *reply)
{
    struct todo_sweep *t = arg;
    const char *problem = !reply                  ? ""
                          : reply_is_error(reply) ? reply_str(reply)
                                                  : reply_str(reply_at(reply, 2));
    unsigned times;

    t->is_calling = false;
    if (problem[0] && log_repeat_may(&t->said, problem, &times))
        log_event(EV_script_error, LOG_S("script", "hook_todo_expire"), LOG_S("error", problem),
                  LOG_I("times", times));
    /* There may be more. */
    arm(t, reply && reply_int(reply_at(reply, 0)) >= SWEEP_TASKS ? PACE_AGAIN_MS : SWEEP_MS);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct todo_sweep *t = arg;
    CB_CLEANUP(arena_done) struct arena arena = ARENA_INIT;
    const char *prefix = t->opts->redis.prefix;
    struct script_call call;
    (void)fd, (void)what;

    if (t->is_calling || !redis_conn_is_up(t->conn)) {
        arm(t, RETRY_MS);
        return;
    }
    t->is_calling = true;
    script_call_init(&call, SCRIPT_HOOK_TODO_EXPIRE);
    script_call_key(&call, keys_make(&arena, prefix, KEY_TODOS));
    script_call_key(&call, keys_make(&arena, prefix, KEY_EVENTS));
    script_call_arg_str(&call, arena_printf(&arena, "%s:", prefix));
    script_call_arg_int(&call, SWEEP_TASKS);
    script_call_arg_int(&call, t->opts->events.maxlen);
    redis_conn_script(t->conn, &call, on_reply, t);
    script_call_done(&call);
}

struct todo_sweep *todo_sweep_new(struct event_base *base, const struct options *opts,
                                  struct redis_conn *conn)
{
    struct todo_sweep *t = mem_alloc(sizeof *t);

    *t = (struct todo_sweep){.opts = opts, .conn = conn};
    t->timer = evtimer_new(base, on_timer, t);
    cb_assert(t->timer);
    arm(t, RETRY_MS);
    return t;
}

void todo_sweep_free(struct todo_sweep *t)
{
    if (!t)
        return;
    event_free(t->timer);
    free(t);
}
