/*
 * pair.c: see pair.h.
 */
#include "common/compat.h"
#include "bench/rows/pair.h"

#include "bench/rows/bare.h"
#include "bench/rows/stock.h"
#include "bench/rows/waiting.h"

static void start_servers(struct env *env, const struct pair_side *side)
{
    const struct row *row = side->row;
    unsigned instances = side->instances ? side->instances : 1;

    if (side->is_bare)
        bare_start(env, row, row->workers * instances);
    else
        env_start_daemons(env, &(struct env_daemon){.task_workers = row_workers(row, "task"),
                                                    .system_workers = row_workers(row, "system"),
                                                    .hook_workers = row_workers(row, "hook"),
                                                    .batch = row_batch(row),
                                                    .instances = instances,
                                                    .has_gate = row->kind->has_gate});
}

void pair_run_side(struct env *env, const struct pair_side *side, struct load_result *ret_result)
{
    struct load_stock stock;
    unsigned warm_up = row_warm_up(side->row, side->total);

    if (!side->is_going_on)
        env_flush(env);
    stock_prepare(env, side->row, warm_up + side->total, side->more, &stock);
    start_servers(env, side);
    struct waiting *waiting = waiting_new(env, side->connected, !side->is_bare);
    struct load *load = load_new(env, side->row, &stock, NULL);
    load_run(load, warm_up, ret_result);
    load_run(load, side->total, ret_result);
    load_free(load);
    waiting_free(waiting);
    load_stock_done(&stock);
    if (side->is_bare)
        env_kill_workers(env);
    else
        env_stop_daemons(env);
}

static int by_ratio(const void *a, const void *b)
{
    const struct pair_round *x = a, *y = b;
    return (x->ratio > y->ratio) - (x->ratio < y->ratio);
}

double pair_rate(const struct load_result *r)
{
    return r->requests / r->seconds;
}

void pair_run(struct env *env, const struct row *row, unsigned rounds, unsigned total,
              struct pair *ret_pair)
{
    cb_assert(rounds >= 1 && rounds <= PAIR_ROUNDS_MAX);
    ret_pair->row = row;
    ret_pair->rounds = rounds;
    for (unsigned i = 0; i < rounds; i++) {
        struct pair_round *round = &ret_pair->round[i];
        for (unsigned side = 0; side < 2; side++) {
            bool is_bare = side == i % 2; /* who goes first changes */
            pair_run_side(env, &(struct pair_side){.row = row, .total = total, .is_bare = is_bare},
                          is_bare ? &round->bare : &round->system);
        }
        round->ratio = pair_rate(&round->system) / pair_rate(&round->bare);
    }
    qsort(ret_pair->round, rounds, sizeof ret_pair->round[0], by_ratio);
}

const struct pair_round *pair_median(const struct pair *pair)
{
    return &pair->round[pair->rounds / 2];
}

bool pair_is_bad(const struct pair *pair)
{
    for (unsigned i = 0; i < pair->rounds; i++) {
        const struct pair_round *r = &pair->round[i];
        if (r->bare.errors || r->system.errors || r->bare.short_replies || r->system.short_replies)
            return true;
    }
    return false;
}
