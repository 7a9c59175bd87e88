/*
 * depth.h: what a claim costs when many tasks are queued, beside what it costs when few are: both in each round, in turns, each
 * on an empty database.
 */
#ifndef CB_BENCH_DEPTH_H
#define CB_BENCH_DEPTH_H

#include "bench/rows/pair.h"

enum { DEPTH_SHALLOW = 1000, DEPTH_MAX = 10000000 };

struct depth_round {
    struct load_result shallow, deep;
    double ratio; /* p99, deep over shallow */
};

struct depth {
    unsigned tasks; /* queued, of the deep ones */
    unsigned rounds;
    struct depth_round round[PAIR_ROUNDS_MAX]; /* the smallest ratio first */
};

/* Claims of one task, one in flight, from queues that never hold fewer than DEPTH_SHALLOW and `tasks`; `divide`: so many
 * times fewer requests. */
void depth_run(struct env *env, unsigned tasks, unsigned rounds, unsigned divide,
               struct depth *ret_depth);
const struct depth_round *depth_median(const struct depth *depth);
bool depth_is_bad(const struct depth *depth);

#endif
