/*
 * tz.h: time zones by their IANA name, read from the system's TZif files (RFC 8536, version 2 or later).
 *
 * localtime() knows one zone a process, by an environment variable; here each schedule has its own. Nothing is cached:
 * a zone is a few KiB, and an update of the system's files is in force at once.
 */
#ifndef CB_TZ_H
#define CB_TZ_H

#include "common/err.h"
#include "common/tz_rule.h"

enum { TZ_NAME_MAX = 64 };

struct tz;

/*
 * The zone of that name; `dir` NULL is the system's folder. "UTC" is known without a file. A name is a
 * capital and up to TZ_NAME_MAX - 1 letters, digits, `+`, `-`, `_`, in parts between single slashes: no name leads out
 * of the folder.
 * Returns 0, or -1 with *err saying why: no such zone, or a file that is none.
 */
int tz_load(const char *dir, const char *name, struct tz **ret_tz, struct cb_error *err);
/* The same from the bytes of a file. */
int tz_parse(const void *bytes, size_t len, struct tz **ret_tz, struct cb_error *err);
void tz_free(struct tz *tz);      /* accepts NULL */
void tz_free_ptr(struct tz **tz); /* fits CB_CLEANUP */

/* The stretch of the same offset that `t` (seconds since 1970) lies in. Neighbours: tz_span_at(from - 1), tz_span_at(to);
 * they may have the same offset. */
struct tz_span tz_span_at(const struct tz *tz, int64_t t);

#endif
