/*
 * bare.h: the limit that the system is compared with: servers that read requests and call the same scripts with the
 * same arguments, in groups bounded as the workers', and do nothing else: no supervisor, no checks, no field tables.
 */
#ifndef CB_BENCH_BARE_H
#define CB_BENCH_BARE_H

#include "bench/env/env.h"
#include "bench/rows/row.h"

/* Forks `count` of them for a row. They run until env_kill_workers(). */
void bare_start(struct env *env, const struct row *row, unsigned count);

#endif
