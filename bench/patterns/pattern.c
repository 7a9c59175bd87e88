/*
 * pattern.c: see pattern.h: the table, a round, and its figures.
 */
#include "common/compat.h"
#include "bench/patterns/pattern.h"

#include "common/clock.h"

enum { TASK_WORKERS = 1, SYSTEM_WORKERS = 1, BATCH = 64 };

const struct pattern patterns[] = {
    {"tasks-push", "push", "both", 'A', false},
    {"tasks-pull", "pull", "both", 'B', false},
    {"tasks-pull-asking", "pull", "both", 'B', true},
    {"tasks-hybrid", "hybrid", "both", 'C', false},
    {"events-stream", NULL, "stream", 'A', false},
    {"events-pubsub", NULL, "pubsub", 'B', false},
    {"events-both", NULL, "both", 'C', false},
    {0},
};

/* ---- what a half costs ---- */

static double figure(struct env *env, const char *name)
{
    char *text = cost_info(env, "stats", name);
    double n = strtod(text, NULL);
    free(text);
    return n;
}

void pattern_begin(struct env *env, pid_t reader, struct pattern_meter *ret_meter)
{
    *ret_meter = (struct pattern_meter){.in_bytes = figure(env, "total_net_input_bytes:"),
                                        .out_bytes = figure(env, "total_net_output_bytes:"),
                                        .reader = reader,
                                        .reader_s = cost_cpu(reader),
                                        .cost = cost_before(env),
                                        .began_us = clock_mono_us()};
}

void pattern_end(struct env *env, const struct pattern_meter *meter, int64_t ended_us,
                 struct pattern_half *ret_half)
{
    int64_t now = clock_mono_us();

    ret_half->seconds = (double)((ended_us ? ended_us : now) - meter->began_us) / 1e6;
    ret_half->reader_s = cost_cpu(meter->reader) - meter->reader_s;
    ret_half->cost = cost_since(env, &meter->cost);
    ret_half->in_bytes = figure(env, "total_net_input_bytes:") - meter->in_bytes;
    ret_half->out_bytes = figure(env, "total_net_output_bytes:") - meter->out_bytes;
}

/* ---- a round ---- */

static int by_time(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double percentile_ms(const struct pattern_times *times, double p)
{
    return times->len ? (double)times->us[(size_t)(p * (times->len - 1))] / 1000.0 : 0;
}

void pattern_round(struct env *env, const struct pattern *pattern, unsigned divide,
                   struct pattern_round *ret_round)
{
    struct pattern_times times = {.len = 0};

    *ret_round = (struct pattern_round){0};
    env_flush(env);
    env_start_daemons(env, &(struct env_daemon){.task_workers = TASK_WORKERS,
                                                .system_workers = SYSTEM_WORKERS,
                                                .batch = BATCH,
                                                .assignment = pattern->assignment,
                                                .transport = pattern->transport});
    if (pattern->assignment)
        pattern_tasks(env, pattern, divide, ret_round, &times);
    else
        pattern_events(env, pattern, divide, ret_round, &times);
    env_stop_daemons(env);
    qsort(times.us, times.len, sizeof *times.us, by_time);
    ret_round->p50_ms = percentile_ms(&times, 0.5);
    ret_round->p95_ms = percentile_ms(&times, 0.95);
    ret_round->p99_ms = percentile_ms(&times, 0.99);
}

bool pattern_is_whole(const struct pattern_result *result, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        const struct pattern_round *r = &result->round[i];
        if (r->alone.done != r->alone.asked || r->at_once.done != r->at_once.asked)
            return false;
    }
    return true;
}
