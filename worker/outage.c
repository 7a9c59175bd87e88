/*
 * outage.c: see outage.h.
 */
#include "common/compat.h"
#include "worker/outage.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/redis_cluster.h"
#include "common/redis_link.h"

enum {
    PATIENCE_MS = 2000, /* the supervisor may learn of it a moment later than we do */
    LOOK_MS = 200,
};

static bool supervisor_says_it(const struct supervised *sup)
{
    return !sup->is_orphan && atomic_load(&sup->board->global.redis_state) != REDIS_STATE_UP;
}

bool outage_is_ours(const struct supervised *sup, int64_t since_ms)
{
    return clock_wall_ms() - since_ms >= PATIENCE_MS && !supervisor_says_it(sup) &&
           (sup->is_orphan || atomic_load(&sup->board->global.redis_since_ms) <= since_ms);
}

bool outage_has_the_word(struct supervised *sup)
{
    _Atomic int64_t *said = &sup->board->global.outage_said_us;
    int64_t now = clock_mono_us();
    int64_t last = atomic_load(said);

    return (last == 0 || now - last >= LOG_REPEAT_MS * INT64_C(1000)) &&
           atomic_compare_exchange_strong(said, &last, now);
}

void outage_note(struct outage *o, struct supervised *sup, const struct cb_error *err)
{
    bool is_refused = err->code == REDIS_AUTH;
    int64_t now = clock_mono_ms();

    if (is_refused)
        supervised_state(sup, WORKER_REFUSED);
    else if (atomic_load(&sup->slot->state) == WORKER_REFUSED)
        supervised_state(sup, WORKER_RECONNECT);
    if (o->since_ms == 0) {
        o->since_ms = now;
        log_event(EV_worker_cut_off, LOG_S("reason", err->text));
    }
    if (o->is_said || now - o->since_ms < PATIENCE_MS || supervisor_says_it(sup) ||
        !outage_has_the_word(sup))
        return;
    o->is_said = true;
    log_event(is_refused ? EV_redis_auth : EV_redis_lost, LOG_S("reason", err->text),
              LOG_S("next", "retry"));
}

/* The pauses grow to seconds. The supervisor tries as well: when it has found Redis again, nobody waits for a pause to end. Each
 * worker looks at a moment of its own, so that they do not all come at once. */
static void wait_before_next_try(struct supervised *sup, int64_t ms)
{
    const _Atomic int *state = &sup->board->global.redis_state;
    bool was_away = atomic_load(state) != REDIS_STATE_UP;
    int64_t until = clock_mono_ms() + ms;

    for (int64_t left = ms; left > 0 && !sup->is_draining; left = until - clock_mono_ms()) {
        supervised_wait(sup, left < LOOK_MS ? left : LOOK_MS);
        bool is_away = atomic_load(state) != REDIS_STATE_UP;
        if (was_away && !is_away)
            return;
        was_away = is_away;
    }
}

int outage_wait(struct outage *o, struct supervised *sup, const struct options *opts,
                struct redis_target *target, struct backoff *backoff, const struct cb_error *err)
{
    outage_note(o, sup, err);
    if (sup->is_draining)
        return -1;
    wait_before_next_try(sup, err->code == REDIS_MIGRATING ? REDIS_CLUSTER_WAIT_MS
                                                           : backoff_next_full_jitter(backoff));
    if (err->code == REDIS_AUTH)
        connect_renew_password(opts, CONNECT_DAEMON, target);
    return 0;
}

void outage_over(struct outage *o, int64_t redis_id)
{
    if (o->is_said)
        log_event(EV_redis_connected, LOG_I("id", redis_id));
    else if (o->since_ms)
        log_event(EV_worker_reconnected, LOG_I("id", redis_id));
    *o = (struct outage){0};
}
