/*
 * footprint.c: see footprint.h.
 */
#include "common/compat.h"
#include "bench/capacity/footprint.h"

#include "bench/env/stop.h"
#include "bench/rows/bare.h"
#include "bench/rows/load.h"

enum { SETTLE_MS = 1500 };

void footprint_idle(struct env *env, unsigned seconds, struct footprint_idle *ret_idle)
{
    static const struct env_daemon config = {.task_workers = FOOTPRINT_TASK_WORKERS,
                                             .system_workers = FOOTPRINT_SYSTEM_WORKERS,
                                             .batch = 64};

    env_flush(env);
    env_start_daemons(env, &config);
    stop_sleep_ms(SETTLE_MS); /* until the start is over */
    struct cost before = cost_before(env);
    stop_sleep_ms(seconds * 1000); /* this is the measurement */
    struct cost c = cost_since(env, &before);
    double s = seconds;
    *ret_idle = (struct footprint_idle){.seconds = s,
                                        .commands_per_s = c.calls / s,
                                        .inner_per_s = (c.commands - c.calls) / s,
                                        .supervisor_percent = c.supervisor_s / s * 100,
                                        .workers_percent = c.workers_s / s * 100,
                                        .redis_percent = c.redis_s / s * 100,
                                        .supervisor_kb = c.supervisor_kb,
                                        .worker_kb = c.worker_kb};
    env_stop_daemons(env);
}

/* Batches without idempotency keys: nothing but the tasks, their queue and one event per hundred is left then. The
 * servers' connections and the script texts are there before. */
double footprint_task_bytes(struct env *env)
{
    static const struct row row = {.name = "memory",
                                   .kind = &row_kind_create_batch,
                                   .clients = 1,
                                   .in_flight = 1,
                                   .bytes = FOOTPRINT_PAYLOAD,
                                   .items = 100,
                                   .total = 1000};
    struct load_result result;

    env_flush(env);
    bare_start(env, &row, 1);
    struct load *load = load_new(env, &row, NULL, NULL);
    load_run(load, 1, &result);
    double before = cost_used_memory(env);
    load_run(load, row.total, &result);
    double bytes = (cost_used_memory(env) - before) / (row.total * row.items);
    load_free(load);
    env_kill_workers(env);
    return bytes - row.bytes;
}
