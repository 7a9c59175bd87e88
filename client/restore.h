/*
 * restore.h: the parts of `claudebench restore` (cmd_restore.c): a private redis-server that makes data of the snapshot, and the two
 * places where they go: the folder of the embedded server, or an external one.
 *
 * All return 0, or -1 with err->code an exit code.
 */
#ifndef CB_RESTORE_H
#define CB_RESTORE_H

#include "client/progress.h"
#include "common/options.h"
#include "common/redis_link.h"

#define RESTORE_SNAPSHOT "snapshot.rdb" /* in the folder of the private server */

/* ---- restore_server.c ---- */

struct restore_server {
    pid_t pid;
    char *dir;
    int dir_fd;
    struct redis_target target;
    struct redis_link *link;
};

/* Starts a server in `dir` on the snapshot there, and waits until that is loaded. It dies with us. */
int restore_server_start(struct restore_server *s, const char *dir, struct progress *progress,
                         struct cb_error *err);
/* Leaves the keys of the prefix, from database `db`, without what nobody is there for any more (replies, claims that wait), and has
 * lua/restore.lua make another namespace of them. *ret_keys: how many there are. */
int restore_server_mend(struct restore_server *s, const char *prefix, int64_t db,
                        const char *generation, int64_t *ret_keys, struct cb_error *err);
/* Writes them as append only file (<dir>/appendonlydir) and ends the server; all is on the disk then. */
int restore_server_write(struct restore_server *s, struct progress *progress, struct cb_error *err);
void restore_server_done(struct restore_server *s); /* kills it; accepts a struct of zeroes */

/* ---- restore_place.c ---- */

struct restore_place {
    char *dir;  /* redis.dir */
    char *data; /* its append only file */
    char *work; /* where the new one is made */
    char *kept; /* what the data that were there are called now; NULL: there were none */
    int owner_fd;
    int lock_fd;
    bool has_data;
};

/* Takes the folder of the embedded server for us alone, as its owner when we are root, and makes an empty working folder in it. */
int restore_place_open(struct restore_place *p, const struct options *opts, bool force,
                       struct cb_error *err);
/* Puts work/appendonlydir in the place of the data, at once. */
int restore_place_exchange(struct restore_place *p, struct cb_error *err);
void restore_place_done(struct restore_place *p);
/* A folder and all in it; what is not there is removed already. */
void restore_remove_tree(const char *path);

/* ---- restore_copy.c ---- */

/* Whether all keys of this namespace have one place there. In a Cluster they have not, unless the prefix has a hash tag: then some would be
 * copied, and others refused. */
int restore_copy_check_slot(struct redis_link *to, const char *prefix, struct cb_error *err);
/* How many replicas that server has; 0, too, when its user may not ask. */
int64_t restore_copy_replicas(struct redis_link *to);
/* Waits until so many have all that was written on this link. A user who may not wait does not. */
int restore_copy_await(struct redis_link *to, int64_t replicas, struct cb_error *err);
/* Whether the external server has nothing of this namespace yet. */
int restore_copy_check(struct redis_link *to, const char *prefix, struct cb_error *err);
/* All keys of the private server, with their times to live; cb:meta last, as long as it is not there no daemon has begun. */
int restore_copy(struct redis_link *from, struct redis_link *to, const char *prefix, int64_t keys,
                 struct progress *progress, struct cb_error *err);

#endif
