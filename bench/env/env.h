/*
 * env.h: where a run happens: a temporary folder with a private Redis, and the processes that serve it: claudebenchd
 * with its workers, or bare servers. One at a time; whatever fails ends the program with a message, and whatever ends
 * the program takes all of it away.
 */
#ifndef CB_BENCH_ENV_H
#define CB_BENCH_ENV_H

#include "bench/env/pin.h"
#include "common/options.h"
#include "common/redis_link.h"

#include <sys/types.h>

enum { ENV_WORKERS_MAX = 32, ENV_DAEMONS_MAX = 4 };

#define ENV_CONFIG     "claudebench-%u.yaml"
#define ENV_DAEMON_LOG "daemon-%u.log"

/* What the daemons of a run are told. */
struct env_daemon {
    unsigned task_workers;
    unsigned system_workers;
    unsigned hook_workers;
    unsigned batch;     /* of all domains: the largest group */
    unsigned instances; /* so many daemons, each with these workers; 0: one */
    bool has_gate;      /* every method has a rate limit, never reached, and a circuit breaker */
    const char *assignment, *transport; /* task.assignment, events.transport; NULL: as they come */
};

struct env {
    char dir[128];
    char bindir[512];
    struct redis_target target;
    const char *appendfsync; /* "everysec", or "off": no AOF */
    enum pin_layout layout;
    struct options *opts; /* what the daemon is told; for the bare servers */
    pid_t redis;
    pid_t daemons[ENV_DAEMONS_MAX];
    unsigned ndaemons;
    pid_t workers[ENV_WORKERS_MAX]; /* all of the daemons', or the bare servers */
    unsigned nworkers;
};

void env_open(struct env *env, const char *appendfsync, enum pin_layout layout);
void env_close(struct env *env);
/* An empty database, and an AOF that is not about to be written anew. */
void env_flush(struct env *env);
/* What has been written is on the disk: else what comes next would pay for it, too. */
void env_settle(struct env *env);

/* A connection; the caller frees it. */
struct redis_link *env_link(struct env *env, const char *name);

/* claudebenchd and its workers, ready: one of them, or as many as `config` says, on the one Redis. */
void env_start_daemons(struct env *env, const struct env_daemon *config);
void env_stop_daemons(struct env *env);

typedef void env_fn(struct env *env, const void *arg, unsigned number);
/* Forks a process that runs fn(env, arg, 0), and ends it. */
pid_t env_fork(struct env *env, env_fn *fn, const void *arg);
void env_end(struct env *env, pid_t *pid, const char *what);
/* Forks `count` processes that run fn(env, arg, number) and are counted as workers. */
void env_fork_workers(struct env *env, unsigned count, env_fn *fn, const void *arg);
void env_kill_workers(struct env *env);

/* env_daemon.c: the daemons' part of these; `number` counts them from 0. */
void env_write_config(struct env *env, const struct env_daemon *config, unsigned number);
void env_find_workers(struct env *env);

#endif
