/*
 * pidfile.h: the file that holds our pid and is locked while we live.
 */
#ifndef CB_PIDFILE_H
#define CB_PIDFILE_H

#include "common/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct pidfile {
    char *path;
    int fd;
};
#define PIDFILE_INIT                                                                               \
    {                                                                                              \
        NULL, -1                                                                                   \
    }

/* Creates, locks and fills it. Returns 0, or -1 with err->code an exit code (EXITCODE_TEMPFAIL:
 * "already running, pid N"). */
int pidfile_open(struct pidfile *p, const char *path, struct cb_error *err);
/* The same with the descriptor of a file that an earlier program in our place has opened so. */
void pidfile_inherit(struct pidfile *p, const char *path, int fd);
/* Whether the file that we have locked is still the one at its path. */
bool pidfile_is_there(const struct pidfile *p);
/* Who holds the lock of the file at `path`, as the file says; 0 when that is not known, or nobody. */
pid_t pidfile_holder(const char *path);
/* Removes the file if it is ours, and lets the lock go. Accepts PIDFILE_INIT. */
void pidfile_close(struct pidfile *p);

#endif
