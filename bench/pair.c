/*
 * pair.c: see pair.h.
 */
#include "common/compat.h"
#include "bench/pair.h"

#include "bench/bare.h"
#include "bench/stock.h"

void pair_run_side(struct env *env, const struct row *row, unsigned total, unsigned more,
                   bool is_bare, struct load_result *ret_result)
{
    struct load_stock stock;
    unsigned warm_up = row_warm_up(row, total);
    struct env_daemon daemon = {.task_workers = row_workers(row, "task"),
                                .system_workers = row_workers(row, "system"),
                                .hook_workers = row_workers(row, "hook"),
                                .batch = row_batch(row),
                                .has_gate = row->kind->has_gate};

    env_flush(env);
    stock_prepare(env, row, warm_up + total, more, &stock);
    if (is_bare)
        bare_start(env, row, row->workers);
    else
        env_start_daemon(env, &daemon);
    struct load *load = load_new(env, row, &stock, NULL);
    load_run(load, warm_up, ret_result);
    load_run(load, total, ret_result);
    load_free(load);
    load_stock_done(&stock);
    if (is_bare)
        env_kill_workers(env);
    else
        env_stop_daemon(env);
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
        bool is_bare_first = i % 2 == 0;
        pair_run_side(env, row, total, 0, is_bare_first,
                      is_bare_first ? &round->bare : &round->system);
        pair_run_side(env, row, total, 0, !is_bare_first,
                      is_bare_first ? &round->system : &round->bare);
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
