/*
 * pidfile.c: see pidfile.h. The file is removed at the end while its lock is held; whoever opened it in
 * between finds that the name is gone or another file's, and tries again.
 */
#include "common/compat.h"
#include "supervisor/pidfile.h"

#include "common/exitcode.h"
#include "common/mem.h"
#include "common/lockfile.h"

#include <sys/stat.h>

enum { OPEN_TRIES = 8 };

static bool is_still_there(const char *path, int fd)
{
    struct stat here;
    struct stat named;

    return fstat(fd, &here) == 0 && stat(path, &named) == 0 && here.st_dev == named.st_dev &&
           here.st_ino == named.st_ino;
}

static int lock(const char *path, struct cb_error *err)
{
    pid_t holder = 0;

    for (int i = 0; i < OPEN_TRIES; i++) {
        int fd = lockfile_open(path, &holder, err);
        if (fd >= 0 && is_still_there(path, fd))
            return fd;
        if (fd < 0 && err->code == EWOULDBLOCK)
            return cb_error_set(err, EXITCODE_TEMPFAIL, "already running, pid %ld (%s)",
                                (long)holder, path);
        if (fd < 0) {
            err->code = EXITCODE_CONFIG;
            return -1;
        }
        close(fd);
    }
    return cb_error_set(err, EXITCODE_TEMPFAIL, "%s: removed while it was being opened", path);
}

void pidfile_inherit(struct pidfile *p, const char *path, int fd)
{
    p->path = mem_strdup(path);
    p->fd = fd;
}

pid_t pidfile_holder(const char *path)
{
    struct cb_error ignored;
    pid_t holder = 0;
    int fd = lockfile_open(path, &holder, &ignored);

    if (fd >= 0)
        close(fd);
    return holder;
}

int pidfile_open(struct pidfile *p, const char *path, struct cb_error *err)
{
    int fd = lock(path, err);

    if (fd < 0)
        return -1;
    if (fchmod(fd, 0644) < 0 || lockfile_write_pid(fd, path, err) < 0) {
        close(fd);
        return cb_error_set(err, EXITCODE_CONFIG, "%s: cannot be written", path);
    }
    p->path = mem_strdup(path);
    p->fd = fd;
    return 0;
}

bool pidfile_is_there(const struct pidfile *p)
{
    return p->fd >= 0 && is_still_there(p->path, p->fd);
}

void pidfile_close(struct pidfile *p)
{
    if (p->fd >= 0) {
        if (is_still_there(p->path, p->fd))
            unlink(p->path);
        close(p->fd);
    }
    free(p->path);
    *p = (struct pidfile)PIDFILE_INIT;
}
