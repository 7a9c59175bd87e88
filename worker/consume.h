/*
 * consume.h: the worker's loop: read new entries, check them at the door, commit them.
 */
#ifndef CB_WORKER_CONSUME_H
#define CB_WORKER_CONSUME_H

#include "worker/commit.h"

/* Runs until the worker is to drain and has nothing in hand. `is_careful`: the worker before this one died over nobody knows which
 * request, so for a while only one is read at a time. Returns 0, or -1 when it cannot go on. */
int consume_run(struct session *session, const struct handler_context *ctx, bool is_careful,
                struct cb_error *err);

#endif
