/*
 * redis_link.h: one connection to Redis. Only redis_link_reader.c and redis_reply.c know hiredis.
 *
 * A link is non-blocking underneath. The blocking calls poll(2) with a deadline and call an idle hook
 * at least every REDIS_LINK_IDLE_MS, so that a worker that waits for Redis goes on beating. The
 * supervisor uses the same link from its event loop through the asynchronous calls.
 *
 * A link does not reconnect by itself: a lost connection makes the outcome of what was in flight
 * unknown, and only the caller knows what to do about that.
 *
 * What a server sends is bounded (resp_check.h: 64 MiB and 2^20 array elements per reply, arrays at
 * most 7 deep, RESP2 only), and a reply that nobody asked for counts as a protocol error.
 */
#ifndef CB_REDIS_LINK_H
#define CB_REDIS_LINK_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REDIS_LINK_IDLE_MS = 200,
    REDIS_LINK_TIMEOUT_MS = 5000, /* what redis_target_parse puts into timeout_ms */
};

struct redis_cluster;

/* Where Redis is and who we are. Strings are borrowed until redis_link_free. */
struct redis_sentinels;
struct redis_target {
    char *unix_path; /* or NULL */
    char *host;      /* TCP; IPv6 without brackets */
    int port;
    int db;
    char *user;                    /* "" = default user */
    char *password;                /* "" = none; never logged */
    int timeout_ms;                /* connect, write, and read of a non-blocking command */
    struct redis_cluster *cluster; /* NULL unless the prefix has a hash tag (redis_cluster.h) */
    char *more;                    /* further nodes of the cluster, "host:port,…", or NULL */
    /* Instead of path and host: who knows where the master is (redis_sentinel.h); owned. NULL: none. A link then asks them
     * first, and takes nobody but a master. Its fd changes on the way. */
    struct redis_sentinels *sentinels;
};

/*
 * Parses "unix:///path[?db=N]", "/path", "redis://[user[:password]@]host[:port][,host[:port]…][/db]"; %XX is decoded
 * but in "/path"; the port's default is 6379. rediss:// is refused with a message that says what to do
 * instead. On success the caller owns *ret_target (redis_target_done). Returns 0, or -1 with err->code
 * EXITCODE_CONFIG (the text never repeats the URL).
 */
int redis_target_parse(const char *url, struct redis_target *ret_target, struct cb_error *err);
void redis_target_done(struct redis_target *target);
/* With a hash tag in the prefix links follow a cluster, whose first known nodes are those of the address. */
void redis_target_use_cluster(struct redis_target *target, const char *prefix);
/* "unix:///path" or "redis://host:port/db": for logs, without user and password. In a cluster: where the next link leads. With
 * sentinels: the master that was found last, and its name. */
void redis_target_describe(const struct redis_target *target, char *out, size_t size);

/* How a failure must be treated. Made from the error reply's first word (redis_faults.def), or from the socket. */
enum redis_fault {
    REDIS_OK = 0,
    REDIS_LOST,       /* connection refused, closed, reset, timed out: reconnect */
    REDIS_MAXCLIENTS, /* no room for another connection: try again */
    REDIS_PROTOCOL,   /* not RESP, or over our limits: drop the connection, reconnect */
    REDIS_NOSCRIPT,
    REDIS_NOGROUP,
    REDIS_LOADING,   /* wait and try again */
    REDIS_BUSY,      /* a script runs too long: wait */
    REDIS_READONLY,  /* also UNBLOCKED, MASTERDOWN: a replica: reconnect */
    REDIS_MOVED,     /* another node of the cluster has the slot: reconnect, the link leads there */
    REDIS_MIGRATING, /* ASK, TRYAGAIN: the slot is being moved: wait, then reconnect */
    REDIS_CLUSTERDOWN, /* nobody serves the slot, for all that this node knows: reconnect to another */
    REDIS_CROSSSLOT, /* a cluster, and a prefix without a hash tag: configuration */
    REDIS_OOM,
    REDIS_MISCONF, /* persistence fails: writes are refused */
    REDIS_NOREPLICAS,
    REDIS_AUTH,  /* NOAUTH, WRONGPASS, NOPERM: configuration, not weather */
    REDIS_ERROR, /* any other error reply */
};
/* redis_faults.def; ends with prefix NULL. */
struct redis_fault_row {
    const char *prefix; /* the first words of an error reply */
    enum redis_fault fault;
    const char *meaning;
    const char *reaction;
};
extern const struct redis_fault_row redis_fault_rows[];
/* This server does not serve us, or not now, though the connection is good: only a new one helps. */
bool redis_fault_is_elsewhere(enum redis_fault fault);
/* Somebody answers, and we shall be served before long: it loads its data, or a cluster moves ours. */
bool redis_fault_passes(enum redis_fault fault);

