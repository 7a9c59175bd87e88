/*
 * touched.h: which records some events name, each once: what is to be read from Redis.
 */
#ifndef CB_ARCHIVE_TOUCHED_H
#define CB_ARCHIVE_TOUCHED_H

#include "archive/hash.h"
#include "archive/records.h"
#include "common/event_entry.h"

enum touched_kind { TOUCHED_TASK, TOUCHED_INSTANCE, TOUCHED_DECISION, TOUCHED_SCHEDULE };

struct touched {
    UT_hash_handle hh;
    enum touched_kind kind;
    struct record_end end; /* what the last event said of a task's end, for one that is gone */
    char *worker;          /* …which end.worker points to */
    int64_t released_ms;   /* 0: it was not released */
    int64_t at_ms;         /* of the last event */
    const char *id;
    char key[]; /* the kind's letter and the id */
};

struct touched_set {
    struct touched *all;
    size_t len;
};

/* Notes what an event names; events that name no record of ours are passed over. */
void touched_event(struct touched_set *s, const struct event_entry *e);
struct touched *touched_add(struct touched_set *s, enum touched_kind kind, const char *id,
                            size_t len);
/* By their ids: transactions that write rows in one order do not wait for each other in a circle. */
void touched_sort(struct touched_set *s);
void touched_clear(struct touched_set *s);

#endif
