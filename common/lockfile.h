/*
 * lockfile.h: files that are locked for life (flock), and may say who holds them.
 *
 * A lock belongs to the open file: it lives as long as any process that has inherited the descriptor.
 */
#ifndef CB_LOCKFILE_H
#define CB_LOCKFILE_H

#include "common/err.h"

#include <sys/types.h>

/*
 * Opens (0600 when new, close-on-exec) and locks. Returns the fd, or -1: err->code is EWOULDBLOCK when
 * somebody else holds the lock (then *ret_pid is what the file says, waiting up to a second for it to say something;
 * 0 if nothing), else an errno.
 */
int lockfile_open(const char *path, pid_t *ret_pid, struct cb_error *err);
/* Whether the file, when there is one, could be opened; touches nothing, and who holds the lock is no matter. Returns 0 or -1
 * (err->code is an errno). */
int lockfile_check(const char *path, struct cb_error *err);
/* Writes our pid, and nothing else, into it. Returns 0 or -1. */
int lockfile_write_pid(int fd, const char *path, struct cb_error *err);

#endif
