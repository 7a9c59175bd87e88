/*
 * service.h: how many workers each domain shall have, and the children that are these workers.
 */
#ifndef CB_SERVICE_H
#define CB_SERVICE_H

#include "supervisor/child.h"
#include "supervisor/tally.h"

enum { SERVICES_MAX = 8 };

struct service {
    const char *name; /* the domain */
    struct child *children;
    size_t len;
};

struct services {
    struct child_env env;
    struct service items[SERVICES_MAX];
    size_t len;
};

struct service_counts {
    int wanted; /* children that shall run */
    int up;     /* GO sent: at work */
    int dead;   /* waiting, gave up */
    int processes;
    int looping; /* in a crash loop */
    int gave_up;
    int refused;    /* by Redis: they wait for their rights */
    int up_refused; /* of those that are up */
};

/* Lays the children out over the scoreboard's slots; starts nothing. `s->env` is filled by the caller.
 * Returns 0, or -1 when there are more workers than slots. */
int services_init(struct services *s, struct cb_error *err);
void services_done(struct services *s);

/* The same event to all children (WANT at the start, DRAIN and KILL at the end). */
void services_event(struct services *s, enum child_event event);
/* Sends a signal to all workers that are at work. */
void services_signal(struct services *s, int sig);
/* This instance is registered: workers may read requests. Idempotent. */
void services_open(struct services *s);
/* NULL when no child has that pid. */
struct child *services_find_pid(const struct services *s, pid_t pid);
/* Adds up what all workers have counted, the dead ones included. */
void services_sum(const struct services *s, struct tally *ret);
void service_count(const struct service *service, struct service_counts *ret);
void services_count(const struct services *s, struct service_counts *ret);

#endif
