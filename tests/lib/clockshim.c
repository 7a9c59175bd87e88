/*
 * clockshim.c: moves the wall clock of a program under test (LD_PRELOAD), by the milliseconds in the file that
 * CBTEST_CLOCK names; the file may change while the program runs. CLOCK_MONOTONIC is left alone: it is what a
 * real jump of the clock leaves alone. Not for redis-server: it reads the time otherwise.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef int gettime_fn(clockid_t, struct timespec *);

static long long shift_ms(void)
{
    static _Thread_local int is_busy;
    const char *path = getenv("CBTEST_CLOCK");
    char text[32] = "";
    int fd;

    if (!path || is_busy)
        return 0;
    is_busy = 1;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) < 0)
            text[0] = '\0';
        close(fd);
    }
    is_busy = 0;
    return strtoll(text, NULL, 10);
}

static int real_gettime(clockid_t id, struct timespec *ts)
{
    static gettime_fn *next;

    if (!next)
        next = (gettime_fn *)dlsym(RTLD_NEXT, "clock_gettime");
    return next(id, ts);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int result = real_gettime(id, ts);

    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        long long ns = ts->tv_nsec + shift_ms() % 1000 * 1000000;
        ts->tv_sec += shift_ms() / 1000 + (ns < 0 ? -1 : ns / 1000000000);
        ts->tv_nsec = (ns + 1000000000) % 1000000000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    if (ret)
        *ret = ts.tv_sec;
    return ts.tv_sec;
}
