/*
 * leftover.h: what a supervisor that is gone left in Redis: connections of its workers, and consumers with
 * requests that they had taken. For this instance that is an earlier one: looked for once, when the first tick has said
 * that the id is ours, for else they are those of a live daemon. For another instance, one that was given up: looked for
 * when the tick says so.
 */
#ifndef CB_LEFTOVER_H
#define CB_LEFTOVER_H

#include "supervisor/handon.h"
#include "supervisor/service.h"

struct leftover;

struct leftover *leftover_new(const struct services *services, struct handon *handon);
/* Of another instance. `done` is called after each look: how much there was, or -1 when Redis was lost. */
struct leftover *leftover_new_of(const struct services *services, struct handon *handon,
                                 const char *instance, void (*done)(void *arg, int found),
                                 void *arg);
void leftover_free(struct leftover *l); /* accepts NULL */
/* Redis is there: looks, unless that was done before. Needs no answer in time: asks again next time. */
void leftover_look(struct leftover *l, struct redis_conn *conn);

#endif
