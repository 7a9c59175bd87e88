/*
 * stock.h: what a row's requests need before the first one: tasks on a queue, leases, instances. Made by the same
 * clients, bare servers and scripts, outside the measured time.
 */
#ifndef CB_BENCH_STOCK_H
#define CB_BENCH_STOCK_H

#include "bench/rows/load.h"

/* For so many requests of the row in all, and so many tasks more; tasks that are queued already count. Nothing serves the
 * database. */
void stock_prepare(struct env *env, const struct row *row, unsigned requests, unsigned more,
                   struct load_stock *ret_stock);

#endif
