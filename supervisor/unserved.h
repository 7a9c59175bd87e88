/*
 * unserved.h: domains that this host has no workers for: do requests wait there that nobody serves?
 *
 * A host may serve only some domains while others serve the rest, so having none is no trouble by itself. It is when the same
 * request is the oldest for some seconds, and the group of the domain has no consumer: workers of any host, busy or not, are
 * consumers from their first read on, and of those that are gone the consumers are removed (handon.h).
 */
#ifndef CB_UNSERVED_H
#define CB_UNSERVED_H

#include "supervisor/redis_conn.h"
#include "supervisor/service.h"

struct unserved;

/* All arguments are borrowed; `changed` is called when unserved_next() says something else than before. */
struct unserved *unserved_new(struct event_base *base, const struct services *services,
                              struct redis_conn *conn, void (*changed)(void *arg), void *arg);
void unserved_free(struct unserved *u); /* accepts NULL */

/* The numbers of workers may have changed: a domain that has lost its last one is looked at soon. Accepts NULL. */
void unserved_update(struct unserved *u);

/* The next domain of that kind from *at on, which is moved behind it (0 at first); NULL: no more. */
const char *unserved_next(const struct unserved *u, size_t *at);

#endif
