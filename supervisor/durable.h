/*
 * durable.h: whether Redis has each write on its disk before it answers (appendonly yes, appendfsync always): workers refuse
 * requests that ask for it otherwise (common/ack.h).
 */
#ifndef CB_DURABLE_H
#define CB_DURABLE_H

#include "common/scoreboard.h"
#include "supervisor/redis_conn.h"

struct durable;

/* All arguments are borrowed. The scoreboard's `is_fsynced` is kept. */
struct durable *durable_new(struct event_base *base, struct scoreboard *scoreboard,
                            struct redis_conn *conn);
void durable_free(struct durable *d); /* accepts NULL */
/* A server was found: it may be another one. */
void durable_look(struct durable *d);
/* appendfsync, as the server has it; "" = not known, or there is no append-only file. */
const char *durable_fsync(const struct durable *d);

#endif
