/*
 * handon.h: what workers that are gone had taken and not finished is put back on its stream
 * (ARCHITECTURE.md, "Handing on").
 *
 * For each such consumer: its Redis connection is killed, so that nothing more is read into it, then
 * lua/requeue.lua empties it, a bounded number of entries a call, and deletes it at the end. While Redis
 * is away the work waits and is done after the reconnect; an item is never dropped.
 */
#ifndef CB_HANDON_H
#define CB_HANDON_H

#include "common/options.h"
#include "supervisor/redis_conn.h"

struct handon;

struct handon_item {
    const char *domain;
    const char *consumer; /* also the name of its connection */
    int64_t redis_id;     /* its connection; 0 = not known, looked for by name */
    const char *entry;    /* the entry to charge with the crash, "" = none */
    const char *how;      /* "signal 11" */
};

/* `idle` is called whenever the last item is done. */
struct handon *handon_new(struct event_base *base, const struct options *opts,
                          void (*idle)(void *arg), void *arg);
void handon_free(struct handon *h); /* accepts NULL */
void handon_set_conn(struct handon *h, struct redis_conn *conn);

/* Copies the item; begins at once when Redis is up. */
void handon_add(struct handon *h, const struct handon_item *item);
/* Redis is there again: begins what waits. */
void handon_resume(struct handon *h);
bool handon_is_idle(const struct handon *h);
size_t handon_count(const struct handon *h);

#endif
