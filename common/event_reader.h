/*
 * event_reader.h: reads the event stream (cb:stream:events), from a place on, to its end or for ever.
 *
 * Used by `claudebench events`; made for whoever feeds something else with events. It keeps its place over lost
 * connections, says when events have gone that it should have given (a gap), and gives each event once and in the order
 * of the ids:
 *
 *   - without channels it asks the stream only, until it notices that events are told only: then it listens, too;
 *   - with channels it listens to pub/sub as well. Whatever is told wakes it, and it reads the stream up to what was told
 *     before it gives that: so it makes one order of events that are only in the stream, only told, or both, whatever
 *     events.transport is on which host, and while that changes;
 *   - with a group (system.event.subscribe has made it) the place is kept by Redis: what was given and not
 *     acknowledged (event_reader_ack) is given again to the next reader of that group. That is at least once.
 */
#ifndef CB_EVENT_READER_H
#define CB_EVENT_READER_H

#include "common/event_entry.h"

struct event_reader_config {
    const struct redis_target *target; /* borrowed until event_reader_free, as all that follows */
    const char *prefix;
    const char *client_name;
    /* Globs, NULL-terminated: an event is given when one matches its type. NULL or empty: all are. */
    const char *const *types;
    /* Begin behind this id; with a group: where that is. NULL: see `last`. */
    const char *since;
    size_t last;         /* without `since`: begin with the last so many; 0: with the next event */
    const char *group;   /* NULL: none */
    bool is_following;   /* goes on when all has been given */
    bool has_channels;   /* listens from the start; not with a group */
    bool can_do_without; /* … who is not allowed to listen reads the stream only */
    /* Asked at least every REDIS_LINK_IDLE_MS while it waits; false: event_reader_next() says
     * EVENT_NOTHING soon. May be NULL. */
    redis_idle_fn *go_on;
    void *arg;
};

enum event_reader_said {
    EVENT_GIVEN,   /* *ret_event, borrowed until the next call */
    EVENT_NOTHING, /* the time is over, or go_on() said false */
    EVENT_END,     /* all that there is has been given, and it is not following */
    EVENT_GAP,     /* events between *ret_gap's two ids may have gone before they could be given */
    EVENT_LOST,    /* err says why; the next call tries again after a while */
    EVENT_DENIED, /* the same, and no repeat will help: password, rights, or the group is not known any more */
};

struct event_gap {
    struct stream_id after;
    struct stream_id before;
};

struct event_reader;

struct event_reader *event_reader_new(const struct event_reader_config *config);
void event_reader_free(struct event_reader *r); /* accepts NULL */

/* What is next, waiting at most timeout_ms for it (and for a connection). */
enum event_reader_said event_reader_next(struct event_reader *r, int timeout_ms,
                                         const struct event_entry **ret_event,
                                         struct event_gap *ret_gap, struct cb_error *err);
/* True when the next call of event_reader_next() will not have to wait: time to write what was given. */
bool event_reader_has_more(const struct event_reader *r);
/* With a group: all events up to the last one given are done. Returns 0, or -1 when Redis could not be told: then it is told later, or the
 * events are given again to whoever reads next. */
int event_reader_ack(struct event_reader *r, struct cb_error *err);
/* The same of the events up to this one, though later ones were given. */
int event_reader_ack_upto(struct event_reader *r, struct stream_id upto, struct cb_error *err);
/* False between a loss and the next connection: events that come now are not noticed at once. */
bool event_reader_is_connected(const struct event_reader *r);
/* Where it is: the id of the last event that it has given or passed over. False when it has no place yet. */
bool event_reader_place(const struct event_reader *r, struct stream_id *ret);

#endif
