/*
 * setup.c: see setup.h.
 */
#include "common/compat.h"
#include "supervisor/setup.h"

#include "common/exitcode.h"
#include "common/mem.h"
#include "common/spawn.h"
#include "common/lockfile.h"
#include "supervisor/secret.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int make_dir(const char *path, bool is_system, struct cb_error *err)
{
    if (paths_make_dir(path, is_system ? 0755 : 0700, err) == 0)
        return 0;
    err->code = EXITCODE_CONFIG;
    return -1;
}

int setup_dir_of(const char *path, bool is_system, struct cb_error *err)
{
    char *dir CB_CLEANUP(mem_free_ptr) = paths_dirname(path);
    return make_dir(dir, is_system, err);
}

int setup_run_dirs(const struct options *opts, bool is_system, struct cb_error *err)
{
    return setup_dir_of(opts->supervisor.control_socket, is_system, err);
}

int setup_state_dir(const struct options *opts, bool is_system, int *ret_fd, char **ret_secret,
                    struct cb_error *err)
{
    const char *dir = opts->supervisor.state_dir;
    char *lock CB_CLEANUP(mem_free_ptr) = mem_printf("%s/claudebenchd.lock", dir);
    char *secret CB_CLEANUP(mem_free_ptr) = mem_printf("%s/instance.secret", dir);
    pid_t holder = 0;

    if (make_dir(dir, is_system, err) < 0)
        return -1;
    int fd = *ret_fd >= 0 ? *ret_fd : lockfile_open(lock, &holder, err);
    if (fd < 0 && err->code == EWOULDBLOCK)
        return cb_error_set(err, EXITCODE_TEMPFAIL, "already running, pid %ld (%s)", (long)holder,
                            dir);
    if (fd < 0 || lockfile_write_pid(fd, lock, err) < 0 ||
        secret_load(secret, 0600, ret_secret, err) < 0) {
        if (fd >= 0)
            close(fd);
        err->code = EXITCODE_CONFIG;
        return -1;
    }
    *ret_fd = fd;
    return 0;
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

int setup_worker_path(char **ret, struct cb_error *err)
{
    const char *named = getenv("CLAUDEBENCH_WORKER");
    char own_dir[PATH_MAX];

    if (named && *named) {
        if (named[0] != '/' || !is_program(named))
            return cb_error_set(err, EXITCODE_UNAVAILABLE,
                                "CLAUDEBENCH_WORKER=%s is not the absolute path of a program",
                                named);
        *ret = mem_strdup(named);
        return 0;
    }
    if (spawn_own_dir(own_dir, sizeof own_dir) == 0) {
        *ret = mem_printf("%s/claudebench-worker", own_dir);
        if (is_program(*ret))
            return 0;
        free(*ret);
    }
    *ret = mem_strdup(CB_LIBEXECDIR "/claudebench/claudebench-worker");
    if (is_program(*ret))
        return 0;
    free(*ret);
    *ret = NULL;
    return cb_error_set(err, EXITCODE_UNAVAILABLE,
                        "claudebench-worker was not found, neither beside "
                        "claudebenchd nor in " CB_LIBEXECDIR "/claudebench");
}

int setup_options_fd(const struct options *opts, struct cb_error *err)
{
    CB_CLEANUP(buf_done) struct buf text = BUF_INIT;
    int fd = memfd_create("claudebench-options", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    options_dump(opts, &text, false);
    if (fd < 0 || write(fd, text.data, text.len) != (ssize_t)text.len ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
        cb_error_set(err, EXITCODE_SOFTWARE, "memfd for options: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}
