/*
 * stock.c: see stock.h.
 */
#include "common/compat.h"
#include "bench/rows/stock.h"

#include "bench/env/stop.h"
#include "bench/rows/bare.h"
#include "common/keys.h"

enum { BATCH = 100 };

static void run(struct env *env, const struct row *row, struct load_stock *collect)
{
    struct load_result result;

    bare_start(env, row, 1);
    struct load *load = load_new(env, row, NULL, collect);
    load_run(load, row->total, &result);
    load_free(load);
    env_kill_workers(env);
    if (result.errors || result.short_replies)
        stop_failed("%s: what it needs could not be prepared", row->name);
}

/* How many tasks so many requests meet. */
static unsigned tasks_for(const struct row *row, unsigned requests)
{
    const struct step *const *steps = row->kind->steps;
    unsigned in_flight = row->clients * row->in_flight;

    switch (row->kind->stock) {
    case STOCK_NONE:
        return 0;
    case STOCK_IDS:
    case STOCK_HELD:
        return ROW_STOCK_REUSED;
    case STOCK_HELD_ONCE:
        return requests * step_about(steps[0], row->items);
    case STOCK_PENDING:
        break;
    }
    if (steps[1] && !steps[1]->takes) /* one claim, one other request, and so on */
        return (requests / 2 + 2 * in_flight) * row->items;
    return (requests + 2 * in_flight) * row->items;
}

static unsigned queued(struct env *env)
{
    struct arena arena CB_CLEANUP(arena_done) = ARENA_INIT;
    struct redis_link *link = env_link(env, NULL);
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct cb_error err;

    const char *key = keys_make(&arena, env->opts->redis.prefix, KEY_QUEUE_DEFAULT);
    if (redis_link_callv(link, &reply, &err, "ZCARD", key, NULL) != 0)
        stop_failed("redis: %s", err.text);
    redis_link_free(link);
    return (unsigned)reply_int(reply);
}

void stock_prepare(struct env *env, const struct row *row, unsigned requests, unsigned more,
                   struct load_stock *ret_stock)
{
    enum row_stock kind = row->kind->stock;
    unsigned wanted = tasks_for(row, requests) + more;
    unsigned there = kind == STOCK_NONE || kind == STOCK_PENDING ? queued(env) : 0;
    unsigned batches = wanted > there ? (wanted - there + BATCH - 1) / BATCH : 0;
    struct row make = {.name = row->name,
                       .kind = &row_kind_create_batch,
                       .clients = 1,
                       .in_flight = 8,
                       .bytes = row->bytes,
                       .items = BATCH,
                       .total = batches};
    struct row claim = make;

    *ret_stock = (struct load_stock){.is_reused = kind == STOCK_IDS || kind == STOCK_HELD};
    if (batches)
        run(env, &make, kind == STOCK_IDS ? ret_stock : NULL);
    claim.kind = &row_kind_claim;
    if (kind == STOCK_HELD || kind == STOCK_HELD_ONCE)
        run(env, &claim, ret_stock);
    if (more > 0 && batches)
        env_settle(env);
    if (row->kind->has_instances)
        run(env,
            &(struct row){.name = row->name,
                          .kind = &row_kind_register,
                          .clients = 1,
                          .in_flight = STEP_INSTANCES,
                          .bytes = row->bytes,
                          .items = 1,
                          .total = STEP_INSTANCES},
            NULL);
}
