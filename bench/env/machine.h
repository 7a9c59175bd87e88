/*
 * machine.h: what a result must say about where it was made. No name of the host.
 */
#ifndef CB_BENCH_MACHINE_H
#define CB_BENCH_MACHINE_H

#include "bench/env/env.h"

struct machine {
    char date[32];
    char cpu[128];
    long cores, memory_mb;
    char kernel[128];
    double load; /* average of a minute */
    char redis[64], hiredis[32];
    char compiler[128], flags[1024];
    char commit[80]; /* from BENCH_COMMIT, which make bench sets */
    char warning[128];
};
void machine_read(struct env *env, struct machine *ret_machine);

#endif
