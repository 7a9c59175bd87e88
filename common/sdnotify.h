/*
 * sdnotify.h: sd_notify(3) without libsystemd: tells the service manager how the daemon is.
 *
 * Nothing happens when NOTIFY_SOCKET is not set. The environment is read once, and the variables are
 * removed from it, so that no child believes that it is meant.
 */
#ifndef CB_SDNOTIFY_H
#define CB_SDNOTIFY_H

#include <stdint.h>

/* Opens the socket that NOTIFY_SOCKET names, if any. */
void sdnotify_init(void);
void sdnotify_done(void);
/* Puts the variables back, for a program that is executed in our place. */
void sdnotify_restore_env(void);
/* Sends e.g. "READY=1\nSTATUS=…". Never blocks; a failure is nobody's business. */
void sdnotify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* How often WATCHDOG=1 is expected, in ms (half of what systemd allows); 0: not at all. */
int64_t sdnotify_watchdog_ms(void);

#endif
