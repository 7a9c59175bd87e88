/*
 * publish.h: what this daemon's workers have counted, for all to see: once a second it goes out with the tick
 * (lua/include/metrics.lua), so that it costs no command of its own.
 */
#ifndef CB_PUBLISH_H
#define CB_PUBLISH_H

#include "common/scripts.h"
#include "supervisor/service.h"

struct publish;

struct publish *publish_new(const struct services *services, const struct scoreboard *board);
void publish_free(struct publish *p); /* accepts NULL */
/* Appends the tick's arguments: how many values there are (0: not now), and these. `a` keeps their texts. The last
 * time it is always now, so that nothing is missing in the sum. */
void publish_put(struct publish *p, bool is_last, struct script_call *call, struct arena *a);

#endif
