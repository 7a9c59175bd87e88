/*
 * interval.h: lengths of time as people write them: "500ms", "90s", "15m", "6h", "1d".
 */
#ifndef CB_INTERVAL_H
#define CB_INTERVAL_H

#include "common/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* The whole text is a number, not negative, and its unit; without a unit it is seconds, unless `wants_unit`. Returns 0,
 * or -1 when it is anything else. */
int interval_parse(const char *text, bool wants_unit, int64_t *ret_ms);
/* Appends it in the largest unit that has no rest. */
void interval_put(struct buf *out, int64_t ms);

#endif
