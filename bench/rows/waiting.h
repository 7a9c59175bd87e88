/*
 * waiting.h: agents that are connected and wait, as `claudebench work` does when there is nothing to do: each a connection with
 * a blocking pop of its own reply list, and a claim with wait_ms of a queue on which there is never a task.
 */
#ifndef CB_BENCH_WAITING_H
#define CB_BENCH_WAITING_H

#include "bench/env/env.h"

enum { WAITING_MAX = 1000 };

struct waiting;
/* So many of them, with their claims parked when `has_claims`: bare servers know no claim, before them the agents are only
 * connected. */
struct waiting *waiting_new(struct env *env, unsigned agents, bool has_claims);
void waiting_free(struct waiting *w);

#endif
