/*
 * worker_int.h: what the parts of the archive's worker share: worker.c has its connections, its loop and its end, worker_turn.c a turn of
 * that loop.
 */
#ifndef CB_ARCHIVE_WORKER_INT_H
#define CB_ARCHIVE_WORKER_INT_H

#include "archive/keeper.h"
#include "archive/outbox.h"
#include "archive/walk.h"
#include "common/log.h"
#include "worker/supervised.h"

struct archiver {
    const struct options *opts;
    struct supervised *sup;
    struct source source;
    struct pg *pg;
    struct store *store;
    struct keeper keeper;
    struct outbox outbox;
    struct walk walk;
    bool is_walk_due; /* as soon as the reader is registered */
    const char *walk_reason;
    struct batch batches[2];
    int cur; /* the one that is being filled; the other one may be under way */
    struct touched_set set;
    struct stream_id archived; /* the last event that is in PostgreSQL, as far as we know */
    struct stream_id sent;     /* the last event of what is under way; 0: none ends with it */
    int nsent, rows_sent;
    bool is_more; /* of the outbox, at once */
    int stuck;    /* looks at the lag that found events given to nobody who is there */
    int careful;  /* so many events are still to be written record by record */
    int64_t lag_at_ms, keeper_at_ms;
    int64_t drain_ms; /* since when it is to leave; 0: it is not */
    struct log_repeat said;
};

static inline struct scoreboard_slot *archiver_slot(const struct archiver *a)
{
    return a->sup->slot;
}

/* ---- worker_turn.c ---- */

/*
 * One piece of work: takes events and sends what they name, walks, keeps, serves the outbox; or waits a moment for one. Returns 0, or -1:
 * *ret_is_redis says who has failed.
 */
int archiver_turn(struct archiver *a, bool *ret_is_redis, struct cb_error *err);
/* Waits for what is under way, and acknowledges its events. The same. */
int archiver_finish_sent(struct archiver *a, bool *ret_is_redis, struct cb_error *err);

#endif
