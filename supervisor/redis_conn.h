/*
 * redis_conn.h: the supervisor's connection to Redis, on the event loop: nothing here ever waits.
 *
 * It reconnects by itself, with full jitter (connect_backoff()). A command whose answer does not come
 * within the target's time-out drops the connection. Each command has a callback that is called exactly
 * once: with the reply, or with NULL when the connection was lost and the outcome is unknown.
 */
#ifndef CB_REDIS_CONN_H
#define CB_REDIS_CONN_H

#include "common/redis_link.h"
#include "common/scoreboard.h"
#include "common/scripts.h"
#include "supervisor/redis_info.h"

#include <event2/event.h>

struct redis_conn;

/* reply NULL: lost. The reply is the connection's, valid during the call. */
typedef void redis_conn_fn(void *arg, const reply_t *reply);

struct redis_conn_hooks {
    void *arg;
    bool is_quiet; /* it logs nothing: another connection to the same server does */
    /* A server has accepted our password (it may still be loading). Return false to hang up. */
    bool (*contact)(void *arg, int fd);
    /* INFO of a new connection. Return -1, with the reason, to hang up and try again later. */
    int (*accept)(void *arg, const struct redis_info *info, struct cb_error *err);
    /* Commands may be sent from now on. */
    void (*up)(void *arg);
    /* The last try was refused (user, password); another follows at once. The target may be changed now. */
    void (*refused)(void *arg);
    /* The state has changed (also called after up). */
    void (*changed)(void *arg);
};

/* `target` and `client_name` are borrowed. */
struct redis_conn *redis_conn_new(struct event_base *base, const struct redis_target *target,
                                  const char *client_name, const struct redis_conn_hooks *hooks);
void redis_conn_free(struct redis_conn *c); /* accepts NULL; callbacks get NULL */

/* Begins to connect, or, when it waits for its next try, tries in `ms` and starts the pauses anew. */
void redis_conn_start(struct redis_conn *c, int64_t ms);
/* Hangs up for good. */
void redis_conn_stop(struct redis_conn *c);

enum redis_state redis_conn_state(const struct redis_conn *c);
bool redis_conn_is_up(const struct redis_conn *c);
int64_t redis_conn_since_ms(
    const struct redis_conn *c); /* wall time of the last change of the state */
const char *redis_conn_error(const struct redis_conn *c); /* why it is not up; "" when it is */
/* …because Redis refuses user, password or rights. */
bool redis_conn_is_refused(const struct redis_conn *c);

/* Asserts that the connection is up. */
void redis_conn_call(struct redis_conn *c, redis_conn_fn *fn, void *arg, ...)
    __attribute__((sentinel));
/* The same for a script: on NOSCRIPT it is loaded and called again, unseen by the caller. */
void redis_conn_script(struct redis_conn *c, struct script_call *call, redis_conn_fn *fn,
                       void *arg);

#endif
