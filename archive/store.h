/*
 * store.h: writes batches to PostgreSQL, one transaction each, in pipeline mode: a batch is sent, and while the server works on it the
 * caller makes the next one.
 */
#ifndef CB_ARCHIVE_STORE_H
#define CB_ARCHIVE_STORE_H

#include "archive/pg.h"
#include "archive/tables.h"
#include "common/event_entry.h"

/* Whose rows they are, and how far the archive is, written with each batch. Empty texts and zeroes leave what there is. */
struct store_place {
    const char *generation;
    const char *prefix;
    char events_upto[STREAM_ID_SIZE];
    char audit_upto[STREAM_ID_SIZE];
    int64_t audit_entries;
    int64_t last_number;
    bool is_walked; /* all that Redis has was read */
};

struct store;

struct store *store_new(struct pg *pg); /* pg is borrowed */
void store_free(struct store *s);       /* accepts NULL */

/* A connection was made: its statements are to be prepared, and partitions may be other ones. 0 or -1. */
int store_open(struct store *s, struct cb_error *err);
/*
 * Sends a batch, after making the partitions that it needs; nothing may be under way. The batch is borrowed until
 * store_wait(). Returns 0, or -1: nothing was written.
 */
int store_send(struct store *s, struct batch *b, const struct store_place *place,
               struct cb_error *err);
bool store_is_busy(const struct store *s);
/* Waits for what was sent (nothing: 0). 0: committed; -1: not, or, with PG_LOST, who knows. */
int store_wait(struct store *s, struct cb_error *err);
/* The same and at once. */
int store_write(struct store *s, struct batch *b, const struct store_place *place,
                struct cb_error *err);

#endif
