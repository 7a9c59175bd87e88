/*
 * siphash.c: see siphash.h. Called by the gate for the params of requests with an idempotency key. Owns nothing,
 * cannot fail.
 */
#include "common/compat.h"
#include "common/siphash.h"

#include <endian.h>

struct state {
    uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

/* At most 8 bytes, little endian on every machine. */
static uint64_t load(const unsigned char *p, size_t len)
{
    uint64_t x = 0;
    if (len)
        memcpy(&x, p, len);
    return le64toh(x);
}

static void rounds(struct state *s, int n)
{
    while (n-- > 0) {
        s->a += s->b;
        s->c += s->d;
        s->b = rotate(s->b, 13) ^ s->a;
        s->d = rotate(s->d, 16) ^ s->c;
        s->a = rotate(s->a, 32) + s->d;
        s->c += s->b;
        s->d = rotate(s->d, 21) ^ s->a;
        s->b = rotate(s->b, 17) ^ s->c;
        s->c = rotate(s->c, 32);
    }
}

static void mix(struct state *s, uint64_t word)
{
    s->d ^= word;
    rounds(s, 2);
    s->a ^= word;
}

uint64_t siphash(const void *data, size_t len, const unsigned char key[16])
{
    const unsigned char *p = data;
    uint64_t k0 = load(key, 8), k1 = load(key + 8, 8);
    struct state s = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                      k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    size_t whole = len / 8;

    for (size_t i = 0; i < whole; i++)
        mix(&s, load(p + 8 * i, 8));
    mix(&s, (uint64_t)len << 56 | load(len % 8 ? p + 8 * whole : key, len % 8));
    s.c ^= 0xff;
    rounds(&s, 4);
    return s.a ^ s.b ^ s.c ^ s.d;
}
