/*
 * reap.h: collects dead children (SIGCHLD), and tells their owners.
 */
#ifndef CB_REAP_H
#define CB_REAP_H

#include "supervisor/service.h"

/* Called for a pid that is no worker; true when it was known. */
typedef bool reap_other_fn(void *arg, pid_t pid, int status);

/* Reaps all that have died; never blocks. */
void reap_children(struct services *services, reap_other_fn *other, void *arg);

#endif
