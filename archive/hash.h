/*
 * hash.h: uthash with our SipHash: the one that uthash brings falls through its switch in a way that clang warns of, and is easily
 * made to collide. What is hashed here is a batch of ids at a time, so a key that others know will do (siphash.h).
 */
#ifndef CB_ARCHIVE_HASH_H
#define CB_ARCHIVE_HASH_H

#include "common/siphash.h"

#define HASH_FUNCTION(key, len, hash)                                                              \
    ((hash) = (unsigned)siphash((key), (len), (const unsigned char *)"claudebench-hash"))

#include <uthash.h>

#endif
