/*
 * fake_poll.c: poll() for programs whose clock is faked (common/clock.h): nobody waits, time goes on instead. Who looks again and again
 * without letting any time pass would use all of a processor until the time is over.
 */
#undef _FORTIFY_SOURCE /* it would have a poll() of its own in the header */
#include "common/compat.h"

#include "common/clock.h"

#include <poll.h>
#include <time.h>

enum { LOOKS_MAX = 100000 };

int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    static const struct timespec none;
    static int64_t now_us;
    static unsigned looks;

    int ready = ppoll(fds, n, &none, NULL);
    if (ready == 0 && timeout_ms > 0)
        clock_fake_advance_us((int64_t)timeout_ms * 1000);
    cb_assert(ready != 0 || timeout_ms >= 0); /* for ever */
    looks = now_us == clock_mono_us() ? looks + 1 : 0;
    now_us = clock_mono_us();
    cb_assert(looks < LOOKS_MAX);
    return ready;
}
