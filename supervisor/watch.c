/*
 * watch.c: see watch.h. Looks four times in supervisor.watchdog_ms.
 *
 * A pause of this process (SIGSTOP, a suspended machine) may have been one of the workers too; after it
 * they get a whole watchdog time to beat again before anybody is judged.
 */
#include "common/compat.h"
#include "supervisor/watch.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

struct watch {
    struct services *services;
    struct event *timer;
    int64_t last_us;       /* when it looked last */
    int64_t judge_from_us; /* nobody is judged before */
};

static int64_t interval_ms(const struct watch *w)
{
    int64_t ms = w->services->env.opts->supervisor.watchdog_ms / 4;
    return ms < 500 ? ms : 500;
}

static void arm(struct watch *w)
{
    int64_t ms = interval_ms(w);
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(w->timer, &tv);
}

static bool is_watched(const struct child *c)
{
    return child_state_has_process(c->state) && c->state != CHILD_STARTING &&
           c->state != CHILD_KILLED && c->state != CHILD_DISMISSED;
}

static void judge(struct child *c, int64_t now_us, int64_t allowed_us)
{
    int64_t silent_us = now_us - atomic_load(&child_slot(c)->beat_us);

    if (!is_watched(c) || silent_us <= allowed_us)
        return;
    log_event(EV_child_hung, LOG_S("service", c->domain), LOG_I("slot", c->slot),
              LOG_I("pid", c->pid), LOG_I("silent_ms", silent_us / 1000));
    child_event(c, CHILD_EV_HUNG);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct watch *w = arg;
    int64_t now_us = clock_mono_us();
    int64_t allowed_us = w->services->env.opts->supervisor.watchdog_ms * 1000;
    (void)fd, (void)what;

    atomic_store(&w->services->env.scoreboard->global.supervisor_beat_us, now_us);
    if (now_us - w->last_us > allowed_us / 2)
        w->judge_from_us = now_us + allowed_us;
    w->last_us = now_us;
    if (now_us >= w->judge_from_us)
        for (size_t i = 0; i < w->services->len; i++)
            for (size_t j = 0; j < w->services->items[i].len; j++)
                judge(w->services->items[i].children[j], now_us, allowed_us);
    arm(w);
}

struct watch *watch_new(struct services *services)
{
    struct watch *w = mem_alloc(sizeof *w);

    w->services = services;
    w->last_us = clock_mono_us();
    atomic_store(&services->env.scoreboard->global.supervisor_beat_us, w->last_us);
    w->timer = evtimer_new(services->env.base, on_timer, w);
    cb_assert(w->timer);
    arm(w);
    return w;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    event_free(w->timer);
    free(w);
}
