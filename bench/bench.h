/*
 * bench.h: the parts of claudebench-bench. See README.md for what is measured and how to read it.
 *
 * Every figure of the system stands beside one of a bare loop made in the same minute on the same Redis: the bare
 * client does the same XADDs and pops, the bare server the same XREADGROUP and the same script calls, and nothing
 * else: no supervisor, no checks, no field tables.
 */
#ifndef CB_BENCH_H
#define CB_BENCH_H

#include "common/redis_link.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { BENCH_BUCKETS = 256, BENCH_WORKERS_MAX = 16 };

/* What is asked for again and again. */
struct bench_load {
    const char *method;
    char *params; /* the params of every request */
    unsigned in_flight;
    unsigned total; /* requests */
    bool with_idem; /* an idempotency key in each */
};

/* CPU, commands and memory over a run. */
struct bench_cost {
    double redis_s, workers_s, supervisor_s, client_s; /* CPU seconds */
    double commands;                         /* Redis commands, those of scripts included */
    long redis_kb, worker_kb, supervisor_kb; /* RSS at the end; the largest worker's */
};

struct bench_result {
    unsigned total;
    unsigned errors; /* error replies */
    double seconds;
    double p50_ms, p95_ms, p99_ms;
    struct bench_cost cost;
};

/* A private Redis, and a daemon on it or not. */
struct bench_env {
    char dir[64];
    char socket[96];
    char bindir[512];
    pid_t redis;
    pid_t daemon;
    pid_t workers[BENCH_WORKERS_MAX]; /* the bare one, or the daemon's */
    unsigned nworkers;
    struct redis_target target;
    const char *appendfsync; /* "everysec", or "off": no AOF */
    bool pinned;             /* everything on CPU 0 */
};

/* env.c. All of these end the program with a message when they fail. */
void env_open(struct bench_env *env, const char *appendfsync, bool pinned);
void env_close(struct bench_env *env);
/* An empty database. */
void env_flush(struct bench_env *env);
/* claudebenchd with so many task workers, ready; `batch` is domains.task.batch. */
void env_start_daemon(struct bench_env *env, unsigned workers, unsigned batch);
void env_stop_daemon(struct bench_env *env);
/* A process of our own: fn(env, arg) and _exit(0). */
pid_t env_fork(struct bench_env *env, void (*fn)(struct bench_env *, const void *),
               const void *arg);
void env_kill(pid_t *pid);

/* cost.c */
struct bench_cost cost_now(struct bench_env *env);
struct bench_cost cost_between(const struct bench_cost *before, const struct bench_cost *after);

/* Commands that somebody sent (those inside scripts left out), of the kinds that an idle daemon sends. */
double cost_idle_commands(struct bench_env *env);
/* used_memory of Redis, bytes. */
double cost_used_memory(struct bench_env *env);

/* load.c: runs the load in this process and takes the time of each request. */
struct bench_result load_run(struct bench_env *env, const struct bench_load *load);

/* bare.c: serves task.create or task.create_batch requests of one shape, in groups of at most `batch`; never
 * returns. `arg` is a struct bare_config. */
struct bare_config {
    unsigned batch;
    bool is_batch; /* task.create_batch: the params hold `tasks` tasks */
    unsigned tasks;
    const char *text;    /* the task's text as a JSON literal */
    const char *payload; /* the same, NULL = none; with one the text is "x" */
    bool with_idem;
};
void bare_serve(struct bench_env *env, const void *arg);

#endif
