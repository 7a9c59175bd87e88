/*
 * backoff.c: see backoff.h. Randomness comes from rnd.h, so that tests can seed it.
 */
#include "common/compat.h"
#include "common/backoff.h"

#include "common/rnd.h"

void backoff_init(struct backoff *b, int64_t min_ms, int64_t max_ms)
{
    b->min_ms = min_ms;
    b->max_ms = max_ms;
    b->first_ms = 0;
    b->failures = 0;
}

void backoff_init_spread(struct backoff *b, int64_t min_ms, int64_t first_ms, int64_t max_ms)
{
    backoff_init(b, min_ms, max_ms);
    b->first_ms = first_ms;
}

void backoff_set_spread(struct backoff *b, int64_t first_ms)
{
    b->first_ms = first_ms < b->max_ms ? first_ms : b->max_ms;
}

void backoff_reset(struct backoff *b)
{
    b->failures = 0;
}

/* With its spread it leaves time to come up within 5 s of the cure. */
enum { SHORT_BRAKE_MAX_MS = 2500 };

/* from × 2^failures, at most max. */
static int64_t backoff_ceiling(struct backoff *b, int64_t from_ms)
{
    int64_t ceiling = from_ms;
    for (unsigned i = 0; i < b->failures && ceiling < b->max_ms; i++)
        ceiling *= 2;
    b->failures++;
    return ceiling < b->max_ms ? ceiling : b->max_ms;
}

int64_t backoff_next_full_jitter(struct backoff *b)
{
    int64_t ceiling = backoff_ceiling(b, b->first_ms ? b->first_ms : 2 * b->min_ms);
    if (ceiling <= b->min_ms)
        return b->min_ms;
    return b->min_ms + (int64_t)(rnd_u64() % (uint64_t)(ceiling - b->min_ms + 1));
}

static int64_t spread_out(int64_t wait)
{
    int64_t spread = wait / 5;
    if (spread == 0)
        return wait;
    return wait - spread + (int64_t)(rnd_u64() % (uint64_t)(2 * spread + 1));
}

int64_t backoff_next_brake(struct backoff *b)
{
    return spread_out(backoff_ceiling(b, b->min_ms));
}

int64_t backoff_next_short_brake(struct backoff *b)
{
    int64_t wait = backoff_ceiling(b, b->min_ms);

    if (wait <= SHORT_BRAKE_MAX_MS)
        return spread_out(wait);
    b->failures--; /* nor is who dies young after it braked for the shortage */
    return spread_out(SHORT_BRAKE_MAX_MS);
}
