/*
 * pg.h: one connection to PostgreSQL, for the archive's programs. Only archive/ knows libpq.
 *
 * Whatever waits calls an idle hook at least every PG_IDLE_MS, so that a worker goes on beating, and ends at a deadline: a server
 * that is stopped, or cut off, is lost after `timeout_ms`. Connecting is done by a thread of its own, since libpq looks up names and
 * reads service files without a time-out. A connection does not come back by itself: pg_connect() makes a new one, and
 * pg_retry_in_ms() says when it is time to (full jitter).
 *
 * No text that is given out has a password in it: the options refuse one in postgres.conninfo (it belongs into a password file
 * or a service file), and what libpq says of a conninfo that it cannot parse is left out.
 */
#ifndef CB_ARCHIVE_PG_H
#define CB_ARCHIVE_PG_H

#include "common/backoff.h"
#include "common/buf.h"
#include "common/err.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

enum { PG_IDLE_MS = 200 };

/* How a failure must be treated: in err->code. */
enum pg_fault {
    PG_OK = 0,
    PG_LOST, /* no connection, or it broke, or timed out: what was under way may or may not be committed */
    PG_REFUSED,  /* user, password, rights, no such database: somebody has to mend it */
    PG_FULL,     /* no room, on disk or in memory */
    PG_READONLY, /* a standby: a master will be there again */
    PG_CONFLICT, /* a deadlock, a serialization failure, a time-out of a lock: the same again */
    PG_SCHEMA,   /* tables are missing, or not as this version wants them */
    PG_DATA,     /* a value that PostgreSQL does not take */
    PG_ERROR,    /* any other error */
};
const char *pg_fault_name(enum pg_fault fault);

/* Returns false to stop waiting: the connection is lost by that. */
typedef bool pg_idle_fn(void *arg);

struct pg_config {
    const char *conninfo; /* borrowed until pg_free(), as the next */
    const char *application;
    int connect_timeout_ms;
    int timeout_ms;   /* of one statement, and of one answer */
    pg_idle_fn *idle; /* may be NULL */
    void *arg;
};

struct pg;

struct pg *pg_new(const struct pg_config *config);
void pg_free(struct pg *pg); /* accepts NULL */

/* Connects, and makes the session what all of ours are (UTC, UTF-8, time-outs, no search_path). 0, or -1. */
int pg_connect(struct pg *pg, struct cb_error *err);
void pg_disconnect(struct pg *pg);
/* It does what it is there for: the next failure is the first one again. */
void pg_works(struct pg *pg);
/* Something failed in a way that wants a pause: closes the connection, and the next try is due after a while. */
void pg_back_off(struct pg *pg);
bool pg_is_up(const struct pg *pg);
/* Ms until the next try is due; 0: now. */
int64_t pg_retry_in_ms(const struct pg *pg);
/* The connection itself; NULL when there is none. */
PGconn *pg_conn(struct pg *pg);
/* Of the connection made last. "user@host:port/database", for logs; "" before the first. */
const char *pg_describe(const struct pg *pg);

/*
 * One command, or several without parameters. Returns 0 with *ret_result (may be NULL; PQclear), or -1; a connection that broke is
 * closed then.
 */
int pg_exec(struct pg *pg, const char *sql, PGresult **ret_result, struct cb_error *err);
/* One command with `n` parameters as text (NULL: null). */
int pg_query(struct pg *pg, const char *sql, int n, const char *const *values,
             PGresult **ret_result, struct cb_error *err);
/* The next result of what was sent; *ret_result is NULL at the end of a command's results. 0, or -1 when the connection is lost. */
int pg_next_result(struct pg *pg, PGresult **ret_result, struct cb_error *err);
/* Writes all that was queued, reading meanwhile. */
int pg_flush(struct pg *pg, struct cb_error *err);
/* A failed result as an error: code an enum pg_fault, text in one line. Returns -1. */
int pg_result_error(const PGresult *result, struct cb_error *err);
/* Waits until there is something to read, at most `ms`; for notifications. 1: there is; 0: there is not; -1: lost. */
int pg_wait_readable(struct pg *pg, int ms, struct cb_error *err);

/* Appends an element of an array, as in {"a","b"}, for a parameter. */
void pg_put_element(struct buf *out, const char *s);

void pg_result_free(PGresult **result); /* CB_CLEANUP */

#endif
