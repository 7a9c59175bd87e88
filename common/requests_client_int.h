/*
 * requests_client_int.h: what the parts of the request client share; for requests_client*.c only.
 *
 *   requests_client.c        its life, submitting, time, the event loop's and the blocking side
 *   requests_client_link.c   the connection: writing requests, reading replies, losing it
 *   requests_client_answer.c from an open request to a reply that can be taken
 */
#ifndef CB_REQUESTS_CLIENT_INT_H
#define CB_REQUESTS_CLIENT_INT_H

#include "common/requests_client.h"

#include "common/backoff.h"

enum { REQUESTS_ID_PREFIX = 10, REQUESTS_TOKEN = 32 };

/* What a reply of Redis on the connection belongs to, in the order of the commands. */
enum expect_kind { EXPECT_LOAD, EXPECT_ENTRY, EXPECT_POP };

struct expect {
    enum expect_kind kind;
    unsigned slot;
    uint64_t seq;
};

struct request {
    struct request *prev, *next;
    unsigned slot;
    uint64_t seq;
    uint64_t tag;
    char id[48];
    char *method;
    char *params;
    size_t params_len;
    char idem[REQUESTS_IDEM_SIZE];
    char ttl[24];
    unsigned flags;      /* enum method_flag */
    int64_t deadline_ms; /* monotonic; 0 = none */
    int64_t started_us;
    bool is_open;
    bool is_queued; /* on the present connection */
    bool is_sent;   /* on any connection, ever */
};

struct ready {
    struct ready *prev, *next;
    struct requests_reply reply;
};

struct requests_client {
    const struct redis_target *target;
    char *prefix, *actor, *session, *agent, *trace, *client_name;
    int pop_ms;
    char id_prefix[REQUESTS_ID_PREFIX + 1];
    uint64_t last_seq;

    struct request *slots;
    unsigned window;
    unsigned *free_slots;
    unsigned free_count;
    struct request *open; /* in the order of submission */
    struct ready *ready;
    unsigned ready_count;

    struct redis_link *link;
    bool is_greeted; /* a reply came on this connection */
    bool has_submit_script;
    char token[REQUESTS_TOKEN + 1];
    char *reply_key;
    struct expect *expects; /* ring */
    size_t expect_head, expect_len, expect_cap;
    unsigned pops; /* outstanding on the connection */
    int64_t last_io_ms;

    struct backoff backoff;
    int64_t retry_at_ms;
    unsigned losses;
    char why[256]; /* the last connection error */
};

/* ---- requests_client_answer.c ---- */

/* Frees what an open request holds; its slot is free again. */
void request_close(struct requests_client *rc, struct request *rq);
/* The open request of a slot, or NULL when it is another one by now. */
struct request *request_of(struct requests_client *rc, unsigned slot, uint64_t seq);
/* No reply: the deadline passed. */
void answer_nothing(struct requests_client *rc, struct request *rq);
/* An error that we say ourselves, in the shape of the wire. `data` is JSON. */
void answer_refused(struct requests_client *rc, struct request *rq, int code, const char *message,
                    const char *data);
/* One element of the reply list. What is not a reply to an open request of ours is ignored. */
void answer_take(struct requests_client *rc, const char *text, size_t len);

/* ---- requests_client_link.c ---- */

/* Draws the name of the reply list. */
void wire_new_token(struct requests_client *rc);
/* Starts to connect; a failure counts as a loss. */
void wire_start(struct requests_client *rc);
/* The connection is of no use any more; the next one is tried after a while. `why` may be NULL. */
void wire_lost(struct requests_client *rc, const char *why);
/* Queues what is new, and one pop behind it. */
void wire_queue(struct requests_client *rc);
/* Move bytes; either may lose the connection. */
void wire_read(struct requests_client *rc);
void wire_write(struct requests_client *rc);

#endif
