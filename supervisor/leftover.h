/*
 * leftover.h: what an earlier supervisor of this instance left in Redis: connections of its workers, and
 * consumers with requests that they had taken. Looked for once, at the first connection.
 */
#ifndef CB_LEFTOVER_H
#define CB_LEFTOVER_H

#include "supervisor/handon.h"
#include "supervisor/service.h"

struct leftover;

struct leftover *leftover_new(const struct services *services, struct handon *handon);
void leftover_free(struct leftover *l); /* accepts NULL */
/* Redis is there: looks, unless that was done before. Needs no answer in time: asks again next time. */
void leftover_look(struct leftover *l, struct redis_conn *conn);

#endif
