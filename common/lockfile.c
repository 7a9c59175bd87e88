/*
 * lockfile.c: see lockfile.h. A lock file is never removed while its lock may be held, else two holders
 * could each lock a file of that name.
 */
#include "common/compat.h"
#include "common/lockfile.h"

#include "common/paths.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

enum {
    PID_WAIT_MS = 1000,
    PID_STEP_MS = 10,
};

/* Its holder writes it right after it has the lock: that is waited for. */
static pid_t read_pid(int fd)
{
    const struct timespec step = {.tv_nsec = PID_STEP_MS * 1000000L};
    char text[24];

    for (int ms = 0; ms < PID_WAIT_MS; ms += PID_STEP_MS) {
        ssize_t n = pread(fd, text, sizeof text - 1, 0);
        if (n > 0) {
            text[n] = '\0';
            return (pid_t)strtol(text, NULL, 10);
        }
        nanosleep(&step, NULL);
    }
    return 0;
}

int lockfile_open(const char *path, pid_t *ret_pid, struct cb_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return cb_error_set(err, errno, "%s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    int saved = errno;
    if (ret_pid)
        *ret_pid = saved == EWOULDBLOCK ? read_pid(fd) : 0;
    close(fd);
    return cb_error_set(err, saved, "%s: %s", path,
                        saved == EWOULDBLOCK ? "locked by another process" : strerror(saved));
}

int lockfile_check(const char *path, struct cb_error *err)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : cb_error_set(err, errno, "%s: %s", path, strerror(errno));
    if (S_ISLNK(st.st_mode))
        return cb_error_set(err, ELOOP, "%s: is a symbolic link", path);
    return paths_check_file(path, err);
}

int lockfile_write_pid(int fd, const char *path, struct cb_error *err)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());

    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len)
        return cb_error_set(err, errno, "%s: %s", path, strerror(errno));
    return 0;
}
