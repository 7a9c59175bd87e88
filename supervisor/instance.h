/*
 * instance.h: this daemon as one of several on the same Redis: registration, beats, leadership.
 *
 * All of it is one script each cluster.tick_ms (lua/tick.lua). Once a second the memory that Redis uses
 * is read too, for the workers (they refuse creating methods when it is nearly full).
 */
#ifndef CB_INSTANCE_H
#define CB_INSTANCE_H

#include "common/options.h"
#include "common/scoreboard.h"
#include "supervisor/redis_conn.h"

struct instance;

struct instance_hooks {
    void *arg;
    /* A tick went well, so the id is ours; each time, before all that follows. */
    void (*ours)(void *arg);
    void (*registered)(void *arg); /* the first time */
    void (*refused)(void *arg);    /* another live daemon has this id */
    void (*changed)(void *arg);    /* leadership */
    /* It leads, and a schedule is due in so many ms. */
    void (*due)(void *arg, int64_t in_ms);
    /* Id of the audit trail's last entry, "" = none; with every tick. */
    void (*audit)(void *arg, const char *last_id);
    /* Appends what is published with a tick (publish.h). */
    void (*measure)(void *arg, bool is_last, struct script_call *call, struct arena *a);
    /* The requests of that instance's workers are to be handed on: instance_orphan_handled() follows. */
    void (*orphan)(void *arg, const char *id);
};

struct circuits;

struct instance_leader {
    const char *id; /* "" = not known */
    const char *epoch;
    bool is_self;
};

/* The daemons on this Redis, as the last tick found them. */
struct instance_hosts {
    int64_t seen;
    int64_t known;
    int64_t partition_since_ms; /* wall; 0: there is none */
    char silent[400];           /* names of some that are not seen */
};

/* `secret` proves that we are the instance that was registered before; it is hashed, not kept. */
struct instance *instance_new(struct event_base *base, const struct options *opts,
                              struct scoreboard *scoreboard, const char *secret,
                              const struct instance_hooks *hooks);
/* After an upgrade in place: it is registered already, under that incarnation. Before the first tick. */
void instance_go_on(struct instance *i, const char *incarnation);
void instance_free(struct instance *i); /* accepts NULL */
void instance_set_conn(struct instance *i, struct redis_conn *conn);
/* Redis is there: ticks now, and from now on. */
void instance_resume(struct instance *i);
/* The last tick: unregisters and gives up leadership. `done` is called once, whatever comes of it. */
void instance_leave(struct instance *i, void (*done)(void *arg), void *arg);

/* The orphan was looked after; `is_nothing_left`: there was nothing any more. */
void instance_orphan_handled(struct instance *i, bool is_nothing_left);

bool instance_is_registered(const struct instance *i);
/* Why the last tick failed; "" when it went well. */
const char *instance_error(const struct instance *i);
const char *instance_incarnation(const struct instance *i);
struct instance_leader instance_leader(const struct instance *i);
const struct instance_hosts *instance_hosts(const struct instance *i);
/* Replicas that Redis has; -1: not known yet. */
int64_t instance_replicas(const struct instance *i);
const struct circuits *instance_circuits(const struct instance *i);

#endif
