/*
 * redis_link_reader.h: bytes in, replies out; the inner half of redis_link, apart so that it can be
 * fuzzed without a socket.
 */
#ifndef CB_REDIS_LINK_READER_H
#define CB_REDIS_LINK_READER_H

#include "common/buf.h"
#include "common/redis_link.h"
#include "common/resp_check.h"

struct redisReader;

struct redis_link_reader {
    struct redisReader *hiredis;
    struct resp_check check;
    struct buf in; /* received; what is before `at` is checked and with hiredis */
    size_t at;
};

void redis_link_reader_init(struct redis_link_reader *reader);
void redis_link_reader_done(struct redis_link_reader *reader);
/* Where to receive at most *ret_size bytes; redis_link_reader_added() tells how many came. */
char *redis_link_reader_room(struct redis_link_reader *reader, size_t *ret_size);
void redis_link_reader_added(struct redis_link_reader *reader, size_t len);
/* Received bytes that no redis_link_reader_next() has looked at. */
size_t redis_link_reader_pending(const struct redis_link_reader *reader);
/*
 * The next whole reply, the caller's (NULL: more bytes are needed). Returns 0, or -1 when the bytes
 * are not RESP2 or are over the limits (REDIS_PROTOCOL); the reader is of no more use then.
 */
int redis_link_reader_next(struct redis_link_reader *reader, reply_t **ret_reply,
                           struct cb_error *err);

#endif
