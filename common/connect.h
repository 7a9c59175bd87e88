/*
 * connect.h: from the configuration to a Redis target: which address, which user, whose password.
 */
#ifndef CB_CONNECT_H
#define CB_CONNECT_H

#include "common/backoff.h"
#include "common/options.h"
#include "common/redis_link.h"

enum connect_role { CONNECT_DAEMON, CONNECT_CLIENT };

/*
 * Embedded Redis: the unix socket of redis.url, the ACL user `daemon` or `client` and its password
 * file in redis.dir. External: redis.url, or the sentinels; redis.user and redis.password_file,
 * or redis.client_user and redis.client_password_file. On success the caller
 * owns *ret (redis_target_done). Returns 0, or -1 with err->code an enum exitcode.
 */
int connect_target(const struct options *opts, enum connect_role role, struct redis_target *ret,
                   struct cb_error *err);

/* Reads the password file again: it may have been put right. Returns whether the password is another now; the old
 * one stays when the file cannot be read. No link may be using the target. */
bool connect_renew_password(const struct options *opts, enum connect_role role,
                            struct redis_target *target);

/* The pauses between attempts to connect, with full jitter. Over a network there may be hundreds of clients that
 * have lost the same server at the same moment: their first pause is spread over two seconds already. Daemons come back at once: they
 * are few, and one that paused for long would be taken for dead (cluster.offline_ms). With sentinels pauses stay so short that a promotion is found soon. */
void connect_backoff(const struct redis_target *target, enum connect_role role,
                     struct backoff *ret);
/* For a client, before a pause: whether it only waits for something to come (events, a task), so that nobody waits for it. Over a
 * network its first pause is spread over five seconds then: hundreds of clients are such ones. With a request in hand it is two. */
void connect_backoff_idle(const struct redis_target *target, bool is_idle, struct backoff *b);

/* Reads a password file: its first line, at most 512 bytes, not empty; mem_strdup'ed. 0 or -1. */
int connect_read_password(const char *path, char **ret_password, struct cb_error *err);

#endif
