/*
 * growth.h: rows measured again and again with one thing about them larger each time: what does that cost? Points of one round
 * follow each other, so that each can be compared with the first of its round.
 */
#ifndef CB_BENCH_GROWTH_H
#define CB_BENCH_GROWTH_H

#include "bench/rows/pair.h"

enum { GROWTH_ROWS_MAX = 4, GROWTH_VALUES_MAX = 8 };

/* What grows. */
enum growth_what {
    GROWTH_DEPTH, /* tasks that are queued besides; without the bare loop, to which they cost the same */
    GROWTH_WORKERS,   /* worker processes */
    GROWTH_PAYLOAD,   /* bytes of a task */
    GROWTH_INSTANCES, /* daemons on one Redis, each with the row's workers */
    GROWTH_CLIENTS,   /* clients that ask, each with the row's requests in flight */
    GROWTH_CONNECTED, /* agents that wait for tasks of another queue */
};

struct growth_round {
    struct load_result bare, system; /* bare.requests 0: there is none */
};

struct growth_point {
    unsigned value;
    struct growth_round round[PAIR_ROUNDS_MAX];
};

struct growth_series {
    struct row row;
    struct growth_point point[GROWTH_VALUES_MAX];
};

struct growth {
    enum growth_what what;
    unsigned values[GROWTH_VALUES_MAX];
    unsigned nvalues;
    struct growth_series *series; /* one for each row */
    unsigned nseries;
};

/* "ROW[,ROW…]:WHAT=N[,N…]". Returns NULL, or what is wrong with it. */
const char *growth_parse(const char *text, struct growth *ret_growth);
void growth_done(struct growth *growth);
const char *growth_name(enum growth_what what);
bool growth_has_bare(enum growth_what what);
/* One round of all its points; `divide`: so many times fewer requests. */
void growth_round(struct env *env, struct growth *growth, unsigned round, unsigned divide);
bool growth_point_is_bad(const struct growth_point *point, unsigned rounds);

#endif
