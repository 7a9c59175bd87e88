/*
 * stop.c: see stop.h.
 */
#include "common/compat.h"
#include "bench/env/stop.h"

#include "common/exitcode.h"

#include <signal.h>
#include <stdarg.h>
#include <time.h>

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t asked;

static void note(int signo)
{
    asked = signo;
}

static void handle_with(void (*fn)(int))
{
    struct sigaction action = {.sa_handler = fn}; /* no SA_RESTART: what waits is to see it */
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < CB_ARRAY_LEN(signals); i++)
        sigaction(signals[i], &action, NULL);
}

void stop_on_signals(void)
{
    handle_with(note);
    signal(SIGPIPE, SIG_IGN);
}

void stop_signals_default(void)
{
    handle_with(SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
}

bool stop_is_asked(void)
{
    return asked != 0;
}

void stop_if_asked(void)
{
    if (asked)
        exit(128 + asked);
}

void stop_failed(const char *fmt, ...)
{
    va_list ap;

    fputs("claudebench-bench: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(EXITCODE_UNAVAILABLE);
}

void stop_sleep_ms(unsigned ms)
{
    struct timespec rest = {ms / 1000, (long)(ms % 1000) * 1000000L};
    while (nanosleep(&rest, &rest) != 0)
        stop_if_asked();
    stop_if_asked();
}
