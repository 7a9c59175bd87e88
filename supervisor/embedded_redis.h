/*
 * embedded_redis.h: the private redis-server, when redis.embedded is true: started, watched, restarted,
 * stopped at the end. One that an earlier supervisor has left running is adopted.
 *
 * <redis.dir>/lock is locked by the supervisor and inherited by redis-server, so that it is held as long
 * as either lives: two servers on one append-only file destroy it. <redis.dir>/supervisor.lock is the
 * supervisor's alone; who cannot have it has no business here.
 */
#ifndef CB_EMBEDDED_REDIS_H
#define CB_EMBEDDED_REDIS_H

#include "common/options.h"
#include "supervisor/redis_info.h"

#include <event2/event.h>

struct embedded_redis;

struct embedded_redis_hooks {
    void *arg;
    void (*started)(void *arg); /* a server was started: connecting makes sense soon */
    void (*failed)(void *arg, int code,
                   const char *why); /* it cannot be had; code is an exit code */
    void (*gone)(void *arg);         /* after embedded_redis_stop: it has ended */
    void (*changed)(void *arg);
};

/*
 * Takes the folder: creates it, locks it, draws the passwords at the first start, looks for the program.
 * `shared` lets the group through to the client's password. Returns 0, or -1 (err->code is an exit code).
 */
int embedded_redis_open(struct event_base *base, const struct options *opts, bool shared,
                        const struct embedded_redis_hooks *hooks, struct embedded_redis **ret,
                        struct cb_error *err);
/* The options in force have changed: takes what concerns the restarts. */
void embedded_redis_options_changed(struct embedded_redis *e);
void embedded_redis_free(struct embedded_redis *e); /* accepts NULL; the server is left alone */

/* Starts a server, or looks for the one that holds the lock (found by embedded_redis_contact). */
void embedded_redis_launch(struct embedded_redis *e);
/* A server has accepted our password over the socket `fd`. False: it is not the one we look after. */
bool embedded_redis_contact(struct embedded_redis *e, int fd);
/* The INFO of that connection. 0, or -1: it is another process's. */
int embedded_redis_accept(struct embedded_redis *e, const struct redis_info *info,
                          struct cb_error *err);
/* A child was reaped; true when it was our server. */
bool embedded_redis_reaped(struct embedded_redis *e, pid_t pid, int status);
/* Ends it in order (SIGTERM); hooks.gone tells when. */
void embedded_redis_stop(struct embedded_redis *e);
void embedded_redis_kill(struct embedded_redis *e);

pid_t embedded_redis_pid(const struct embedded_redis *e); /* 0 = none */
bool embedded_redis_is_adopted(const struct embedded_redis *e);
/* Why it does not start, in a sentence for people; NULL when it does. */
const char *embedded_redis_problem(const struct embedded_redis *e);
/* Its socket is gone and cannot be made anew, which is tried every few seconds: why; "" = nothing is wrong. Accepts NULL. */
const char *embedded_redis_socket_problem(const struct embedded_redis *e);
unsigned embedded_redis_restarts(const struct embedded_redis *e);

#endif
