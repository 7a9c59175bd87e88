/*
 * requeue.h: the call of lua/requeue.lua, which hands on what is pending on a consumer: for the supervisor, of workers that
 * are gone, and for a worker that has lost its connection, of its own.
 */
#ifndef CB_REQUEUE_H
#define CB_REQUEUE_H

#include "common/options.h"
#include "common/scripts.h"

enum {
    REQUEUE_LIMIT = 100, /* entries that one call hands on or gives up, at most */
    /* Of its reply: {handed on, given up, still pending, these for the log, letters that made room}. */
    REQUEUE_MEMBERS = 5,
};

struct requeue {
    const char *stream;   /* the domain's request stream, with the prefix */
    const char *consumer; /* whose entries these are */
    /* The one to charge with a crash; "" = none is known, "*" = none is to blame. */
    const char *entry;
    const char *how; /* how it went, for the entry and the log: "signal 11" */
};

/*
 * Puts keys and arguments into a call that was made for SCRIPT_REQUEUE (script_call_init(), script_call_reset()), with the
 * limits for dead letters of `opts`. The strings of *what are borrowed until the call is sent; others are kept in `arena`,
 * which is to last as long.
 */
void requeue_put(struct script_call *call, struct arena *arena, const struct options *opts,
                 const struct requeue *what);

#endif
