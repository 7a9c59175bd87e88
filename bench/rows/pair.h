/*
 * pair.h: one row: both sides in turn, several rounds.
 */
#ifndef CB_BENCH_PAIR_H
#define CB_BENCH_PAIR_H

#include "bench/rows/load.h"

enum { PAIR_ROUNDS_MAX = 64 };

struct pair_round {
    struct load_result bare, system;
    double ratio; /* requests/s, system over bare */
};

struct pair {
    const struct row *row;
    unsigned rounds;
    struct pair_round round[PAIR_ROUNDS_MAX]; /* the smallest ratio first */
};

/* One side of one round: what the row needs and `more` queued tasks, a warm-up, and `total` requests that are measured. */
struct pair_side {
    const struct row *row;
    unsigned total;
    unsigned more;
    /* Daemons, each with the row's workers, and as many bare servers as these have together; 0: one. */
    unsigned instances;
    unsigned connected; /* agents besides that wait for tasks of another queue (waiting.h) */
    bool is_bare;
    bool is_going_on; /* the database is as the side before has left it; else it is emptied */
};
void pair_run_side(struct env *env, const struct pair_side *side, struct load_result *ret_result);
/* `total` requests a side and round. Who goes first changes from round to round. */
void pair_run(struct env *env, const struct row *row, unsigned rounds, unsigned total,
              struct pair *ret_pair);
/* The round in the middle: all figures that are printed are those of this one. */
const struct pair_round *pair_median(const struct pair *pair);
/* A side had error replies, or replies without what was asked for: its figures mean nothing. */
bool pair_is_bad(const struct pair *pair);

double pair_rate(const struct load_result *r);

#endif
