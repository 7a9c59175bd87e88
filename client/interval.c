/*
 * interval.c: see interval.h.
 */
#include "common/compat.h"
#include "client/interval.h"

static const struct {
    const char *name;
    int64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

int interval_parse(const char *text, bool wants_unit, int64_t *ret_ms)
{
    char *end;

    if (text[0] < '0' || text[0] > '9') /* strtoll() would take spaces and signs */
        return -1;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno)
        return -1;
    if (!*end && !wants_unit)
        return __builtin_mul_overflow(n, 1000, ret_ms) ? -1 : 0;
    for (size_t i = 0; i < CB_ARRAY_LEN(units); i++) {
        if (strcmp(end, units[i].name) != 0)
            continue;
        return __builtin_mul_overflow(n, units[i].ms, ret_ms) ? -1 : 0;
    }
    return -1;
}

void interval_put(struct buf *out, int64_t ms)
{
    size_t i = 0;

    while (ms % units[i].ms != 0)
        i++;
    buf_printf(out, "%" PRId64 "%s", ms / units[i].ms, ms == 0 ? "ms" : units[i].name);
}
