/*
 * siphash.h: SipHash-2-4 (Aumasson, Bernstein 2012), 64 bits: a fast hash for telling byte strings apart.
 *
 * With a key that others know it keeps nobody from making two strings of one hash: use SHA-256 where that matters.
 */
#ifndef CB_SIPHASH_H
#define CB_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const void *data, size_t len, const unsigned char key[16]);

#endif
