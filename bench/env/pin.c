/*
 * pin.c: see pin.h. The cores are the first two of those that this process was allowed at its start.
 */
#include "common/compat.h"
#include "bench/env/pin.h"

#include "bench/env/stop.h"

#include <sched.h>

static const char *const names[] = {[PIN_NONE] = "none", [PIN_ONE] = "one", [PIN_SPLIT] = "split"};
static int cores[2];
static unsigned ncores;

const char *pin_name(enum pin_layout layout)
{
    return names[layout];
}

bool pin_find(const char *name, enum pin_layout *ret_layout)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *ret_layout = (enum pin_layout)i;
            return true;
        }
    return false;
}

void pin_check(enum pin_layout layout)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        stop_failed("cannot see which cores may be used");
    for (int i = 0; i < CPU_SETSIZE && ncores < CB_ARRAY_LEN(cores); i++)
        if (CPU_ISSET(i, &set))
            cores[ncores++] = i;
    if (layout == PIN_SPLIT && ncores < 2)
        stop_failed("--pin split needs two cores");
}

void pin_self(enum pin_layout layout, bool is_redis)
{
    cpu_set_t set;

    if (layout == PIN_NONE)
        return;
    CPU_ZERO(&set);
    CPU_SET(cores[layout == PIN_SPLIT && !is_redis ? 1 : 0], &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        stop_failed("cannot pin a process");
}
