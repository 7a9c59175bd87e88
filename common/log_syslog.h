/*
 * log_syslog.h: lines to the syslog of this machine. syslog(3) waits when its receiver does not read, and a daemon must
 * not stand still because the one that writes its log does: here a line that is not taken at once is lost and counted.
 */
#ifndef CB_LOG_SYSLOG_H
#define CB_LOG_SYSLOG_H

#include <stdbool.h>
#include <stddef.h>

/* Somebody listens on /dev/log. */
bool log_syslog_is_there(void);
/* One line: `priority` is facility and level. False when it is lost; a receiver that was started anew is found by the next line. */
bool log_syslog_send(int priority, const char *program, int pid, const char *text);
void log_syslog_close(void);

#endif
