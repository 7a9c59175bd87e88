/*
 * clock.h: the two local clocks. Deadlines of this process are monotonic; wall time is for people.
 * (Leases and beats use the effective time that lives in Redis, never these.)
 */
#ifndef CB_CLOCK_H
#define CB_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_us(void); /* CLOCK_MONOTONIC, µs */
int64_t clock_mono_ms(void);
int64_t clock_wall_us(void); /* CLOCK_REALTIME, µs since 1970 */
int64_t clock_wall_ms(void);

/* RFC 3339 UTC with milliseconds, e.g. 2026-11-21T18:20:00.123Z; `out` holds at least 25 bytes. */
#define CLOCK_RFC3339_SIZE 25
void clock_format_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE]);

/* For unit tests: both clocks stand at these values until moved; clock_fake_stop() ends it. */
void clock_fake_set(int64_t mono_us, int64_t wall_us);
void clock_fake_advance_us(int64_t us);
void clock_fake_stop(void);

#endif