/* A reply, owned by the caller (reply_free) or part of one. */
struct redisReply;
typedef struct redisReply reply_t;
enum reply_type { REPLY_NIL, REPLY_STRING, REPLY_STATUS, REPLY_ERROR, REPLY_INT, REPLY_ARRAY };
enum reply_type reply_type(const reply_t *r);
bool reply_is_error(const reply_t *r);
const char *reply_str(const reply_t *r); /* STRING, STATUS, ERROR: NUL-terminated; else "" */
size_t reply_bytes(const reply_t *r);    /* the length of reply_str(r), whatever r is */
size_t reply_count(const reply_t *r);    /* elements of an ARRAY, else 0 */
int64_t reply_int(const reply_t *r);     /* INT, or a STRING of digits; else 0 */
const reply_t *reply_at(const reply_t *r, size_t i); /* NULL when out of range or not an array */
enum redis_fault reply_fault(const reply_t *r);
/* An error reply as one printable line in err (which may be NULL), with its fault as the code. Returns -1. */
int reply_error(const reply_t *r, struct cb_error *err);
void reply_free(reply_t *r);
void reply_free_ptr(reply_t **r); /* CB_CLEANUP */

struct redis_link;

/*
 * Connects, authenticates, selects the db, sets the client name (if not NULL; no spaces), asks for the
 * connection's id and sends PING, which alone tells that Redis is still loading. With a cluster it goes on to the node that
 * has the slot, or tries the next one. Blocking, at most
 * target->timeout_ms. The target must outlive the link. Returns 0, or -1 with err->code an enum
 * redis_fault: REDIS_LOST (unreachable), REDIS_MAXCLIENTS, REDIS_LOADING, REDIS_BUSY, REDIS_AUTH, …
 * No idle hook is called meanwhile: a worker that must go on beating uses redis_link_start,
 * redis_link_set_idle and redis_link_await (client_name must live until then).
 */
int redis_link_open(const struct redis_target *target, const char *client_name,
                    struct redis_link **ret_link, struct cb_error *err);
void redis_link_free(struct redis_link *link); /* accepts NULL */

/* CLIENT ID of this connection (known after open). */
int64_t redis_link_id(const struct redis_link *link);
/* With sentinels it is another one once the master is found, and never the same number twice in a row. */
int redis_link_fd(const struct redis_link *link);
bool redis_link_is_lost(const struct redis_link *link);
/* The handshake is over and the link is not lost. */
bool redis_link_is_open(const struct redis_link *link);
/* Replies due to the caller: commands queued or under way. */
size_t redis_link_awaited(const struct redis_link *link);
/* The key that scripts on this link declare besides, or NULL (redis_cluster.h). */
const char *redis_link_canary(const struct redis_link *link);

/*
 * Called while a blocking call waits, at least every REDIS_LINK_IDLE_MS (counted over all calls, so the
 * first wait after a long computation calls it at once). It must not use the link. true: go on waiting.
 * false: stop: the call returns -1 with REDIS_LOST. After redis_link_read the link is not lost by that
 * (redis_link_is_lost() is false): the reply is still due, and may be waited for again. After
 * redis_link_call it is lost.
 */
