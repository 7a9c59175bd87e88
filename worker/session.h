/*
 * session.h: a worker's connections to Redis.
 *
 * One link carries everything in the good case; the second one, opened when it is first needed, repairs
 * what failed while the first may be blocked in XREADGROUP. After a lost connection session_restore()
 * makes the world whole again: the old connection is killed on the server (a pipelined read of a closed
 * socket still takes entries), the group exists, and the caller then commits what it has in hand and
 * says session_hand_on() for entries that never reached it.
 */
#ifndef CB_WORKER_SESSION_H
#define CB_WORKER_SESSION_H

#include "common/backoff.h"
#include "common/connect.h"
#include "common/log.h"
#include "common/scripts.h"
#include "common/stream_id.h"
#include "worker/outage.h"
#include "worker/supervised.h"

/* In err->code, beside enum redis_fault: the data is not for this version. */
enum { SESSION_UNSUITABLE = 1000 };

struct session {
    const struct options *opts;
    struct supervised *sup;
    struct redis_target target;
    struct redis_link *link;   /* NULL while Redis is away */
    struct redis_link *second; /* NULL until needed */
    bool is_repairing;         /* `second` is being opened, or a call on it is under way */
    bool is_unblock_due;       /* …and session_unblock() waits for its end */
    int64_t link_id;           /* CLIENT ID of `link`, kept after its loss */
    char *consumer;
    char *stream;
    struct backoff backoff;
    struct outage outage;
    struct log_repeat commit_trouble; /* what failed commits have said */
};

int session_init(struct session *s, const struct options *opts, struct supervised *sup,
                 const char *domain, const char *consumer, struct cb_error *err);
void session_done(struct session *s);

/* (Re)connects and makes sure that the group exists; waits for Redis with full jitter for as long as it
 * takes, beating: also for one that refuses our password or rights, which its operator may put right (the
 * password file is read again). Returns 0, or -1 when the worker is to drain before it could, or when waiting is
 * of no use: err->code SESSION_UNSUITABLE. */
int session_restore(struct session *s, struct cb_error *err);
/* Drops both links: the next use restores them. */
void session_drop(struct session *s);
/* The second link, opened if need be; NULL with *err when Redis is away. */
struct redis_link *session_second(struct session *s, struct cb_error *err);
/* XGROUP CREATE from id 0, and the stream with it; fine when it exists. */
int session_create_group(struct session *s, struct redis_link *link, struct cb_error *err);
/* Hands on what is pending on our own consumer: entries that a lost connection took with it. `blame` as
 * lua/requeue.lua has it: an entry to charge with a crash by `how`, "" = each is charged a redelivery, "*" =
 * none is charged. */
int session_hand_on(struct session *s, const char *blame, const char *how, struct cb_error *err);
/* The oldest entry that is pending on our own consumer, "" when there is none. */
int session_oldest_pending(struct session *s, char ret_entry[STREAM_ID_SIZE], struct cb_error *err);
/* Makes a blocked XREADGROUP on the first link return at once (for draining). May be called from the idle
 * hook of any call: while the second link is in use it is put off to that call's end. */
void session_unblock(struct session *s);
/* scripts_run() on the second link. */
int session_repair(struct session *s, struct redis_link *second, struct script_call *call,
                   reply_t **ret_reply, struct cb_error *err);

#endif
