/*
 * footprint.h: what is not a row: a daemon that nobody asks for anything, and the memory that a queued task takes.
 */
#ifndef CB_BENCH_FOOTPRINT_H
#define CB_BENCH_FOOTPRINT_H

#include "bench/env/env.h"

enum { FOOTPRINT_TASK_WORKERS = 2, FOOTPRINT_SYSTEM_WORKERS = 2, FOOTPRINT_PAYLOAD = 200 };

struct footprint_idle {
    double seconds;
    double commands_per_s; /* that were sent to Redis; those inside scripts left out */
    double inner_per_s;    /* those inside scripts */
    double supervisor_percent, workers_percent, redis_percent; /* of one core */
    long supervisor_kb, worker_kb;
};
void footprint_idle(struct env *env, unsigned seconds, struct footprint_idle *ret_idle);

/* Bytes of Redis that a queued task takes, its payload of FOOTPRINT_PAYLOAD bytes left out. */
double footprint_task_bytes(struct env *env);

#endif
