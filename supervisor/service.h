/*
 * service.h: how many workers each domain shall have, and the children that are these workers.
 *
 * A service is told what it shall be: so many workers, with the options in force. How it gets there is settle.c: a
 * worker with older options is a *stale* one, and works until a new one is up in its place; one that was told to leave
 * is *retiring* until it is gone.
 */
#ifndef CB_SERVICE_H
#define CB_SERVICE_H

#include "supervisor/child.h"
#include "supervisor/tally.h"

enum {
    SERVICES_MAX = 8,
    SERVICE_WORKERS_MAX = 64, /* that a domain can be scaled to */
    SERVICES_WORKERS_MAX = SCOREBOARD_SLOTS /
                           2 /* of all domains: each may be there twice, old and new */
};

struct service {
    const char *name; /* the domain */
    size_t wanted;    /* workers that shall run */
    struct child **children;
    size_t len;
};

struct services {
    struct child_env env;
    struct service items[SERVICES_MAX];
    size_t len;
    bool is_slot_used[SCOREBOARD_SLOTS];
    struct event *settle; /* something has changed: settle.c is to look */
    bool is_started;
    bool is_closing; /* nobody is started any more */
    bool is_drained; /* as if nobody were wanted */
};

struct service_counts {
    int wanted; /* children that shall run */
    int up;     /* GO sent, and not told to leave: at work */
    int dead;   /* waiting, gave up */
    int processes;
    int looping; /* in a crash loop */
    int gave_up;
    int refused;    /* by Redis: they wait for their rights */
    int up_refused; /* of those that are up */
    int old;        /* stale or retiring: with older options, or too many */
};

/* Makes a service of each domain; starts nothing. `s->env` is filled by the caller, and its options are checked. */
void services_init(struct services *s);
void services_done(struct services *s);

/* A worker of an earlier program in our place, in its slot. False when that is not possible: it leaves by itself. */
bool services_adopt(struct services *s, const char *domain, int slot,
                    const struct child_life *life);
/* From now on the workers that are wanted run. */
void services_start(struct services *s);
/* From now on nobody is started any more. The event, DRAIN or KILL, goes to all children. */
void services_close(struct services *s, enum child_event event);
/*
 * The options in force have changed. Takes the numbers of workers from them. `has_new_options`: workers are replaced, by
 * ones that read `options_fd`; whoever waits for a restart or gave up is tried at once.
 */
void services_renew(struct services *s, bool has_new_options, int options_fd);
/* Workers leave, and none is started until services_renew(). */
void services_drain(struct services *s);
/* Sets how many workers a domain shall have, at most SERVICE_WORKERS_MAX; until services_renew(). Returns 0, or -1 with
 * a reason: EBUSY after services_drain(), EINVAL when there would be too many. */
int services_scale(struct services *s, struct service *service, size_t workers,
                   struct cb_error *err);
/* Neither services_drain() nor services_scale() has made it other than the options in force say. */
bool services_are_as_configured(const struct services *s);
/* NULL when there is no such domain. */
struct service *services_find(struct services *s, const char *domain);
/* What was wanted is so: nobody is old, and all that are wanted are up. */
bool services_are_settled(const struct services *s);

/* Sends a signal to all workers that are at work. */
void services_signal(struct services *s, int sig);
/* This instance is registered: workers may read requests. Idempotent. */
void services_open(struct services *s);
/* NULL when no child has that pid. */
struct child *services_find_pid(const struct services *s, pid_t pid);
/* Whether a worker of that generation is there. */
bool services_have(const struct services *s, uint64_t generation);
/* Adds up what all workers have counted, the dead ones included. */
void services_sum(const struct services *s, struct tally *ret);
void service_count(const struct services *s, const struct service *service,
                   struct service_counts *ret);
void services_count(const struct services *s, struct service_counts *ret);

/* ---- settle.c ---- */

/* Some child or some wish has changed: settle.c looks when the event at hand is over. */
void services_settle_soon(struct services *s);
/* Starts and retires whom it takes; called by the event above. */
void services_settle(struct services *s);
/* For settle.c: a child more, without a process. NULL when there is no slot for it. */
struct child *service_add(struct services *s, struct service *service);
/* For settle.c: takes out children[i], whose process is gone. */
void service_remove(struct services *s, struct service *service, size_t i);

#endif
