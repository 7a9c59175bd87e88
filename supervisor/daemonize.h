/*
 * daemonize.h: into the background; the process that the user started stays until the daemon is ready.
 */
#ifndef CB_DAEMONIZE_H
#define CB_DAEMONIZE_H

#include <stdbool.h>

/* What the daemon may take to be ready before it lets its starter go. */
enum { DAEMONIZE_WAIT_MS = 10000 };

/*
 * Forks. Returns in the child, which leads a new session and must say how it went, or exit. The parent
 * does not return: it exits 0 when the child is ready, with the child's exit code when it ends before,
 * and 0 with a warning when the child says that it is not ready yet.
 */
void daemonize_start(void);
/* The same state after an upgrade in place: in the background already, and nobody waits. */
void daemonize_resume(void);
/* Tells the waiting parent, and points stdin, stdout and stderr at /dev/null. Do nothing the second time,
 * or when there was no daemonize_start(). `why`: one line. */
void daemonize_ready(void);
void daemonize_not_ready(const char *why);
/* True in the background, before and after daemonize_ready(). */
bool daemonize_is_on(void);

#endif
