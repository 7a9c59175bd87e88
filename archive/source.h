/*
 * source.h: the archive worker's side of Redis: it registers as a reader of the event stream, takes events, and reads the records that
 * these name. Two connections: one that blocks on the stream (common/event_reader.h), one for all else.
 */
#ifndef CB_ARCHIVE_SOURCE_H
#define CB_ARCHIVE_SOURCE_H

#include "archive/touched.h"
#include "common/backoff.h"
#include "common/connect.h"
#include "common/event_reader.h"
#include "common/scripts.h"
#include "worker/outage.h"
#include "worker/supervised.h"

#define SOURCE_GROUP "archive"

struct source {
    const struct options *opts;
    struct supervised *sup;
    struct redis_target target;
    struct redis_link *link; /* NULL while Redis is away */
    struct event_reader *reader;
    char cursor[STREAM_ID_SIZE]; /* where a new reader begins: behind what was given to any */
    const char *consumer;        /* our name; borrowed */
    char *generation;            /* as it was registered; NULL: not yet */
    bool is_new;         /* the reader was made by us just now: what was before is not known */
    int64_t last_number; /* that was handed out */
    int64_t registered_ms;
    int page; /* records asked for in one write: fewer when they are large */
    struct backoff backoff;
    struct outage outage;
};

int source_init(struct source *s, const struct options *opts, struct supervised *sup,
                const char *consumer, struct cb_error *err);
void source_done(struct source *s);
/* Makes the connection if there is none, waiting for Redis as long as it takes, beating. 0, or -1: it is to drain. */
int source_restore(struct source *s, struct cb_error *err);
/* The connections are gone, or what was read was not archived: it will be given again. */
void source_drop(struct source *s);
void source_forget_given(struct source *s);

/*
 * Says that the archive is there, at most every `every_ms`; the first time it learns the data generation and makes the reader. 1: the generation is
 * another one now; 0: all as before; -1. There may be none yet (generation is NULL then): a daemon draws it.
 */
int source_register(struct source *s, int64_t every_ms, struct cb_error *err);

/*
 * Takes up to `most` events, waiting at most timeout_ms for the first, and notes what they name. Returns how many, or -1. *ret_upto: the last
 * one's id; *ret_gap is set when events are missing.
 */
int source_take(struct source *s, int most, int timeout_ms, struct touched_set *set,
                struct stream_id *ret_upto, bool *ret_gap, struct cb_error *err);
int source_ack(struct source *s, struct stream_id upto, struct cb_error *err);
/* All that were taken, when all of them are archived. */
int source_ack_all(struct source *s, struct cb_error *err);

/*
 * Reads records from *at on and adds their rows to the batch, until it is full or all are read (*at is NULL then). `marks_lost`: a
 * task that is gone was not seen to end. 0, or -1: the batch is to be thrown away.
 */
int source_fetch(struct source *s, struct touched **at, struct batch *b, bool marks_lost,
                 struct cb_error *err);

struct source_lag {
    uint64_t events; /* that are not archived */
    int64_t ms;      /* the age of the oldest of them */
    bool has_pending;
    struct stream_id delivered; /* the last event that was given to any archive worker */
};
int source_lag(struct source *s, struct source_lag *ret, struct cb_error *err);

#endif
