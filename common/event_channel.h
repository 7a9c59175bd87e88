/*
 * event_channel.h: events as pub/sub tells them: one connection that listens to the channels of all types.
 */
#ifndef CB_EVENT_CHANNEL_H
#define CB_EVENT_CHANNEL_H

#include "common/event_entry.h"

struct event_channel;

/*
 * Connects and listens; what is told meanwhile goes into *list. `go_on` (may be NULL) is asked while it waits; when it says
 * false, the call fails with REDIS_LOST. Returns 0, or -1 with err->code an enum redis_fault.
 */
int event_channel_open(const struct redis_target *target, const char *prefix,
                       const char *client_name, redis_idle_fn *go_on, void *arg,
                       struct event_entry **list, struct event_channel **ret, struct cb_error *err);
void event_channel_free(struct event_channel *c); /* accepts NULL */

/*
 * Appends what has been told to *list (sorted by id, nothing twice), waiting at most `timeout_ms` for the first; a signal
 * ends the wait. Returns 0, or -1 when the connection is lost.
 */
int event_channel_wait(struct event_channel *c, int timeout_ms, struct event_entry **list,
                       struct cb_error *err);
/* The same for all that was told before this call. */
int event_channel_catch_up(struct event_channel *c, struct event_entry **list,
                           struct cb_error *err);

/* Puts an event into a list that is sorted by id; one whose id is in it already is freed. */
void event_list_insert(struct event_entry **list, struct event_entry *e);

#endif
