/*
 * cost.c: see cost.h. CPU time is read last before a run and first after it, so that asking Redis is no part of it.
 */
#include "common/compat.h"
#include "bench/env/cost.h"

#include "bench/env/stop.h"
#include "common/mem.h"

#include <time.h>

/* ---- processes ---- */

/* With all threads. /proc/<pid>/stat would count in steps of 10 ms. */
double cost_cpu(pid_t pid)
{
    struct timespec used;
    clockid_t clock;

    if (pid <= 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return 0;
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static long rss_kb(pid_t pid)
{
    char path[64], line[256];
    long kb = 0;

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = pid > 0 ? fopen(path, "re") : NULL;
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = strtol(line + 6, NULL, 10);
    if (f)
        fclose(f);
    return kb;
}

static long largest_kb(const pid_t *pids, unsigned n)
{
    long largest = 0;

    for (unsigned i = 0; i < n; i++) {
        long kb = rss_kb(pids[i]);
        largest = kb > largest ? kb : largest;
    }
    return largest;
}

static void read_cpu(struct env *env, struct cost *c)
{
    c->client_s = cost_cpu(getpid());
    c->redis_s = cost_cpu(env->redis);
    c->supervisor_s = 0;
    for (unsigned i = 0; i < env->ndaemons; i++)
        c->supervisor_s += cost_cpu(env->daemons[i]);
    c->workers_s = 0;
    for (unsigned i = 0; i < env->nworkers; i++)
        c->workers_s += cost_cpu(env->workers[i]);
}

static void read_rss(struct env *env, struct cost *c)
{
    c->client_kb = rss_kb(getpid());
    c->redis_kb = rss_kb(env->redis);
    c->supervisor_kb = largest_kb(env->daemons, env->ndaemons);
    c->worker_kb = largest_kb(env->workers, env->nworkers);
}

/* ---- Redis ---- */

static reply_t *info(struct env *env, const char *section)
{
    struct redis_link *link = env_link(env, NULL);
    struct cb_error err;
    reply_t *reply = NULL;

    if (redis_link_callv(link, &reply, &err, "INFO", section, NULL) != 0)
        stop_failed("redis: %s", err.text);
    redis_link_free(link);
    return reply;
}

char *cost_info(struct env *env, const char *section, const char *name)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = info(env, section);
    const char *at = strstr(reply_str(reply), name);

    at = at ? at + strlen(name) : "?";
    return mem_strndup(at, strcspn(at, "\r\n"));
}

double cost_used_memory(struct env *env)
{
    char *text = cost_info(env, "memory", "used_memory:");
    double n = strtod(text, NULL);
    free(text);
    return n;
}

/* What no script of ours calls: whoever sent it was a client. Subcommands follow behind a '|'. */
static bool is_outer(const char *name, size_t len)
{
    static const char *const outer[] = {"evalsha", "fcall",    "xreadgroup", "blmpop", "ping",
                                        "script",  "function", "xgroup",     "wait"};
    for (size_t i = 0; i < CB_ARRAY_LEN(outer); i++)
        if (strlen(outer[i]) == len && strncmp(outer[i], name, len) == 0)
            return true;
    return false;
}

/* How we look, and how connections are made: neither belongs to a request. */
static bool is_ours(const char *name, size_t len)
{
    static const char *const ours[] = {"info", "client", "config", "hello", "auth", "select"};
    for (size_t i = 0; i < CB_ARRAY_LEN(ours); i++)
        if (strlen(ours[i]) == len && strncmp(ours[i], name, len) == 0)
            return true;
    return false;
}

/* cmdstat_xadd:calls=12,usec=… a line, cmdstat_client|setname:calls=… */
static void read_commands(struct env *env, struct cost *c)
{
    static const char head[] = "cmdstat_", calls[] = ":calls=";
    reply_t *reply CB_CLEANUP(reply_free_ptr) = info(env, "commandstats");

    c->commands = 0;
    c->calls = 0;
    for (const char *at = strstr(reply_str(reply), head); at; at = strstr(at, head)) {
        at += sizeof head - 1;
        size_t len = strcspn(at, "|:");
        const char *count = strstr(at, calls);
        if (!count)
            break;
        double n = strtod(count + sizeof calls - 1, NULL);
        if (is_ours(at, len))
            continue;
        c->commands += n;
        if (is_outer(at, len))
            c->calls += n;
    }
}

/* ---- both ---- */

struct cost cost_before(struct env *env)
{
    struct cost c = {0};
    read_commands(env, &c);
    read_cpu(env, &c);
    return c;
}

struct cost cost_since(struct env *env, const struct cost *before)
{
    struct cost c = {0};
    read_cpu(env, &c);
    read_rss(env, &c);
    read_commands(env, &c);
    c.client_s -= before->client_s;
    c.supervisor_s -= before->supervisor_s;
    c.workers_s -= before->workers_s;
    c.redis_s -= before->redis_s;
    c.calls -= before->calls + 1; /* a connection begins with a PING */
    c.commands -= before->commands + 1;
    return c;
}
