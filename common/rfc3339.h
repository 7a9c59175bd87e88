/*
 * rfc3339.h: reading the times that callers write. (clock.h writes ours.)
 */
#ifndef CB_RFC3339_H
#define CB_RFC3339_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads `YYYY-MM-DDTHH:MM:SS[.digits](Z|+HH:MM|-HH:MM)`, letters in either case, into ms since 1970.
 * Digits beyond milliseconds are cut. A leap second (23:59:60 UTC) counts as the last millisecond of
 * its minute. The instant must lie within the years 1970 to 9999 UTC. Returns 0 or -1.
 */
int rfc3339_parse(const char *s, size_t len, int64_t *ret_ms);

#endif
