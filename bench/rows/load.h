/*
 * load.h: the clients of both sides: each a connection with its own reply list, in one event-driven process. A client
 * writes its XADDs and one blocking pop for up to 64 replies in one write, as our own client does, without what makes that one safe
 * (repeats, deadlines).
 */
#ifndef CB_BENCH_LOAD_H
#define CB_BENCH_LOAD_H

#include "bench/env/cost.h"
#include "bench/rows/row.h"

/* Tasks that are known before a run, taken in order; with `is_reused` from the start again. */
struct load_stock {
    struct task_ref *tasks;
    unsigned len, next;
    bool is_reused;
};
void load_stock_done(struct load_stock *stock);

struct load_result {
    unsigned requests;
    unsigned errors;        /* error replies */
    unsigned short_replies; /* replies with fewer tasks than were asked for */
    unsigned tasks;         /* that the row's requests were about */
    double seconds;
    double p50_ms, p95_ms, p99_ms;
    struct cost cost;
};

struct load;
/* `stock`: what the requests are about, or NULL; `collect`: gets the tasks that replies give, or NULL. Borrowed. */
struct load *load_new(struct env *env, const struct row *row, struct load_stock *stock,
                      struct load_stock *collect);
/* Sends `total` requests and waits for all replies. May be called again: what the clients hold is kept. */
void load_run(struct load *load, unsigned total, struct load_result *ret_result);
void load_free(struct load *load);

#endif
