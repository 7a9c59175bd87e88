/*
 * redis_link_int.h: what redis_link.c (life, handshake) and redis_link_io.c (bytes, waiting) share.
 * Nobody else includes it.
 */
#ifndef CB_REDIS_LINK_INT_H
#define CB_REDIS_LINK_INT_H

#include "common/buf.h"
#include "common/redis_cluster.h"
#include "common/redis_connect.h"
#include "common/redis_link.h"
#include "common/redis_link_reader.h"
#include "common/redis_sentinel.h"

enum link_state {
    LINK_SEARCHING,  /* the sentinels are asked where the master is */
    LINK_CONNECTING, /* the socket says when */
    LINK_RETRY,      /* unix: the server's queue was full; asked again every LINK_RETRY_MS */
    LINK_HANDSHAKE,  /* connected; its commands are queued or under way */
    LINK_READY,
    LINK_LOST, /* `error` says why */
};

enum handshake_step {
    STEP_AUTH,
    STEP_SELECT,
    STEP_NAME,
    STEP_ID,
    STEP_ROLE,
    STEP_PING,
    STEP_OWNER, /* of the slot: is it this node? */
    STEP_NODES, /* who else there is */
    STEP_COUNT
};

enum { LINK_RETRY_MS = 20 };

struct redis_link {
    const struct redis_target *target;
    enum link_state state;
    int fd;
    struct cb_error error;
    struct redis_node node;  /* TCP: where it leads; port 0: to the target's unix socket */
    bool is_seed;            /* the address of redis.url */
    const char *client_name; /* until it is open, or NULL */

    struct redis_sentinel_search *search; /* LINK_SEARCHING: owns fd */
    struct addrinfo *addresses;           /* TCP: what the name resolved to, until connected */
    struct addrinfo *address;             /* the one being tried */
    unsigned addresses_left;              /* to try after that one */

    enum handshake_step steps[STEP_COUNT]; /* the answers still due, first at `step` */
    unsigned step;
    unsigned nsteps;
    int64_t id;

    struct buf out; /* written up to out_at */
    size_t out_at;
    bool is_out_closed; /* the peer takes no more; its last words are still read */
    size_t nawaited;    /* replies due to the caller, `ready` included */
    reply_t *ready;     /* taken, and kept back until all is written */
    struct redis_link_reader reader;

    redis_idle_fn *idle;
    void *idle_arg;
    int64_t idle_at_ms; /* when the hook was called last */
    int wake_fd;
    unsigned wakes;    /* calls of the hook for the wake fd since the last real wait */
    bool is_listening; /* replies may come that nobody asked for */
    bool is_late;      /* the last wait began after its deadline */
};

/* ---- redis_link.c ---- */

/* The link is lost from here on, for this reason (the first one stays). Returns -1, err filled. */
int link_lose(struct redis_link *link, enum redis_fault fault, struct cb_error *err,
              const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* -1 with the reason when the link is lost, else 0. */
int link_check(const struct redis_link *link, struct cb_error *err);
/* The sentinels have something to say. 0, or -1 (lost). */
int link_search(struct redis_link *link, struct cb_error *err);
/* The socket of a pending connection has an answer. 0, or -1 (lost). */
int link_connected(struct redis_link *link, struct cb_error *err);
/* Asks again after LINK_RETRY. 0, or -1 (lost). */
int link_retry(struct redis_link *link, struct cb_error *err);
/* An answer to the handshake, freed here. 0, or -1 (lost). */
int link_handshake_reply(struct redis_link *link, reply_t *reply, struct cb_error *err);
/* What an error reply says about the cluster is noted. 0, or -1 (lost): the prefix has no hash tag. */
int link_cluster_error(struct redis_link *link, const reply_t *reply, struct cb_error *err);

/* ---- redis_link_io.c ---- */

/* Encodes one command behind what is queued, without counting its reply. */
void link_encode(struct redis_link *link, int argc, const char *const *argv, const size_t *lens);
/* Writes what the socket takes. 0, or -1 (lost). */
int link_write(struct redis_link *link, struct cb_error *err);
/* The next reply to the caller's commands (NULL: none yet), the handshake's swallowed. 0 or -1. */
int link_next(struct redis_link *link, reply_t **ret_reply, struct cb_error *err);
/* Waits until something can be moved, the idle hook is due or the deadline passes, and receives.
 * 0, or -1: lost, or (the link not being lost) the hook has said stop. */
int link_wait(struct redis_link *link, int64_t deadline_ms, struct cb_error *err);

#endif
