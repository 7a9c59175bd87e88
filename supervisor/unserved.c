/*
 * unserved.c: see unserved.h. An idle daemon asks seldom; once there is a request, it looks again soon. How long one waits is
 * reckoned by our clock, from when it was first seen to be the oldest: the one in its id is another host's.
 */
#include "common/compat.h"
#include "supervisor/unserved.h"

#include "common/clock.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/stream_id.h"

enum { IDLE_MS = 30000, AGAIN_MS = 2000, WAIT_MS = 5000 };

struct domain {
    struct unserved *owner;
    const struct service *service;
    char oldest[STREAM_ID_SIZE]; /* "" = none, or not looked at */
    int64_t since_ms;            /* monotonic: when it was first seen */
    bool is_watched;
    bool is_asking;
    bool is_unserved;
};

struct unserved {
    const struct services *services;
    struct redis_conn *conn;
    struct event *timer;
    void (*changed)(void *arg);
    void *arg;
    struct domain domains[SERVICES_MAX];
};

static void arm(struct unserved *u, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(u->timer, &tv);
}

static void set_unserved(struct domain *d, bool is_unserved)
{
    bool is_new = d->is_unserved != is_unserved;

    d->is_unserved = is_unserved;
    if (is_new)
        d->owner->changed(d->owner->arg);
}

static void forget(struct domain *d)
{
    d->oldest[0] = '\0';
    set_unserved(d, false);
}

static bool is_ours_to_watch(const struct domain *d)
{
    return d->service->wanted == 0 && options_domain_has_requests(d->service->name);
}

static char *stream_key(const struct domain *d, struct arena *arena)
{
    return keys_make(arena, d->owner->services->env.opts->redis.prefix, KEY_REQUESTS,
                     d->service->name);
}

/* ---- who serves it ---- */

/* Of one group: a list of names and values. */
static const reply_t *group_value(const reply_t *group, const char *name)
{
    for (size_t i = 0; i + 1 < reply_count(group); i += 2)
        if (strcmp(reply_str(reply_at(group, i)), name) == 0)
            return reply_at(group, i + 1);
    return NULL;
}

/* Without the group no worker has ever come. */
static void on_groups(void *arg, const reply_t *reply)
{
    struct domain *d = arg;
    bool is_served = reply && reply_is_error(reply);

    d->is_asking = false;
    if (!reply)
        return;
    for (size_t i = 0; !is_served && i < reply_count(reply); i++) {
        const reply_t *group = reply_at(reply, i);
        const reply_t *name = group_value(group, "name");
        if (name && strcmp(reply_str(name), "workers") == 0)
            is_served = reply_int(group_value(group, "consumers")) != 0;
    }
    set_unserved(d, !is_served && is_ours_to_watch(d));
}

static void ask_who_serves(struct domain *d)
{
    CB_CLEANUP(arena_done) struct arena arena = ARENA_INIT;

    d->is_asking = true;
    redis_conn_call(d->owner->conn, on_groups, d, "XINFO", "GROUPS", stream_key(d, &arena), NULL);
}

/* ---- what waits ---- */

static void take_oldest(struct domain *d, const char *id)
{
    if (!id[0]) {
        forget(d);
        return;
    }
    arm(d->owner, AGAIN_MS);
    if (strcmp(d->oldest, id) != 0) { /* somebody took the one before */
        forget(d);
        snprintf(d->oldest, sizeof d->oldest, "%s", id);
        d->since_ms = clock_mono_ms();
    } else if (clock_mono_ms() - d->since_ms >= WAIT_MS && redis_conn_is_up(d->owner->conn)) {
        ask_who_serves(d);
    }
}

static void on_oldest(void *arg, const reply_t *reply)
{
    struct domain *d = arg;

    d->is_asking = false;
    if (!reply || reply_is_error(reply))
        return;
    take_oldest(d, reply_count(reply) > 0 ? reply_str(reply_at(reply_at(reply, 0), 0)) : "");
}

static void look_at(struct domain *d)
{
    CB_CLEANUP(arena_done) struct arena arena = ARENA_INIT;

    if (!d->is_watched) {
        forget(d);
        return;
    }
    if (d->is_asking)
        return;
    d->is_asking = true;
    redis_conn_call(d->owner->conn, on_oldest, d, "XRANGE", stream_key(d, &arena), "-", "+",
                    "COUNT", "1", NULL);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct unserved *u = arg;
    (void)fd, (void)what;

    arm(u, IDLE_MS);
    unserved_update(u); /* a reload may have given workers to others, or taken them */
    for (size_t i = 0; i < u->services->len && redis_conn_is_up(u->conn); i++)
        look_at(&u->domains[i]);
}

/* ---- interface ---- */

void unserved_update(struct unserved *u)
{
    for (size_t i = 0; u && i < u->services->len; i++) {
        struct domain *d = &u->domains[i];
        bool was_watched = d->is_watched;
        d->is_watched = is_ours_to_watch(d);
        if (d->is_watched && !was_watched)
            arm(u, AGAIN_MS);
    }
}

struct unserved *unserved_new(struct event_base *base, const struct services *services,
                              struct redis_conn *conn, void (*changed)(void *arg), void *arg)
{
    struct unserved *u = mem_alloc(sizeof *u);

    *u = (struct unserved){.services = services, .conn = conn, .changed = changed, .arg = arg};
    for (size_t i = 0; i < services->len; i++)
        u->domains[i] = (struct domain){.owner = u, .service = &services->items[i]};
    u->timer = evtimer_new(base, on_timer, u);
    cb_assert(u->timer);
    unserved_update(u);
    return u;
}

void unserved_free(struct unserved *u)
{
    if (!u)
        return;
    event_free(u->timer);
    free(u);
}

const char *unserved_next(const struct unserved *u, size_t *at)
{
    while (*at < u->services->len) {
        const struct domain *d = &u->domains[(*at)++];
        if (d->is_unserved)
            return d->service->name;
    }
    return NULL;
}
