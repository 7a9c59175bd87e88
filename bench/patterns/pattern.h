/*
 * pattern.h: three patterns, A (central), B (distributed) and C (hybrid), by what stands for each here: who decides
 * where a task runs (task.assignment), and how events travel (events.transport). Callers, agents and readers are the real
 * ones: common/requests_client.h, common/event_reader.h.
 */
#ifndef CB_BENCH_PATTERN_H
#define CB_BENCH_PATTERN_H

#include "bench/env/cost.h"

enum {
    PATTERN_ROUNDS_MAX = 64,
    PATTERN_AGENTS = 4,
    PATTERN_CAPACITY = 8,   /* tasks that an agent takes at once */
    PATTERN_PAUSE_MS = 20,  /* of agents that ask again and again */
    PATTERN_ALONE = 400,    /* tasks or events one after the other */
    PATTERN_AT_ONCE = 6000, /* tasks, and events, 64 in flight */
};

struct pattern {
    const char *name;
    const char *assignment; /* NULL: a pattern of events */
    const char *transport;
    char letter;
    bool is_asking; /* agents ask every PATTERN_PAUSE_MS instead of waiting */
};
enum { PATTERNS_MAX = 16 };
extern const struct pattern patterns[]; /* ends with name NULL */

/* One half: one after the other, or many at once. */
struct pattern_half {
    unsigned asked, done; /* tasks completed, or told of as created */
    double seconds;
    struct cost cost;
    double reader_s;            /* CPU of the reader of events, a process of its own */
    double in_bytes, out_bytes; /* of Redis, from and to everybody */
};

struct pattern_round {
    double p50_ms, p95_ms,
        p99_ms; /* from asking for a task (event) until an agent (reader) has it; one after the other */
    struct pattern_half alone, at_once;
};

struct pattern_result {
    const struct pattern *pattern;
    struct pattern_round round[PATTERN_ROUNDS_MAX];
};

/* One round of one pattern, on an empty database with a daemon of its own. `divide`: so many times fewer. */
void pattern_round(struct env *env, const struct pattern *pattern, unsigned divide,
                   struct pattern_round *ret_round);
/* Whether all that was asked for arrived in all rounds. */
bool pattern_is_whole(const struct pattern_result *result, unsigned rounds);

/* ---- between pattern*.c ---- */

struct pattern_times {
    int64_t us[PATTERN_ALONE]; /* what each took */
    unsigned len;
};
/* pattern_tasks.c, pattern_events.c: a quarter of both halves as a warm-up, then both. */
void pattern_tasks(struct env *env, const struct pattern *pattern, unsigned divide,
                   struct pattern_round *ret_round, struct pattern_times *ret_times);
void pattern_events(struct env *env, const struct pattern *pattern, unsigned divide,
                    struct pattern_round *ret_round, struct pattern_times *ret_times);

/* Costs of a half: between these two. */
struct pattern_meter {
    struct cost cost;
    double in_bytes, out_bytes, reader_s;
    pid_t reader; /* 0: none */
    int64_t began_us;
};
void pattern_begin(struct env *env, pid_t reader, struct pattern_meter *ret_meter);
/* ended_us 0: now. */
void pattern_end(struct env *env, const struct pattern_meter *meter, int64_t ended_us,
                 struct pattern_half *ret_half);

#endif
