/*
 * circuits.h: the circuit breakers that are not closed, as the last tick found them: for status, health and the log.
 */
#ifndef CB_CIRCUITS_H
#define CB_CIRCUITS_H

#include "common/redis_link.h"

#include <stdbool.h>

enum { CIRCUITS_MAX = 10 };

struct circuit {
    char method[65];
    char state[12];   /* open, half_open */
    int64_t since_ms; /* wall */
    char reason[160];
};
struct circuits {
    struct circuit items[CIRCUITS_MAX];
    size_t len;
};

/* Takes what a tick said, logs each change; returns whether there was one. */
bool circuits_take(struct circuits *c, const reply_t *rows);

#endif
