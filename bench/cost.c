/*
 * cost.c: what a run costs: CPU time and RSS from /proc, commands from INFO.
 */
#include "common/compat.h"
#include "bench/bench.h"

#include "common/mem.h"

#include <sys/resource.h>
#include <time.h>

/* CPU time of a process with all its threads, seconds; 0 when it is gone. (/proc/<pid>/stat counts in 10 ms.) */
static double cpu_of(pid_t pid)
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

/* A section of INFO, in the caller's memory; "" when Redis does not answer. */
static char *info(struct bench_env *env, const char *section)
{
    struct redis_link *link = NULL;
    struct cb_error err;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;

    if (redis_link_open(&env->target, NULL, &link, &err) != 0)
        return mem_strdup("");
    int status = redis_link_callv(link, &reply, &err, "INFO", section, NULL);
    redis_link_free(link);
    return mem_strdup(status == 0 ? reply_str(reply) : "");
}

/* The number behind `name` in a section, 0 when it is not there. */
static double number_behind(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtod(at + strlen(name), NULL) : 0;
}

static double commands_processed(struct bench_env *env)
{
    char *text = info(env, "stats");
    double n = number_behind(text, "total_commands_processed:");
    free(text);
    return n;
}

double cost_idle_commands(struct bench_env *env)
{
    static const char *const outer[] = {
        "cmdstat_evalsha:calls=", "cmdstat_xreadgroup:calls=", "cmdstat_ping:calls="};
    char *text = info(env, "commandstats");
    double n = number_behind(text, "cmdstat_info:calls=");
    for (size_t i = 0; i < CB_ARRAY_LEN(outer); i++)
        n += number_behind(text, outer[i]);
    free(text);
    return n;
}

double cost_used_memory(struct bench_env *env)
{
    char *text = info(env, "memory");
    double n = number_behind(text, "used_memory:");
    free(text);
    return n;
}

struct bench_cost cost_now(struct bench_env *env)
{
    struct bench_cost c = {.redis_s = cpu_of(env->redis), .supervisor_s = cpu_of(env->daemon)};
    struct rusage self;

    for (unsigned i = 0; i < env->nworkers; i++) {
        c.workers_s += cpu_of(env->workers[i]);
        long kb = rss_kb(env->workers[i]);
        c.worker_kb = kb > c.worker_kb ? kb : c.worker_kb;
    }
    getrusage(RUSAGE_SELF, &self);
    c.client_s = (double)(self.ru_utime.tv_sec + self.ru_stime.tv_sec) +
                 (double)(self.ru_utime.tv_usec + self.ru_stime.tv_usec) / 1e6;
    c.commands = commands_processed(env);
    c.redis_kb = rss_kb(env->redis);
    c.supervisor_kb = rss_kb(env->daemon);
    return c;
}

struct bench_cost cost_between(const struct bench_cost *before, const struct bench_cost *after)
{
    struct bench_cost c = *after;
    c.redis_s -= before->redis_s;
    c.workers_s -= before->workers_s;
    c.supervisor_s -= before->supervisor_s;
    c.client_s -= before->client_s;
    c.commands -= before->commands;
    return c;
}
