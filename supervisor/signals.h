/*
 * signals.h: signals as events of the loop (signalfd).
 */
#ifndef CB_SIGNALS_H
#define CB_SIGNALS_H

#include "common/err.h"

#include <event2/event.h>

struct signals;

/* A sender: the kernel. 0 is one outside of our pid namespace. */
enum { SIGNALS_KERNEL = -1 };

typedef void signals_fn(void *arg, int sig, pid_t sender);

/* Blocks the signals that we handle, ignores PIPE, and delivers them to fn. 0, or -1. */
int signals_open(struct event_base *base, signals_fn *fn, void *arg, struct signals **ret,
                 struct cb_error *err);
void signals_free(struct signals *s); /* accepts NULL; the signals stay blocked */

#endif
