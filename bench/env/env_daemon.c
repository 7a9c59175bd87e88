/*
 * env_daemon.c: see env.h: the daemons' configurations, and their workers' processes.
 */
#include "common/compat.h"
#include "bench/env/env.h"

#include "bench/env/stop.h"

/* The limits that a queue of some 100 000 tasks would meet are raised, and what failed is not tried again before the
 * row is over; the rest is as it comes. */
static char *make_config(const struct env *env, const struct env_daemon *config, unsigned number)
{
    struct buf out = BUF_INIT;

    buf_printf(&out,
               "config_version: 1\n"
               "instance: { id: bench-%u }\n"
               "redis: { embedded: false, url: \"unix://%s/redis.sock\" }\n"
               "supervisor: { pidfile: %s/pid-%u, control_socket: %s/control-%u.sock,\n"
               "              state_dir: %s/state-%u }\n",
               number, env->dir, env->dir, number, env->dir, number, env->dir, number);
    buf_printf(&out,
               "domains:\n"
               "  task: { workers: %u, batch: %u }\n"
               "  system: { workers: %u, batch: %u }\n"
               "  hook: { workers: %u, batch: %u }\n",
               config->task_workers, config->batch, config->system_workers, config->batch,
               config->hook_workers, config->batch);
    buf_printf(&out,
               "limits: { backlog: 100000000 }\n"
               "task:\n  { max_pending: 100000000, backoff_ms: 3600000%s%s }\n",
               config->assignment ? ", assignment: " : "",
               config->assignment ? config->assignment : "");
    if (config->transport)
        buf_printf(&out, "events: { transport: %s }\n", config->transport);
    /* The log of the last requests is full, and all of them are old: what costs most. */
    if (config->has_gate)
        buf_puts(&out,
                 "methods: { \"*\": { rate_limit: 1000, rate_window_ms: 1, timeout_ms: 60000,\n"
                 "                  breaker: { threshold: 10 } } }\n");
    return buf_take(&out);
}

void env_write_config(struct env *env, const struct env_daemon *config, unsigned number)
{
    char path[256];
    char *text = make_config(env, config, number);
    struct options_errors errors = OPTIONS_ERRORS_INIT;

    snprintf(path, sizeof path, "%s/" ENV_CONFIG, env->dir, number);
    FILE *f = fopen(path, "we");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        stop_failed("cannot write %s", path);
    options_free(env->opts);
    env->opts = NULL;
    if (options_load_text(text, strlen(text), path, &env->opts, &errors) != 0) {
        struct buf why = BUF_INIT;
        options_errors_put(&errors, &why);
        stop_failed("%s", buf_peek(&why));
    }
    free(text);
}

static bool is_worker(long pid)
{
    char path[64], name[256];
    static const char flag[] = "claudebench-worker\0-d";

    snprintf(path, sizeof path, "/proc/%ld/cmdline", pid);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(name, 1, sizeof name, f) : 0;
    if (f)
        fclose(f);
    return memmem(name, n, flag, sizeof flag) != NULL;
}

static void find_workers_of(struct env *env, pid_t daemon)
{
    char path[64], text[4096];

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", daemon, daemon);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    char *end = text;
    for (long pid = strtol(text, &end, 10); pid > 0; pid = strtol(end, &end, 10))
        if (is_worker(pid) && env->nworkers < ENV_WORKERS_MAX)
            env->workers[env->nworkers++] = (pid_t)pid;
}

void env_find_workers(struct env *env)
{
    env->nworkers = 0;
    for (unsigned i = 0; i < env->ndaemons; i++)
        find_workers_of(env, env->daemons[i]);
}
