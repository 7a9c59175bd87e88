/*
 * gate.h: the one door. Every request passes gate_check(); what is refused here, and in
 * which order, is written here and nowhere else. Refusals that need shared state (replay, deadline,
 * circuit, rate limit) are made inside the commit, by lua/include/commit.lua and gate.lua.
 */
#ifndef CB_WORKER_GATE_H
#define CB_WORKER_GATE_H

#include "worker/request.h"

/* What the worker knows of the weather. */
struct gate_weather {
    int64_t backlog; /* length of the stream after the last commit */
};

/*
 * Checks a request and prepares its script's arguments. Afterwards either r->refused is set, with
 * message and data, or r->handler and r->prep are ready to be committed.
 */
void gate_check(struct request *r, const struct handler_context *ctx, struct arena *arena,
                const struct gate_weather *weather);

#endif
