/*
 * depth.c: see depth.h.
 */
#include "common/compat.h"
#include "bench/growth/depth.h"

enum { REQUESTS = 4000 };

static int by_ratio(const void *a, const void *b)
{
    const struct depth_round *x = a, *y = b;
    return (x->ratio > y->ratio) - (x->ratio < y->ratio);
}

void depth_run(struct env *env, unsigned tasks, unsigned rounds, unsigned divide,
               struct depth *ret_depth)
{
    static const struct row row = {.name = "claim-1",
                                   .kind = &row_kind_claim,
                                   .clients = 1,
                                   .in_flight = 1,
                                   .workers = 1,
                                   .bytes = 200,
                                   .items = 1};
    unsigned total = REQUESTS / divide;

    cb_assert(rounds >= 1 && rounds <= PAIR_ROUNDS_MAX);
    ret_depth->tasks = tasks;
    ret_depth->rounds = rounds;
    for (unsigned i = 0; i < rounds; i++) {
        struct depth_round *round = &ret_depth->round[i];
        for (unsigned side = 0; side < 2; side++) {
            bool is_deep = side != i % 2; /* who goes first changes */
            pair_run_side(env,
                          &(struct pair_side){
                              .row = &row, .total = total, .more = is_deep ? tasks : DEPTH_SHALLOW},
                          is_deep ? &round->deep : &round->shallow);
        }
        round->ratio = round->deep.p99_ms / round->shallow.p99_ms;
    }
    qsort(ret_depth->round, rounds, sizeof ret_depth->round[0], by_ratio);
}

const struct depth_round *depth_median(const struct depth *depth)
{
    return &depth->round[depth->rounds / 2];
}

bool depth_is_bad(const struct depth *depth)
{
    for (unsigned i = 0; i < depth->rounds; i++) {
        const struct depth_round *r = &depth->round[i];
        if (r->shallow.errors || r->deep.errors || r->shallow.short_replies ||
            r->deep.short_replies)
            return true;
    }
    return false;
}
