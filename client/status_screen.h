/*
 * status_screen.h: a daemon's status for people, on one screen.
 */
#ifndef CB_STATUS_SCREEN_H
#define CB_STATUS_SCREEN_H

#include "client/term.h"
#include "common/json.h"

/*
 * Appends all of it. On a terminal no line is wider than that, and lists are cut so that it all fits, as far as it can: what is left
 * out is said. `spare` rows stay free.
 */
void status_screen_put(struct json_span status, struct term term, int spare, struct buf *out);
/* Its first part, at most one line each but for the reasons: how the daemon, Redis, tasks, requests and rules are. */
void status_screen_put_summary(struct json_span status, struct term term, struct buf *out);
/* A line of the log: time, level, what happened. */
void status_screen_put_log_line(struct json_span line, struct term term, struct buf *out);

#endif
