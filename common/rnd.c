/*
 * rnd.c: see rnd.h.
 */
#include "common/compat.h"
#include "common/rnd.h"

#include <sys/random.h>

static uint64_t state;
static bool is_seeded;

void rnd_seed(uint64_t seed)
{
    state = seed;
    is_seeded = true;
}

uint64_t rnd_u64(void)
{
    if (!is_seeded) {
        rnd_secret(&state, sizeof state);
        is_seeded = true;
    }
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void rnd_secret(void *out, size_t len)
{
    char *p = out;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0) {
            cb_assert(errno == EINTR);
            continue;
        }
        p += n;
        len -= (size_t)n;
    }
}

void rnd_token(char *out, size_t len)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    rnd_secret(out, len);
    for (size_t i = 0; i < len; i++)
        out[i] = alphabet[(unsigned char)out[i] & 63];
    out[len] = '\0';
}
