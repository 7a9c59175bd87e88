/*
 * fault.c: see fault.h. The environment is read at each hit: fault points are rare and tests only.
 */
#include "common/compat.h"
#include "common/fault.h"

#ifdef CB_FAILPOINTS

#include <fcntl.h>
#include <signal.h>
#include <time.h>

struct fault_spec {
    const char *action;
    char once[256];
    char match[128];
    unsigned nth;
};

static unsigned hits[64]; /* by hash of the name: enough for tests, which arm a few points */

static void fault_act(const char *action)
{
    if (strcmp(action, "kill") == 0)
        kill(getpid(), SIGKILL);
    else if (strcmp(action, "stop") == 0)
        kill(getpid(), SIGSTOP);
    else if (strcmp(action, "abort") == 0)
        abort();
    else if (strcmp(action, "segv") == 0)
        raise(SIGSEGV);
    else if (strncmp(action, "exit=", 5) == 0)
        _exit((int)strtol(action + 5, NULL, 10));
    else if (strncmp(action, "delay=", 6) == 0) {
        long ms = strtol(action + 6, NULL, 10);
        struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
        nanosleep(&ts, NULL);
    }
}

static void fault_option(struct fault_spec *spec, const char *option)
{
    if (strncmp(option, "once=", 5) == 0)
        snprintf(spec->once, sizeof spec->once, "%s", option + 5);
    else if (strncmp(option, "match=", 6) == 0)
        snprintf(spec->match, sizeof spec->match, "%s", option + 6);
    else if (strncmp(option, "nth=", 4) == 0)
        spec->nth = (unsigned)strtoul(option + 4, NULL, 10);
}

static bool fault_applies(const struct fault_spec *spec, const char *name, const char *text,
                          size_t len)
{
    if (spec->match[0] && (!text || !memmem(text, len, spec->match, strlen(spec->match))))
        return false;
    unsigned h = 0;
    for (const char *p = name; *p; p++)
        h = h * 31 + (unsigned char)*p;
    if (spec->nth && ++hits[h % CB_ARRAY_LEN(hits)] != spec->nth)
        return false;
    if (spec->once[0]) {
        int fd = open(spec->once, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0)
            return false;
        close(fd);
    }
    return true;
}

void fault_point_text(const char *name, const char *text, size_t len)
{
    const char *env = getenv("CLAUDEBENCH_FAILPOINT");
    if (!env || !*env)
        return;
    char copy[2048];
    snprintf(copy, sizeof copy, "%s", env);
    char *points_end = NULL;
    for (char *point = strtok_r(copy, ",", &points_end); point;
         point = strtok_r(NULL, ",", &points_end)) {
        char *parts_end = NULL;
        const char *point_name = strtok_r(point, ":", &parts_end);
        struct fault_spec spec = {.action = strtok_r(NULL, ":", &parts_end)};
        if (!point_name || !spec.action || strcmp(point_name, name) != 0)
            continue;
        for (char *o = strtok_r(NULL, ":", &parts_end); o; o = strtok_r(NULL, ":", &parts_end))
            fault_option(&spec, o);
        if (fault_applies(&spec, name, text, len))
            fault_act(spec.action);
    }
}

void fault_point(const char *name)
{
    fault_point_text(name, NULL, 0);
}

#else
typedef int fault_c_is_not_empty;
#endif
