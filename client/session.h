/*
 * session.h: what the verbs share: the configuration, the connection, and how a reply becomes an
 * exit code and a message.
 */
#ifndef CB_SESSION_H
#define CB_SESSION_H

#include "client/cli.h"
#include "client/term.h"
#include "common/connect.h"
#include "common/options.h"
#include "common/requests_client.h"

enum { CALL_TIMEOUT_MS = 10000 };

struct session {
    struct options *opts;
    struct redis_target target;
    bool has_target;
    struct requests_client *rc;
    const char *session_id; /* recorded with each request; NULL: CLAUDEBENCH_SESSION */
};
#define SESSION_INIT                                                                               \
    {                                                                                              \
        .opts = NULL                                                                               \
    }

/* Reads the configuration (-c of the verb, environment, default places). Returns -1 to go on, or
 * the exit code after a message. */
int session_load(struct session *s, const struct cli *cli);
/*
 * Connects as `actor` (NULL: <user>@<host>). `window`, `pop_ms`: see requests_client.h; 0 =
 * default. Returns -1 to go on, or the exit code after a message.
 */
int session_connect(struct session *s, const char *actor, unsigned window, int pop_ms);
/* session_load() and session_connect() with the defaults. */
int session_open(struct session *s, const struct cli *cli);
void session_close(struct session *s); /* fits CB_CLEANUP */

/* The exit code for a JSON-RPC error code (claudebench(1), EXIT STATUS). */
int session_exit_code(int rpc_code);
/* The same for a reply: 0 for a result, 69 when the outcome is not known. */
int session_reply_exit(const struct requests_reply *reply);
/*
 * Says on stderr what went wrong: message, code, path and what was expected, or that the outcome is
 * unknown and how to repeat the request. `what` is the method or the verb. Returns
 * session_reply_exit().
 */
int session_report(const char *what, const struct requests_reply *reply);
/* Before that: of a request without a reply the message says what the daemon of this host says (silence.h). */
void session_explain(const struct session *s, const char *method, struct requests_reply *reply);

/* Appends JSON and a newline, escaped when it goes to a terminal. */
void session_put_json(struct buf *out, struct json_span value, struct term term);

/* Runs one request with the default time-out; for a result returns -1, else reports and returns the
 * exit code. */
int session_call(struct session *s, const char *method, const struct buf *params, const char *idem,
                 struct requests_reply *reply);

/* Replaces the cursor by that of the next page, as a result says it; "" and false when there is none. One that does not move is
 * none, after a message: else the walk would never end. */
bool session_next_page(struct json_span result, struct buf *cursor);
/* The member of the params that asks for that page; nothing for the first one. */
void session_put_cursor(struct buf *params, const struct buf *cursor);

#endif