typedef bool redis_idle_fn(void *arg);
void redis_link_set_idle(struct redis_link *link, redis_idle_fn *fn, void *arg);
/*
 * A second fd (a worker's control socket) whose readability or hang-up calls the idle hook at once, not
 * only when it is due; the hook reads from it. If it leaves the fd readable, it is called 16 times in a
 * row at most and then again when due. -1: none. Without a hook it is ignored.
 */
void redis_link_set_wake_fd(struct redis_link *link, int fd);

/* The connection will subscribe: Redis says things of itself then. For the event-loop calls only, as nobody knows which
 * reply is whose. */
void redis_link_set_listening(struct redis_link *link);

/* ---- pipelining, blocking use ---- */

/* Queues one command; nothing is written yet. Lengths may be NULL when all are C strings. */
void redis_link_append(struct redis_link *link, int argc, const char *const *argv,
                       const size_t *lens);
/* The same from at most 32 C strings, NULL-terminated: redis_link_appendv(link, "PING", NULL). */
void redis_link_appendv(struct redis_link *link, ...) __attribute__((sentinel));
/* Bytes queued and not yet written. */
size_t redis_link_queued(const struct redis_link *link);
/*
 * Writes all that is queued (reading meanwhile; only when 1 MiB of unread replies has piled up does it
 * return before) and gives the next reply, waiting at most `timeout_ms`. Error replies are replies.
 * Returns 0 with *ret_reply, or -1: REDIS_LOST/REDIS_PROTOCOL in err->code, after which only
 * redis_link_free makes sense (but see redis_idle_fn). A time-out is REDIS_LOST: the connection can't be
 * used further. A reply must be due (asserted, unless the link is lost).
 */
int redis_link_read(struct redis_link *link, int timeout_ms, reply_t **ret_reply,
                    struct cb_error *err);
/* append + read in one, with the target's time-out; no other reply may be due (asserted, unless the link
 * is lost). An error reply gives -1, err->code its fault and err->text its text; the link is still good
 * then. ret_reply may be NULL. */
int redis_link_call(struct redis_link *link, reply_t **ret_reply, struct cb_error *err, int argc,
                    const char *const *argv, const size_t *lens);
int redis_link_callv(struct redis_link *link, reply_t **ret_reply, struct cb_error *err, ...)
    __attribute__((sentinel));

/* ---- event-loop use (supervisor) ---- */

/*
 * Starts connecting without blocking; AUTH etc. are queued first, commands may be appended at once.
 * Returns 0 or -1. A host name (not an address) is waited for at most 100 ms; a look-up that takes longer
 * goes on in the background for the next redis_link_start. When an address turns out dead the link is
 * lost, and the next start begins with the name's next address. With a cluster the link is lost with REDIS_MOVED when another
 * node has the slot; the next start leads there.
 */
int redis_link_start(const struct redis_target *target, const char *client_name,
                     struct redis_link **ret_link, struct cb_error *err);
/* Blocks until a started link is open, at most target->timeout_ms, calling the idle hook. May change the
 * link's fd. Returns 0 or -1 as redis_link_open; the caller still owns the link. */
int redis_link_await(struct redis_link *link, struct cb_error *err);
bool redis_link_wants_write(const struct redis_link *link);
/* The fd is writable / readable: moves bytes. Return 0, or -1 when the connection is lost. After
 * on_readable call redis_link_take until it gives NULL. */
int redis_link_on_writable(struct redis_link *link, struct cb_error *err);
int redis_link_on_readable(struct redis_link *link, struct cb_error *err);
/* The next complete reply if there is one (*ret_reply NULL otherwise). Replies to the handshake are
 * swallowed; a failed handshake is -1, with err->code as redis_link_open. */
int redis_link_take(struct redis_link *link, reply_t **ret_reply, struct cb_error *err);

#endif
