/*
 * rnd.h: random numbers. Secrets and tokens come from the kernel; jitter from a seedable generator.
 */
#ifndef CB_RND_H
#define CB_RND_H

#include <stddef.h>
#include <stdint.h>

/* Not for secrets: SplitMix64 (Steele, Lea, Flood 2014), seeded from the kernel at first use. */
uint64_t rnd_u64(void);
/* Fixes the sequence of rnd_u64 (tests). */
void rnd_seed(uint64_t seed);
/* Bytes from getrandom(2); never fails (waits for the pool). */
void rnd_secret(void *out, size_t len);
/* `len` characters of [A-Za-z0-9_-] (6 random bits each) and a NUL; `out` holds len + 1. */
void rnd_token(char *out, size_t len);

enum {
    /*
     * Characters of the secret part of a lease's token: 66 bits. Behind a number of 16 digits and a dash the token has 28 characters; of
     * texts from 32 on Lua hashes every second character, and tokens of one claim would lie in one place of its table.
     */
    RND_LEASE_SECRET = 11,
};

#endif
