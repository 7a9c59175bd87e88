/*
 * feed.h: bytes into a reader of replies, for the fuzzers that make up what Redis says.
 */
#ifndef CB_FUZZ_FEED_H
#define CB_FUZZ_FEED_H

#include "common/redis_link_reader.h"

#include <string.h>

static inline void feed(struct redis_link_reader *reader, const char *data, size_t len)
{
    while (len > 0) {
        size_t room;
        char *to = redis_link_reader_room(reader, &room);
        size_t n = len < room ? len : room;
        memcpy(to, data, n);
        redis_link_reader_added(reader, n);
        data += n;
        len -= n;
    }
}

#endif
