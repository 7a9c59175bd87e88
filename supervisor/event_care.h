/*
 * event_care.h: keeps the event stream in bounds, on the instance that leads: forgets readers that nobody uses and removes
 * the oldest events when all take too much memory (lua/event_care.lua).
 */
#ifndef CB_EVENT_CARE_H
#define CB_EVENT_CARE_H

#include "common/options.h"
#include "supervisor/instance.h"
#include "supervisor/redis_conn.h"

struct event_care;

/* All arguments are borrowed. */
struct event_care *event_care_new(struct event_base *base, const struct options *opts,
                                  const struct instance *instance, struct redis_conn *conn);
void event_care_free(struct event_care *e); /* accepts NULL */

#endif
