/*
 * daemonize.h: into the background; the process that the user started stays until the daemon is ready.
 */
#ifndef CB_DAEMONIZE_H
#define CB_DAEMONIZE_H

#include <stdbool.h>

enum {
    DAEMONIZE_WAIT_MS = 30000
}; /* after that the starter says that it is not ready yet, and leaves */

/*
 * Forks. Returns in the child, which leads a new session and must call daemonize_ready() or exit. The
 * parent does not return: it exits 0 when the child is ready, with the child's exit code when it ends
 * before, and 0 with a warning when neither has come after DAEMONIZE_WAIT_MS.
 */
void daemonize_start(void);
/* Tells the waiting parent, and points stdin, stdout and stderr at /dev/null. Does nothing the second
 * time, or when there was no daemonize_start(). */
void daemonize_ready(void);
/* True in the background, before and after daemonize_ready(). */
bool daemonize_is_on(void);

#endif
