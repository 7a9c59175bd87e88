/*
 * clock.c: see clock.h.
 */
#include "common/compat.h"
#include "common/clock.h"

#include <time.h>

static bool is_fake;
static int64_t fake_mono_us;
static int64_t fake_wall_us;

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return is_fake ? fake_mono_us : read_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_us(void)
{
    return is_fake ? fake_wall_us : read_us(CLOCK_REALTIME);
}

int64_t clock_wall_ms(void)
{
    return clock_wall_us() / 1000;
}

void clock_format_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE])
{
    int64_t ms = wall_ms % 1000;
    int64_t seconds = wall_ms / 1000;
    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    time_t t = (time_t)seconds;
    struct tm tm = {.tm_year = 70,
                    .tm_mday = 1}; /* a time that no calendar has is shown as the epoch */
    struct tm known;
    if (gmtime_r(&t, &known))
        tm = known;
    size_t n = strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_RFC3339_SIZE - n, ".%03dZ", (int)ms);
}

void clock_fake_set(int64_t mono_us, int64_t wall_us)
{
    is_fake = true;
    fake_mono_us = mono_us;
    fake_wall_us = wall_us;
}

void clock_fake_advance_us(int64_t us)
{
    fake_mono_us += us;
    fake_wall_us += us;
}

void clock_fake_stop(void)
{
    is_fake = false;
}
