/*
 * requests_client_int.h: what the parts of the request client share; for requests_client*.c only.
 *
 *   requests_client.c        its life, submitting, time, the event loop's and the blocking side
 *   requests_client_link.c   the connection: writing requests, reading replies, losing it
 *   requests_client_answer.c from an open request to a reply that can be taken
 *   requests_client_ack.c    replies that replicas have to confirm
 *   requests_client_wait.c   claims that wait for tasks on the other side
 */
#ifndef CB_REQUESTS_CLIENT_INT_H
#define CB_REQUESTS_CLIENT_INT_H

#include "common/requests_client.h"

#include "common/backoff.h"
#include "common/methods.h"

enum {
    REQUESTS_ID_PREFIX = 10,
    REQUESTS_TOKEN = 32,
    REQUESTS_LONG_POP_MS = 5000, /* of a pop that only claims wait for */
    REQUESTS_CONFIRM_MS = 1000,  /* for replicas; then the request is repeated */
};

/* What a reply of Redis on the connection belongs to, in the order of the commands. */
enum expect_kind { EXPECT_LOAD, EXPECT_ENTRY, EXPECT_POP, EXPECT_PING, EXPECT_WAIT };

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
    char ack_text[24];   /* "" = memory */
    unsigned flags;      /* enum method_flag */
    int64_t deadline_ms; /* monotonic; 0 = none */
    int64_t started_us;
    bool is_open;
    bool is_queued; /* on a present connection, `wire` */
    bool is_sent;   /* on any connection, ever */
    bool is_forced; /* the last time by the script that may run when memory is full */
    struct wire *wire;

    /* A write that replicas have to confirm. */
    struct ack ack;
    bool is_held;       /* its reply is there, `held` */
    bool is_confirming; /* … and Redis has been asked */
    int confirmed;      /* replicas, the last time; -1: never asked */
    struct buf held;

    /* A claim that may be parked (task.claim with wait_ms). */
    bool is_waiting;
    bool is_wait_over;     /* a wake ends it, too */
    int64_t wait_until_ms; /* monotonic */
    int64_t queued_ms;     /* when it was queued last */
    int64_t repeated_ms;   /* when a wake had it repeated last, or is to; 0 = never */
    int64_t resend_ms;     /* when an answer has certainly been lost, or that is due */
    int64_t resend_gap_ms;
};

struct ready {
    struct ready *prev, *next;
    struct requests_reply reply;
};

/* One connection. */
struct wire {
    struct redis_link *link;
    bool is_greeted; /* a reply came on it */
    bool has_submit_script;
    struct expect *expects; /* ring */
    size_t expect_head, expect_len, expect_cap;
    unsigned pops;      /* outstanding */
    unsigned waits;     /* outstanding: 0 or 1 */
    bool is_pop_long;   /* … and the last of them blocks for as long as a claim waits */
    int64_t last_io_ms; /* when it said something last */
    int64_t asked_ms;   /* when WAIT was queued */
};

struct requests_client {
    const struct redis_target *target;
    char *prefix, *actor, *session, *agent, *trace, *client_name;
    struct ack ack; /* of what does not say any */
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

    struct wire main; /* pops the replies */
    /* Takes requests that are not to wait behind the pop of `main`; made at the first need. */
    struct wire side;
    char token[REQUESTS_TOKEN + 1];
    char *reply_key;

    struct backoff backoff;
    int64_t retry_at_ms;
    unsigned losses;
    int64_t forgotten_ms;  /* when Redis had forgotten our script last; 0 = never */
    int64_t full_until_ms; /* memory counts as full until then: is_let_in() */
    unsigned hops;         /* redirections of a cluster since Redis has served us */
    char why[256];         /* the last connection error */
    int why_fault;         /* … as an enum redis_fault */
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
/* The reply of an open request, which json_check() has accepted. */
void answer_give(struct requests_client *rc, struct request *rq, const char *text, size_t len);
/* One element of the reply list. What is not a reply to an open request of ours is ignored. */
void answer_take(struct requests_client *rc, const char *text, size_t len);

/* ---- requests_client_ack.c ---- */

/* Keeps a result back that replicas have to confirm; false: it needs none. */
bool ack_hold(struct request *rq, const char *text, size_t len);
/* How many replicas have to confirm what is held and was not asked for; 0: nothing is. */
unsigned ack_wanted(const struct requests_client *rc);
/* Redis was asked for all that is held. */
void ack_asked(struct requests_client *rc);
/* … and so many have confirmed it: answers, or repeats. False when it has to repeat any. */
bool ack_answered(struct requests_client *rc, unsigned replicas);
/* True when replies are still to come: not all that is open is held. */
bool ack_is_pop_due(const struct requests_client *rc);
/* What is held is of no use any more. */
void ack_forget(struct request *rq);

/* ---- requests_client_wait.c ---- */

/* Says whether and how long a request may wait on the other side; at its submission. */
void wait_read(struct request *rq);
/* The ttl_ms to send now, "" = none. */
const char *wait_ttl(const struct request *rq, char out[24]);
/* Sends again what is answered by now, if the answer is not lost; returns when that is due (0 = nothing is). */
int64_t wait_check(struct requests_client *rc, int64_t now_ms);
/* A result for a request that waits: true when it is a wake, and the request is repeated. */
bool wait_is_woken(struct request *rq, struct json_span result);
/* True when there are open requests, and all of them are claims that wait. */
bool wait_is_all(const struct requests_client *rc);

/* ---- requests_client_link.c ---- */

/* Draws the name of the reply list. */
void wire_new_token(struct requests_client *rc);
/* Starts to connect; a failure counts as a loss. */
void wire_start(struct requests_client *rc);
/* The connections are of no use any more; the next ones are tried after a while. `fault` is an enum redis_fault. */
void wire_lost(struct requests_client *rc, int fault, const char *why);
/* Queues what is new, and one pop behind it. */
void wire_queue(struct requests_client *rc);
/* Move bytes; either may lose the connections. */
void wire_read(struct requests_client *rc, struct wire *w);
void wire_write(struct requests_client *rc, struct wire *w);
/* When a connection that says nothing counts as dead; 0: nothing is expected of it. */
int64_t wire_silence_limit_ms(const struct requests_client *rc, const struct wire *w);
void wire_free(struct wire *w);

#endif
