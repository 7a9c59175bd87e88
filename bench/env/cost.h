/*
 * cost.h: what a run costs: CPU time and RSS of its processes, commands of Redis.
 */
#ifndef CB_BENCH_COST_H
#define CB_BENCH_COST_H

#include "bench/env/env.h"

struct cost {
    double client_s, supervisor_s, workers_s,
        redis_s;     /* CPU seconds, all threads, user and system */
    double commands; /* that Redis ran, those inside scripts included */
    double calls;    /* of these, what a client sent, XADDs left out (load.c knows its own) */
    long client_kb, supervisor_kb, worker_kb, redis_kb; /* RSS now; the largest worker's */
};

/* The counters so far. What it asks itself is left out of `calls` and `commands` of a difference. */
struct cost cost_before(struct env *env);
/* What has been spent since; RSS as it is now. */
struct cost cost_since(struct env *env, const struct cost *before);

/* CPU seconds of a process so far, with all threads; 0 for pid 0. */
double cost_cpu(pid_t pid);
/* used_memory of Redis, bytes. */
double cost_used_memory(struct env *env);

/* The value of `name` ("redis_version:") in a section of INFO, up to the end of its line; the caller frees it. */
char *cost_info(struct env *env, const char *section, const char *name);

#endif
