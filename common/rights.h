/*
 * rights.h: the Redis users, and the least that each may do (rights.def).
 *
 * The daemon's user, for the supervisor and its workers, has all keys of the prefix, the channels of its events, and only
 * commands that they send. The client's, for claudebench, adds to request streams without being able to read them, takes
 * replies from lists whose names it has drawn itself, and reads the public streams. Neither has KEYS, SCAN, FLUSH*, CONFIG
 * SET, DEBUG, SHUTDOWN, ACL. The third, of the embedded server only, takes backups and nothing else: SYNC gives all data, so
 * neither of the others has it.
 */
#ifndef CB_RIGHTS_H
#define CB_RIGHTS_H

#include "common/buf.h"

/* RIGHTS_DAEMON_ALONE: of a server that nobody else uses, with functions. */
enum rights_user { RIGHTS_DAEMON, RIGHTS_DAEMON_ALONE, RIGHTS_CLIENT, RIGHTS_BACKUP };

/* Appends "user NAME on #HASH …" and a newline, for redis.conf and ACL files. `hash`: the password's SHA-256 in
 * hexadecimal. A script's inner commands are checked like any other, so the line has what scripts do as well. */
void rights_put_user(struct buf *out, enum rights_user user, const char *name, const char *hash,
                     const char *prefix);

#endif
