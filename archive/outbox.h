/*
 * outbox.h: makes tasks of the rows that users of PostgreSQL have inserted into claudebench.outbox.
 *
 * One worker of all that serve a redis.prefix does: it holds an advisory lock of that name. It takes rows in pages, has a script make their
 * tasks (lua/outbox_create.lua), and notes the outcome in the rows. Exactly once, whatever dies in between:
 *
 *   - the commit that makes a task leaves a mark in cb:outbox, which goes when PostgreSQL has committed the outcome. So a row whose
 *     outcome was not noted gives the same task again, after a minute or a month;
 *   - each keeper draws a number from Redis before it reads rows, and the script refuses all but the last one: a keeper that has lost the lock
 *     with its connection, but had rows in hand, does nothing with them.
 */
#ifndef CB_ARCHIVE_OUTBOX_H
#define CB_ARCHIVE_OUTBOX_H

#include "archive/pg.h"
#include "archive/source.h"
#include "common/log.h"
#include "worker/handler.h"

struct outbox_row;

struct outbox {
    struct source *source; /* borrowed, as the next */
    struct pg *pg;
    struct handler_context ctx;
    bool has_lock;
    char number[24];    /* "": none yet */
    int64_t try_at_ms;  /* monotonic: of the next try at the lock */
    int64_t look_at_ms; /* the same: of the next look into the table */
    int64_t expire_at_ms;
    char after[24];    /* this pass over the open rows is here */
    bool has_left;     /* …and has left some of them, because their queue was full */
    struct arena done; /* rows whose marks may go */
    const char **done_ids;
    size_t ndone;
    struct log_repeat said;
};

void outbox_init(struct outbox *o, struct source *source, struct pg *pg);
void outbox_done(struct outbox *o);
/* There is a new connection, or another generation: lock and number are gone. */
void outbox_reset(struct outbox *o);
/* Does a piece of what is due, with nothing under way in the store. As keeper_turn(). */
int outbox_turn(struct outbox *o, bool *ret_is_redis, struct cb_error *err);
/* Does this worker serve the outbox? Then it looks for notifications more often. */
bool outbox_is_ours(const struct outbox *o);

#endif
