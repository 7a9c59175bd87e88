/*
 * stop.h: how the bench ends before its time: with a message, or because somebody asked for it. Both go through
 * exit(), so that env.c takes the processes and the folder away.
 */
#ifndef CB_BENCH_STOP_H
#define CB_BENCH_STOP_H

#include "common/compat.h"

#include <stdbool.h>

/* SIGINT, SIGTERM and SIGHUP are noted from now on. */
void stop_on_signals(void);
/* A forked child dies of them again. */
void stop_signals_default(void);
/* Whether one of them has come. */
bool stop_is_asked(void);
/* Ends the program when one of them has come; called by every loop that waits. */
void stop_if_asked(void);
/* Prints "claudebench-bench: …" and ends the program, exit code 69. */
CB_NORETURN void stop_failed(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Sleeps; returns early (through stop_if_asked) on a signal. */
void stop_sleep_ms(unsigned ms);

#endif
