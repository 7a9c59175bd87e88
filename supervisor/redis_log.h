/*
 * redis_log.h: why the embedded redis-server did not start, from its own log.
 */
#ifndef CB_REDIS_LOG_H
#define CB_REDIS_LOG_H

#include "common/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* The log's length now; 0 when there is none. */
int64_t redis_log_mark(const char *path);
/* Appends the last one or two warnings that were written since `mark`, joined by "; ": the messages alone, without
 * those of every start. Nothing when there are none. */
void redis_log_last_words(const char *path, int64_t mark, struct buf *out);
/* They say that the data cannot be read: no restart helps, only redis-check-aof or a backup. */
bool redis_log_blames_data(const char *words);

#endif
