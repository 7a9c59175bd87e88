/*
 * stop.h: the end, in order: workers finish, what is left of theirs is handed on, this instance
 * unregisters, the embedded Redis stops. Every step is bounded.
 */
#ifndef CB_STOP_H
#define CB_STOP_H

#include <event2/event.h>
#include <stdbool.h>

struct supervisor;

enum stop_phase {
    STOP_NOT,        /* it runs */
    STOP_DRAINING,   /* workers finish */
    STOP_KILLING,    /* workers were killed, and are reaped */
    STOP_HANDING_ON, /* requests of killed workers go back */
    STOP_LEAVING,    /* the last tick */
    STOP_REDIS,      /* the embedded Redis ends */
    STOP_DONE,
};

struct stop {
    struct supervisor *supervisor;
    enum stop_phase phase;
    bool is_over;
    struct event *timer; /* the phase's bound */
};

void stop_init(struct stop *st, struct supervisor *s);
void stop_done(struct stop *st); /* accepts a struct of zeroes */
/* TERM: workers finish what they have. A second call is the same as stop_now. */
void stop_gracefully(struct stop *st);
/* QUIT: workers are killed. */
void stop_now(struct stop *st);
/* Something has changed: goes on if the phase is over. */
void stop_advance(struct stop *st);
/* The embedded Redis has ended. */
void stop_redis_gone(struct stop *st);
bool stop_is_stopping(const struct stop *st);
/* Nothing is left to wait for. The event loop has been told; one that is entered only afterwards does not know. */
bool stop_is_over(const struct stop *st);

#endif
