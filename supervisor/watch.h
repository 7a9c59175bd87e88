/*
 * watch.h: the watchdog: a worker that does not beat is hung, and is killed and replaced.
 */
#ifndef CB_WATCH_H
#define CB_WATCH_H

#include "supervisor/service.h"

struct watch;

struct watch *watch_new(struct services *services);
void watch_free(struct watch *w); /* accepts NULL */

#endif
