/*
 * machine.c: see machine.h.
 */
#include "common/compat.h"
#include "bench/env/machine.h"

#include "bench/env/cost.h"

#include <hiredis/hiredis.h> /* its version only */
#include <sys/utsname.h>
#include <time.h>

#ifndef BENCH_FLAGS
#define BENCH_FLAGS "?"
#endif
#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

static void read_cpu_model(char *out, size_t size)
{
    char line[256];

    snprintf(out, size, "unknown CPU");
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        const char *value = strchr(line, ':');
        if (value && strncmp(line, "model name", 10) == 0)
            snprintf(out, size, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
    }
    if (f)
        fclose(f);
}

/* What makes a build slower than what people run. */
static const char *warning(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return "built with a sanitizer";
#elif defined(CB_FAILPOINTS)
    return "built with fault points";
#elif !defined(__OPTIMIZE__)
    return "built without optimisation";
#else
    return "";
#endif
}

void machine_read(struct env *env, struct machine *m)
{
    struct utsname u;
    struct tm tm;
    time_t now = time(NULL);
    const char *commit = getenv("BENCH_COMMIT");
    char *redis = cost_info(env, "server", "redis_version:");

    *m = (struct machine){.cores = sysconf(_SC_NPROCESSORS_ONLN),
                          .memory_mb = sysconf(_SC_PHYS_PAGES) / 1024 * sysconf(_SC_PAGESIZE) /
                                       1024};
    strftime(m->date, sizeof m->date, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &tm));
    read_cpu_model(m->cpu, sizeof m->cpu);
    uname(&u);
    snprintf(m->kernel, sizeof m->kernel, "%.20s %.80s", u.sysname, u.release);
    if (getloadavg(&m->load, 1) != 1)
        m->load = -1;
    snprintf(m->redis, sizeof m->redis, "%s", redis);
    snprintf(m->hiredis, sizeof m->hiredis, "%s",
             TEXT(HIREDIS_MAJOR) "." TEXT(HIREDIS_MINOR) "." TEXT(HIREDIS_PATCH));
    snprintf(m->compiler, sizeof m->compiler, "%s", COMPILER);
    snprintf(m->flags, sizeof m->flags, "%s", BENCH_FLAGS);
    snprintf(m->commit, sizeof m->commit, "%s", commit && commit[0] ? commit : "unknown");
    snprintf(m->warning, sizeof m->warning, "%s", warning());
    free(redis);
}
