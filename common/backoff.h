/*
 * backoff.h: how long to wait before the next try.
 *
 * Two curves: "full jitter" for reconnects, a uniform draw from [min, cap] where cap
 * doubles (Brooker, "Exponential Backoff And Jitter"; spreads a herd), and "brake" for restarts,
 * doubling with ±20 %.
 */
#ifndef CB_BACKOFF_H
#define CB_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t min_ms;
    int64_t max_ms;
    int64_t first_ms;  /* full jitter: the first cap; 0 = 2 × min */
    unsigned failures; /* in a row */
};

void backoff_init(struct backoff *b, int64_t min_ms, int64_t max_ms);
/* … whose first wait with full jitter is spread over [min, first] already. */
void backoff_init_spread(struct backoff *b, int64_t min_ms, int64_t first_ms, int64_t max_ms);
/* Another first, for what comes after the next success; at most the maximum. */
void backoff_set_spread(struct backoff *b, int64_t first_ms);
/* Call after a success: the next wait starts from min again. */
void backoff_reset(struct backoff *b);
/* The wait before the next try, in ms, and one failure more. */
int64_t backoff_next_full_jitter(struct backoff *b);
int64_t backoff_next_brake(struct backoff *b);
/* The same for a process that could not even be started (no process, memory or descriptor was to be had): that is no
 * crash loop, and who was short of something is to be back soon after it is there again. */
int64_t backoff_next_short_brake(struct backoff *b);

#endif
