/*
 * redis_dir.c: see redis_dir.h.
 */
#include "common/compat.h"
#include "supervisor/redis_dir.h"

#include "common/exitcode.h"
#include "common/mem.h"
#include "common/redis_link.h"
#include "common/lockfile.h"
#include "supervisor/secret.h"

#include <sys/stat.h>
#include <sys/un.h>

enum { LOG_MAX = 1 << 20 };

int redis_dir_make_run(const struct redis_dir *d, bool shared, struct cb_error *err)
{
    char *run CB_CLEANUP(mem_free_ptr) = paths_dirname(d->socket);

    return paths_make_dir(run, shared ? 0755 : 0700, err);
}

static int make_dirs(const struct redis_dir *d, bool shared, struct cb_error *err)
{
    char *parent CB_CLEANUP(mem_free_ptr) = paths_dirname(d->path);
    mode_t open_mode = shared ? 0755 : 0700;

    if (paths_make_dir(parent, open_mode, err) < 0 ||
        paths_make_dir(d->path, shared ? 0710 : 0700, err) < 0 ||
        redis_dir_make_run(d, shared, err) < 0) {
        if (err)
            err->code = EXITCODE_CONFIG;
        return -1;
    }
    return 0;
}

static int take_ownership(struct redis_dir *d, struct cb_error *err)
{
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/supervisor.lock", d->path);
    pid_t holder = 0;

    d->owner_fd = lockfile_open(path, &holder, err);
    if (d->owner_fd >= 0)
        return lockfile_write_pid(d->owner_fd, path, err);
    if (!err || err->code != EWOULDBLOCK) {
        if (err)
            err->code = EXITCODE_CONFIG;
        return -1;
    }
    return cb_error_set(err, EXITCODE_TEMPFAIL, "%s is used by another claudebenchd, pid %ld",
                        d->path, (long)holder);
}

static int load_password(const struct redis_dir *d, const char *user, mode_t mode, char hash[65],
                         struct cb_error *err)
{
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/%s.password", d->path, user);
    char *password = NULL;

    if (secret_load(path, mode, &password, err) < 0) {
        if (err)
            err->code = EXITCODE_CONFIG;
        return -1;
    }
    secret_hash(password, hash);
    explicit_bzero(password, strlen(password));
    free(password);
    return 0;
}

static int find_socket(struct redis_dir *d, const char *url, struct cb_error *err)
{
    struct redis_target target = {0};
    struct sockaddr_un addr;

    if (redis_target_parse(url, &target, err) < 0)
        return cb_error_set(err, EXITCODE_CONFIG, "redis.url: not an address");
    if (target.unix_path)
        d->socket = mem_strdup(target.unix_path);
    redis_target_done(&target);
    if (!d->socket)
        return cb_error_set(err, EXITCODE_CONFIG, "redis.url: redis.embedded wants unix:///path");
    if (strlen(d->socket) >= sizeof addr.sun_path)
        return cb_error_set(err, EXITCODE_CONFIG,
                            "redis.url: the path of the socket is longer than %zu",
                            sizeof addr.sun_path - 1);
    return 0;
}

int redis_dir_open(struct redis_dir *d, const struct options *opts, bool shared,
                   struct cb_error *err)
{
    *d = (struct redis_dir){.owner_fd = -1};
    d->path = mem_strdup(opts->redis.dir);
    d->lock_path = mem_printf("%s/lock", opts->redis.dir);
    d->log_path = mem_printf("%s/redis.log", opts->redis.dir);
    d->fix_hint = mem_printf("copy the folder, then run: redis-check-aof --fix "
                             "%s/appendonlydir/appendonly.aof.manifest",
                             opts->redis.dir);
    if (find_socket(d, opts->redis.url, err) < 0 || make_dirs(d, shared, err) < 0 ||
        take_ownership(d, err) < 0 || load_password(d, "daemon", 0600, d->daemon_hash, err) < 0 ||
        load_password(d, "client", 0640, d->client_hash, err) < 0 ||
        load_password(d, "backup", 0600, d->backup_hash, err) < 0)
        return -1;
    return 0;
}

static int check_files(const char *dir, struct cb_error *err)
{
    static const char *const locks[] = {"supervisor.lock", "lock"};
    static const char *const users[] = {"daemon", "client", "backup"};

    for (size_t i = 0; i < CB_ARRAY_LEN(locks); i++) {
        char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/%s", dir, locks[i]);
        if (lockfile_check(path, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < CB_ARRAY_LEN(users); i++) {
        char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/%s.password", dir, users[i]);
        if (secret_check(path, err) < 0)
            return -1;
    }
    return 0;
}

int redis_dir_check(const struct options *opts, struct cb_error *err)
{
    struct redis_dir d = {.owner_fd = -1};
    int status = find_socket(&d, opts->redis.url, err);

    if (status == 0) {
        char *run CB_CLEANUP(mem_free_ptr) = paths_dirname(d.socket);
        status = paths_check_dir(opts->redis.dir, err) < 0 || paths_check_dir(run, err) < 0 ||
                         check_files(opts->redis.dir, err) < 0
                     ? -1
                     : 0;
        if (status < 0)
            err->code = EXITCODE_CONFIG;
    }
    redis_dir_done(&d);
    return status;
}

void redis_dir_done(struct redis_dir *d)
{
    if (d->owner_fd >= 0)
        close(d->owner_fd);
    d->owner_fd = -1;
    free(d->path);
    free(d->socket);
    free(d->lock_path);
    free(d->log_path);
    free(d->fix_hint);
    d->path = d->socket = d->lock_path = d->log_path = d->fix_hint = NULL;
}

int redis_dir_lock(const struct redis_dir *d, struct cb_error *err)
{
    return lockfile_open(d->lock_path, NULL, err);
}

void redis_dir_rotate_log(const struct redis_dir *d)
{
    char *old CB_CLEANUP(mem_free_ptr) = mem_printf("%s.1", d->log_path);
    struct stat st;

    if (stat(d->log_path, &st) == 0 && st.st_size > LOG_MAX)
        (void)rename(d->log_path, old);
}
