/*
 * event_reader_int.h: what the parts of the event reader share: event_reader.c has its connection, its place and its turns,
 * event_reader_stream.c the stream and the channels beside it, event_reader_group.c the group.
 *
 * What was read and may be given is in `ready`; each turn (a page of the stream, a wait) puts some there. `place` is behind all that
 * was read.
 */
#ifndef CB_EVENT_READER_INT_H
#define CB_EVENT_READER_INT_H

#include "common/event_reader.h"

#include "common/arena.h"
#include "common/backoff.h"
#include "common/event_channel.h"
#include "common/redis_link.h"

#define EVENT_READER_PAGE_TEXT "500"
#define EVENT_READER_ODD_PAGE  "protocol error: events are not in the order of their ids"
enum {
    EVENT_READER_PAGE = 500,
    EVENT_READER_BLOCK_MS = 2000,
};

struct event_reader {
    struct event_reader_config cfg;
    struct arena arena;
    const char *key;
    struct redis_link *link;
    struct event_channel *channel;
    struct event_entry *ready; /* may be given */
    struct event_entry *told;  /* by the channel; behind `place` */
    struct event_entry *given; /* the last one */
    struct stream_id place;
    bool has_place;
    /* The stream had an entry of this id: if it has no more, those behind it may have gone, too. */
    bool is_entry;
    /* What the stream began with when it was looked at; what goes between that look and the next page has to be noticed, too. */
    bool is_looked_at;
    struct stream_id first_seen;
    bool is_at_end;
    bool has_gap;
    struct event_gap gap;
    struct backoff backoff;
    int64_t retry_at_ms;
    int64_t looked_ms; /* at the stream, with channels */

    /* With a group. */
    bool is_past_pending; /* what was given before and not acknowledged has been given again */
    struct stream_id read_upto; /* over this connection */
    struct unacked_event {
        struct stream_id id;
        bool is_passed; /* over: not wanted, so nobody else will say that it is done */
    } * unacked;        /* read, rising */
    size_t nunacked, unacked_cap;
    size_t ndone; /* the first so many of them are done, and Redis does not know yet */
};

static inline bool is_before(struct stream_id a, struct stream_id b)
{
    return stream_id_compare(a, b) < 0;
}

static inline bool is_zero(struct stream_id id)
{
    return id.ms == 0 && id.seq == 0;
}

/* The one before it; of the first: itself. */
static inline struct stream_id stream_id_before(struct stream_id id)
{
    if (id.seq > 0)
        return (struct stream_id){id.ms, id.seq - 1};
    return id.ms > 0 ? (struct stream_id){id.ms - 1, UINT64_MAX} : id;
}

/* How long a blocking read may block. */
static inline int event_reader_block_ms(int timeout_ms)
{
    return timeout_ms < 1                       ? 1
           : timeout_ms < EVENT_READER_BLOCK_MS ? timeout_ms
                                                : EVENT_READER_BLOCK_MS;
}

/* ---- event_reader.c ---- */

/* What was read and not given, or not acknowledged, is read again. */
void event_reader_hang_up(struct event_reader *r);

/* ---- event_reader_stream.c ---- */

struct stream_info {
    struct stream_id last; /* the last id that was given to any entry */
    struct stream_id first_entry, last_entry;
    bool has_entries;
    bool has_lost; /* entries have been removed */
};

static inline void event_reader_note_look(struct event_reader *r, const struct stream_info *info)
{
    r->is_looked_at = info->has_entries;
    r->first_seen = info->first_entry;
}

void event_reader_list_free(struct event_entry **list);
bool event_reader_is_wanted(const struct event_reader *r, const struct event_entry *e);
void event_reader_set_gap(struct event_reader *r, struct stream_id after, struct stream_id before);
/*
 * What a blocking read has brought: *ret_entries, NULL when its time was over. They are at most as many as were asked for, have ids, and these rise
 * from behind `after`.
 */
int event_reader_take_read(const reply_t *reply, struct stream_id after, bool was_blocking,
                           const reply_t **ret_entries, struct cb_error *err);
int event_reader_info(struct event_reader *r, struct stream_info *ret, struct cb_error *err);
/* Have entries behind our place gone that we have not read? */
int event_reader_look_for_gap(struct event_reader *r, struct cb_error *err);
/* …when a page of `count` that begins with `first`, behind our place, has come. */
int event_reader_look_before(struct event_reader *r, struct stream_id first, size_t count,
                             struct cb_error *err);
/* Listens, when it is to. */
int event_reader_open_channels(struct event_reader *r, struct cb_error *err);
/* A page, or a wait for one. */
int event_reader_stream_turn(struct event_reader *r, int timeout_ms, struct cb_error *err);

/* ---- event_reader_group.c ---- */

int event_reader_group_turn(struct event_reader *r, int timeout_ms, struct cb_error *err);
/* Tells Redis of what is done. */
int event_reader_send_acks(struct event_reader *r, struct cb_error *err);

#endif
