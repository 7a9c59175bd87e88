/*
 * keeper.h: what one archive worker of all hosts does: it copies the audit trail and removes what is older than archive.keep_days. Who is
 * the keeper is decided by an advisory lock of PostgreSQL, which ends with the connection.
 */
#ifndef CB_ARCHIVE_KEEPER_H
#define CB_ARCHIVE_KEEPER_H

#include "archive/source.h"
#include "archive/store.h"

struct keeper {
    struct source *source; /* borrowed, as the next two */
    struct pg *pg;
    struct store *store;
    struct batch batch;
    bool is_keeper;
    int64_t try_at_ms; /* monotonic: of the next try at the lock */
    int64_t audit_at_ms, expire_at_ms;
    char audit_upto[STREAM_ID_SIZE];
    int64_t audit_entries;
};

void keeper_init(struct keeper *k, struct source *source, struct pg *pg, struct store *store);
void keeper_done(struct keeper *k);
/* There is a new connection, or another generation: the lock is gone. */
void keeper_reset(struct keeper *k);
/*
 * Does a piece of what is due, with nothing under way in the store. Returns 1 when there is more to do at once, 0 when there is not, -1 on an
 * error: *ret_is_redis says whose.
 */
int keeper_turn(struct keeper *k, bool *ret_is_redis, struct cb_error *err);

#endif
