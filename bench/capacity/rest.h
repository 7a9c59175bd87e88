/*
 * rest.h: what is not a row: a daemon that nobody asks for anything, and the memory that a queued task takes.
 */
#ifndef CB_BENCH_REST_H
#define CB_BENCH_REST_H

#include "bench/env/env.h"

enum { REST_TASK_WORKERS = 2, REST_SYSTEM_WORKERS = 2, REST_PAYLOAD = 200 };

struct rest_idle {
    double seconds;
    double commands_per_s; /* that were sent to Redis; those inside scripts left out */
    double inner_per_s;    /* those inside scripts */
    double supervisor_percent, workers_percent, redis_percent; /* of one core */
    long supervisor_kb, worker_kb;
};
void rest_idle(struct env *env, unsigned seconds, struct rest_idle *ret_idle);

/* Bytes of Redis that a queued task takes, its payload of REST_PAYLOAD bytes left out. */
double rest_task_bytes(struct env *env);

#endif
