/*
 * redis_dir.h: the folder of the embedded redis-server: its locks, passwords and log.
 */
#ifndef CB_REDIS_DIR_H
#define CB_REDIS_DIR_H

#include "common/options.h"

struct redis_dir {
    char *path;
    char *socket; /* of redis.url */
    char *lock_path;
    char *log_path;
    char *fix_hint; /* the command that mends damaged data */
    int owner_fd;   /* supervisor.lock */
    char daemon_hash[65];
    char client_hash[65];
    char backup_hash[65];
};

/* Creates what is missing and takes supervisor.lock. `shared`: the group may reach client.password.
 * Returns 0, or -1 (err->code is an exit code). */
int redis_dir_open(struct redis_dir *d, const struct options *opts, bool shared,
                   struct cb_error *err);
/* Whether redis_dir_open() would find what it needs; makes nothing, and who holds the locks is no matter. Returns the same. */
int redis_dir_check(const struct options *opts, struct cb_error *err);
void redis_dir_done(struct redis_dir *d); /* accepts a struct of zeroes with owner_fd -1 */
/* The lock that redis-server inherits: the fd, or -1 when somebody holds it. */
int redis_dir_lock(const struct redis_dir *d, struct cb_error *err);
/* Makes the folder of the socket, if it is gone. Returns 0, or -1. */
int redis_dir_make_run(const struct redis_dir *d, bool shared, struct cb_error *err);
/* Keeps redis.log bounded: above 1 MiB it becomes redis.log.1. */
void redis_dir_rotate_log(const struct redis_dir *d);

#endif
