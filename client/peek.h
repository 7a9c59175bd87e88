/*
 * peek.h: looks into JSON that the daemon sent, by paths such as "figures.tasks.pending"; what is not there is nothing, not an error:
 * an older daemon may not send it. And how ages, sizes and rates are written on screens.
 */
#ifndef CB_PEEK_H
#define CB_PEEK_H

#include "common/buf.h"
#include "common/json.h"

#include <stdbool.h>
#include <stdint.h>

/* False when there is no such member, or it is null. "" is the value itself. */
bool peek_find(struct json_span value, const char *path, struct json_item *ret);
/* What is larger is shown as this, so that some of them can be added up. */
#define PEEK_INT_MAX (INT64_C(1) << 53)
/* 0 when it is no number. */
int64_t peek_int(struct json_span value, const char *path);
double peek_number(struct json_span value, const char *path);
bool peek_is_true(struct json_span value, const char *path);
/* Appends a text decoded, anything else as it is, "-" for nothing. Not escaped. */
void peek_put(struct json_span value, const char *path, struct buf *out);
/* Whether the text at `path` is this word. */
bool peek_is(struct json_span value, const char *path, const char *word);
/* Members or elements; 0 when it is neither object nor array. */
size_t peek_count(struct json_span value, const char *path);

/* "12 ms", "3.2 s", "5 min 20 s", "3 h 12 min", "2 d 4 h"; */
void peek_put_age(struct buf *out, int64_t ms);
/* the same for a column: "12ms", "3.2s", "5m20s", "3h12m", "2d4h". */
void peek_put_short_age(struct buf *out, int64_t ms);
/* "812 B", "1.4 MiB". */
void peek_put_bytes(struct buf *out, int64_t bytes);
/* A time of RFC 3339 as the local one: "04:08:25" today, else "11-21 04:08:25", of another year "2025-11-21 04:08". As it is when it is
 * no time; not escaped. */
void peek_put_local_time(struct buf *out, const char *at, size_t len);
/* A rate: "0", "0.25", "12.3", "1234". */
void peek_put_rate(struct buf *out, double per_s);

#endif
