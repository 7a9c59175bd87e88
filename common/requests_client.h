/*
 * requests_client.h: the caller's side of the stream protocol (claudebench-methods(7)): submit requests, get
 * replies.
 *
 * A client has one connection, and a second one for what is submitted while a claim waits. submit() only notes a request; the next wait writes all that is new
 * together with one blocking pop of the reply list, so that a round trip costs one wake-up. Replies
 * come in any order. After a lost connection everything unanswered is repeated with the same id and
 * idempotency key over a new one (full jitter), until its deadline; the reply list gets a new name
 * then, so that a pop of the dead connection cannot take what is meant for the new one.
 *
 * A task.claim with wait_ms may wait on the other side until there is a task; then it is woken, and repeated here without
 * being asked: the caller sees the tasks, or none when its time is over.
 *
 * A write with an ack level of replica:N is answered when N replicas have confirmed it; until its deadline it is repeated.
 *
 * Two ways to use it: requests_client_call() and _next() block; an event loop asks _prepare() for
 * what to poll, and says _pump() afterwards and _take() until it gives no more.
 */
#ifndef CB_REQUESTS_CLIENT_H
#define CB_REQUESTS_CLIENT_H

#include "common/ack.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/redis_link.h"

#include <poll.h>

enum {
    REQUESTS_WINDOW_DEFAULT = 64,
    REQUESTS_WINDOW_MAX = 4096,
    REQUESTS_IDEM_SIZE = 129, /* bytes of an idempotency key, with its NUL */
    REQUESTS_POLLFDS = 2,     /* connections to poll */
    REQUESTS_RETRY_MAX_MS = 86400000,
};

struct requests_config {
    const struct redis_target *target; /* borrowed until requests_client_free */
    const char *prefix;                /* redis.prefix */
    const char *actor;                 /* who asks; ≤ 128 bytes */
    const char *session;               /* these three: NULL or "" = absent */
    const char *agent;
    const char *trace;       /* W3C traceparent; one that is not well-formed is left out */
    const char *client_name; /* shown by CLIENT LIST */
    struct ack ack;          /* of writes that do not say any */
    unsigned window;         /* requests in flight; 0 = REQUESTS_WINDOW_DEFAULT */
    int pop_ms;              /* longest blocking pop = longest wait of a later submit; 0 = 1000 */
    int patience_ms;         /* how long open() waits while Redis loads its data; 0 = 5000 */
};

struct requests_call {
    const char *method;
    const char *params; /* a JSON object, passed on byte by byte; copied. NULL = {} */
    size_t params_len;
    const char *idem;   /* NULL: a write gets a random one */
    struct ack ack;     /* of a write: when it counts as done; level ACK_UNSAID: the client's */
    int64_t ttl_ms;     /* 0 = none */
    int64_t timeout_ms; /* until the outcome counts as unknown; 0 = never */
    uint64_t tag;       /* the caller's own, handed back with the reply */
};

enum requests_outcome {
    REQUESTS_RESULT, /* `result` is set */
    REQUESTS_ERROR,  /* `code`, `message` and `data` are set */
    /* Sent, but no reply until the deadline: a write may have happened or not; or it has, and too few replicas have confirmed it. */
    REQUESTS_UNKNOWN,
    REQUESTS_UNSENT, /* never reached Redis: it has not happened */
};

struct requests_reply {
    uint64_t tag;
    enum requests_outcome outcome;
    struct buf text;         /* RESULT, ERROR: the whole reply; the spans below point into it */
    struct json_span result; /* RESULT: an object */
    int code;                /* ERROR: JSON-RPC code, below 0 */
    char message[256];       /* ERROR: the message; UNKNOWN, UNSENT: why (last connection error) */
    struct json_span data;   /* ERROR: error.data, len 0 when there is none */
    int64_t retry_after_ms;  /* ERROR: data.retry_after_ms, a day at most, or -1 */
    char idem
        [REQUESTS_IDEM_SIZE]; /* the key that was sent, "" = none: for saying how to repeat it */
    int64_t latency_us;       /* from submit to reply */
};
#define REQUESTS_REPLY_INIT                                                                        \
    {                                                                                              \
        .text = BUF_INIT, .retry_after_ms = -1                                                     \
    }
void requests_reply_done(struct requests_reply *reply); /* fits CB_CLEANUP */

struct requests_client;

/*
 * Connects (blocking, at most the target's time-out; while Redis loads: patience_ms). Returns 0, or
 * -1 with err->code an enum exitcode and a text that says which address could not be reached and
 * why.
 */
int requests_client_open(const struct requests_config *config, struct requests_client **ret,
                         struct cb_error *err);
void requests_client_free(struct requests_client *rc); /* accepts NULL */

/* True when another request may be submitted. */
bool requests_client_has_room(const struct requests_client *rc);
/* Requests submitted and not yet taken back as replies. */
unsigned requests_client_in_flight(const struct requests_client *rc);
/* Notes a request; asserts that there is room. Nothing is written before the next wait. */
void requests_client_submit(struct requests_client *rc, const struct requests_call *call);

/*
 * Waits at most timeout_ms (-1: until there is one) for any reply. Returns 1 with *reply filled
 * (the caller's: requests_reply_done), 0 when the time is over or nothing is in flight. EINTR ends
 * the wait.
 */
int requests_client_next(struct requests_client *rc, int timeout_ms, struct requests_reply *reply);
/* One request, waits for its reply. Asserts that nothing else is in flight. */
void requests_client_call(struct requests_client *rc, const struct requests_call *call,
                          struct requests_reply *reply);

/* Event loop: writes what is new, then says what to poll (fd -1: nothing) and how long (ms, -1: for
 * ever). */
void requests_client_prepare(struct requests_client *rc, struct pollfd ret_fds[REQUESTS_POLLFDS],
                             int *ret_timeout_ms);
/* After poll: moves bytes, notices lost connections and passed deadlines. NULL: nothing was polled. */
void requests_client_pump(struct requests_client *rc, const struct pollfd fds[REQUESTS_POLLFDS]);
/* A reply that is there: true with *reply filled. */
bool requests_client_take(struct requests_client *rc, struct requests_reply *reply);

/* Claims that wait are not repeated any more when they are woken: the wake is their result. */
void requests_client_stop_waiting(struct requests_client *rc);
/* True when nothing is in flight but claims that have waited long enough to be certainly parked. */
bool requests_client_is_parked(const struct requests_client *rc);

/* False while the connection is lost; *ret_why (may be NULL) is then the last error, borrowed. */
bool requests_client_is_up(const struct requests_client *rc, const char **ret_why);
/* Times that the connection was lost. */
unsigned requests_client_losses(const struct requests_client *rc);

/* True for a W3C traceparent, version 00. */
bool requests_is_traceparent(const char *s);

#endif
