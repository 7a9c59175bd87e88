/*
 * pg.c: see pg.h.
 */
#include "common/compat.h"
#include "archive/pg.h"

#include "common/clock.h"
#include "common/fault.h"
#include "common/mem.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

enum { RETRY_MIN_MS = 100, RETRY_MAX_MS = 5000, WHERE_SIZE = 256 };

struct pg {
    struct pg_config cfg;
    PGconn *conn;
    struct backoff backoff;
    int64_t retry_at_ms;
    char where[WHERE_SIZE];
};

const char *pg_fault_name(enum pg_fault fault)
{
    static const char *const names[] = {"ok",       "lost",   "refused", "full", "readonly",
                                        "conflict", "schema", "data",    "error"};
    return names[fault];
}

void pg_result_free(PGresult **result)
{
    PQclear(*result);
    *result = NULL;
}

void pg_put_element(struct buf *out, const char *s)
{
    buf_putc(out, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            buf_putc(out, '\\');
        buf_putc(out, *s);
    }
    buf_putc(out, '"');
}

/* ---- errors ---- */

/* What libpq and the server say has several lines. */
static void put_line(char *out, size_t size, const char *text)
{
    size_t len = 0;

    for (; *text && len + 1 < size; text++) {
        bool is_space = *text == '\n' || *text == '\t' || *text == ' ';
        if (!is_space || (len > 0 && out[len - 1] != ' '))
            out[len++] = is_space ? ' ' : *text;
    }
    while (len > 0 && out[len - 1] == ' ')
        len--;
    out[len] = '\0';
}

/* By the class of the SQLSTATE, and by single codes within one. */
static enum pg_fault fault_of(const char *state)
{
    static const struct {
        const char *begin;
        enum pg_fault fault;
    } rows[] = {
        {"08", PG_LOST},        {"57P0", PG_LOST},     {"57014", PG_LOST},     {"28", PG_REFUSED},
        {"3D", PG_REFUSED},     {"42501", PG_REFUSED}, {"53300", PG_REFUSED},  {"53", PG_FULL},
        {"58030", PG_FULL},     {"54", PG_DATA},       {"25006", PG_READONLY}, {"40", PG_CONFLICT},
        {"55P03", PG_CONFLICT}, {"42", PG_SCHEMA},     {"3F", PG_SCHEMA},      {"26", PG_SCHEMA},
        {"0A", PG_SCHEMA},      {"22", PG_DATA},       {"23", PG_DATA},
    };

    for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++)
        if (strncmp(state, rows[i].begin, strlen(rows[i].begin)) == 0)
            return rows[i].fault;
    return PG_ERROR;
}

/*
 * A limit of the program (class 54) is that of a record, too large for an index, say; but a server that has run out of transaction ids
 * says the same. Messages may be translated, the names of functions are not.
 */
static bool is_out_of_ids(const PGresult *result, const char *state)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    return strncmp(state, "54", 2) == 0 && function && strncmp(function, "GetNew", 6) == 0;
}

int pg_result_error(const PGresult *result, struct cb_error *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum pg_fault fault = PG_LOST;
    char text[sizeof err->text];

    put_line(text, sizeof text, message ? message : PQresultErrorMessage(result));
    if (state)
        fault = is_out_of_ids(result, state) ? PG_FULL : fault_of(state);
    return cb_error_set(err, (int)fault, "%s%s%s%s", text, state ? " (" : "", state ? state : "",
                        state ? ")" : "");
}

static int lost(struct pg *pg, const char *what, struct cb_error *err)
{
    char text[sizeof err->text];

    put_line(text, sizeof text,
             pg->conn && PQerrorMessage(pg->conn)[0] ? PQerrorMessage(pg->conn) : "");
    pg_disconnect(pg);
    return cb_error_set(err, PG_LOST, "%s%s%s", what, text[0] ? ": " : "", text);
}

/* ---- waiting ---- */

static bool may_go_on(struct pg *pg)
{
    return !pg->cfg.idle || pg->cfg.idle(pg->cfg.arg);
}

/* Polls one descriptor; 1: ready, 0: the time is over, -1: idle() said stop. */
static int wait_fd(struct pg *pg, int fd, short events, int64_t until_ms)
{
    for (;;) {
        int64_t left = until_ms - clock_mono_ms();
        struct pollfd p = {.fd = fd, .events = events};
        if (left < 0)
            left = 0;
        int n = poll(&p, 1, (int)(left < PG_IDLE_MS ? left : PG_IDLE_MS));
        if (n > 0)
            return 1;
        if (!may_go_on(pg))
            return -1;
        if (left == 0)
            return 0;
    }
}

int pg_flush(struct pg *pg, struct cb_error *err)
{
    int64_t until = clock_mono_ms() + pg->cfg.timeout_ms;

    for (;;) {
        int status = PQflush(pg->conn);
        if (status == 0)
            return 0;
        if (status < 0)
            return lost(pg, "the connection is lost", err);
        /* The server may be waiting for us to read. */
        if (wait_fd(pg, PQsocket(pg->conn), POLLIN | POLLOUT, until) <= 0)
            return lost(pg, "the server takes no data", err);
        if (!PQconsumeInput(pg->conn))
            return lost(pg, "the connection is lost", err);
    }
}

int pg_next_result(struct pg *pg, PGresult **ret_result, struct cb_error *err)
{
    int64_t until = clock_mono_ms() + pg->cfg.timeout_ms;

    if (pg_flush(pg, err) != 0)
        return -1;
    while (PQisBusy(pg->conn)) {
        if (wait_fd(pg, PQsocket(pg->conn), POLLIN, until) <= 0)
            return lost(pg, "no answer in time", err);
        if (!PQconsumeInput(pg->conn))
            return lost(pg, "the connection is lost", err);
    }
    *ret_result = PQgetResult(pg->conn);
    return 0;
}

int pg_wait_readable(struct pg *pg, int ms, struct cb_error *err)
{
    int ready = wait_fd(pg, PQsocket(pg->conn), POLLIN, clock_mono_ms() + ms);

    if (ready <= 0)
        return 0;
    return PQconsumeInput(pg->conn) ? 1 : lost(pg, "the connection is lost", err);
}

/* ---- commands ---- */

/* All results of one command: the last good one is kept, the first failure counts. */
static int collect(struct pg *pg, PGresult **ret_result, struct cb_error *err)
{
    PGresult *kept = NULL, *result;
    int status = 0;

    for (;;) {
        if (pg_next_result(pg, &result, err) != 0) {
            PQclear(kept);
            return -1;
        }
        if (!result)
            break;
        ExecStatusType said = PQresultStatus(result);
        if (status == 0 && said != PGRES_COMMAND_OK && said != PGRES_TUPLES_OK)
            status = pg_result_error(result, err);
        PQclear(kept);
        kept = result;
    }
    if (status == 0 && ret_result)
        *ret_result = kept;
    else
        PQclear(kept);
    if (status != 0 && (PQstatus(pg->conn) != CONNECTION_OK || err->code == PG_LOST))
        pg_disconnect(pg);
    return status;
}

int pg_exec(struct pg *pg, const char *sql, PGresult **ret_result, struct cb_error *err)
{
    if (!pg->conn)
        return cb_error_set(err, PG_LOST, "not connected");
    if (!PQsendQuery(pg->conn, sql))
        return lost(pg, "the connection is lost", err);
    return collect(pg, ret_result, err);
}

int pg_query(struct pg *pg, const char *sql, int n, const char *const *values,
             PGresult **ret_result, struct cb_error *err)
{
    if (!pg->conn)
        return cb_error_set(err, PG_LOST, "not connected");
    if (!PQsendQueryParams(pg->conn, sql, n, NULL, values, NULL, NULL, 0))
        return lost(pg, "the connection is lost", err);
    return collect(pg, ret_result, err);
}

/* ---- connecting ---- */

/* What the thread works on. Whoever is last frees it: the thread, or the one that waits for it. */
struct connecting {
    char *conninfo;
    char *application;
    char seconds[16];
    int done_fd; /* an eventfd */
    PGconn *conn;
    _Atomic int holders;
};

static void connecting_release(struct connecting *c)
{
    if (atomic_fetch_sub(&c->holders, 1) > 1)
        return;
    PQfinish(c->conn);
    close(c->done_fd);
    free(c->conninfo);
    free(c->application);
    free(c);
}

static void *connect_thread(void *arg)
{
    struct connecting *c = arg;
    /* What follows dbname overrides the conninfo; what comes before is overridden by it. */
    const char *const names[] = {"connect_timeout", "fallback_application_name", "dbname",
                                 "client_encoding", NULL};
    const char *const values[] = {c->seconds, c->application, c->conninfo, "UTF8", NULL};
    uint64_t one = 1;

    c->conn = PQconnectdbParams(names, values, 1);
    ssize_t written = write(c->done_fd, &one, sizeof one);
    (void)written;
    connecting_release(c);
    return NULL;
}

static struct connecting *start_connecting(struct pg *pg)
{
    struct connecting *c = mem_alloc(sizeof *c);
    pthread_attr_t attr;
    pthread_t thread;

    c->conninfo = mem_strdup(pg->cfg.conninfo);
    c->application = mem_strdup(pg->cfg.application);
    snprintf(c->seconds, sizeof c->seconds, "%d", (pg->cfg.connect_timeout_ms + 999) / 1000);
    c->done_fd = eventfd(0, EFD_CLOEXEC);
    atomic_store(&c->holders, 2);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigset_t all, old;
    sigfillset(&all); /* signals are for the thread that looks at them */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = c->done_fd < 0 ? errno : pthread_create(&thread, &attr, connect_thread, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (failed == 0)
        return c;
    atomic_store(&c->holders, 1);
    connecting_release(c);
    return NULL;
}

static int wait_connected(struct pg *pg, struct cb_error *err)
{
    struct connecting *c = start_connecting(pg);

    if (!c)
        return cb_error_set(err, PG_LOST, "cannot start a thread to connect");
    /* Each of several addresses has the time-out of its own: the thread always ends. */
    int ready;
    do
        ready = wait_fd(pg, c->done_fd, POLLIN, clock_mono_ms() + 1000);
    while (ready == 0);
    if (ready > 0) {
        pg->conn = c->conn;
        c->conn = NULL;
    }
    connecting_release(c);
    return ready > 0 ? 0 : cb_error_set(err, PG_LOST, "stopped");
}

/* Refusals come as texts without a code from libpq 15. */
static int refuse(struct pg *pg, struct cb_error *err)
{
    static const char *const final[] = {"authentication failed", "no pg_hba.conf entry",
                                        "does not exist", "no password supplied",
                                        "permission denied"};
    char text[sizeof err->text];
    int code = PG_LOST;

    put_line(text, sizeof text, PQerrorMessage(pg->conn));
    for (size_t i = 0; i < CB_ARRAY_LEN(final); i++)
        if (strstr(text, final[i]))
            code = PG_REFUSED;
    pg_disconnect(pg);
    return cb_error_set(err, code, "%s", text);
}

static int check_conninfo(const char *conninfo, struct cb_error *err)
{
    char *why = NULL;
    PQconninfoOption *parsed = PQconninfoParse(conninfo, &why);

    PQfreemem(why); /* it may have any part of the text */
    if (!parsed)
        return cb_error_set(err, PG_REFUSED,
                            "postgres.conninfo cannot be parsed (try it with psql)");
    PQconninfoFree(parsed);
    return 0;
}

static int prepare_session(struct pg *pg, struct cb_error *err)
{
    char sql[512];
    const char *encoding = PQparameterStatus(pg->conn, "server_encoding");

    if (!encoding || strcmp(encoding, "UTF8") != 0)
        return cb_error_set(err, PG_REFUSED, "the database has the encoding %s (expected UTF8)",
                            encoding ? encoding : "?");
    snprintf(
        sql, sizeof sql,
        "SET search_path = pg_catalog; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; "
        "SET client_min_messages = warning; SET statement_timeout = %d; SET lock_timeout = %d; "
        "SET idle_in_transaction_session_timeout = %d",
        pg->cfg.timeout_ms, pg->cfg.timeout_ms, pg->cfg.timeout_ms * 2);
    return pg_exec(pg, sql, NULL, err);
}

static void describe(struct pg *pg)
{
    const char *host = PQhost(pg->conn), *port = PQport(pg->conn);

    snprintf(pg->where, sizeof pg->where, "%s@%s:%s/%s", PQuser(pg->conn), host ? host : "",
             port ? port : "", PQdb(pg->conn));
}

/* Warnings are the server's to log. */
static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg, (void)result;
}

static int try_connect(struct pg *pg, struct cb_error *err)
{
    if (check_conninfo(pg->cfg.conninfo, err) != 0 || wait_connected(pg, err) != 0)
        return -1;
    if (PQstatus(pg->conn) != CONNECTION_OK)
        return refuse(pg, err);
    PQsetNoticeReceiver(pg->conn, ignore_notice, NULL);
    PQsetnonblocking(pg->conn, 1);
    describe(pg);
    if (prepare_session(pg, err) == 0)
        return 0;
    pg_disconnect(pg);
    return -1;
}

void pg_back_off(struct pg *pg)
{
    pg_disconnect(pg);
    pg->retry_at_ms = clock_mono_ms() + backoff_next_full_jitter(&pg->backoff);
}

int pg_connect(struct pg *pg, struct cb_error *err)
{
    pg_disconnect(pg);
    fault_point("pg.connect");
    if (try_connect(pg, err) == 0)
        return 0;
    pg_back_off(pg);
    return -1;
}

/* ---- the rest ---- */

struct pg *pg_new(const struct pg_config *config)
{
    struct pg *pg = mem_alloc(sizeof *pg);

    pg->cfg = *config;
    backoff_init(&pg->backoff, RETRY_MIN_MS, RETRY_MAX_MS);
    return pg;
}

void pg_works(struct pg *pg)
{
    backoff_reset(&pg->backoff);
}

void pg_disconnect(struct pg *pg)
{
    PQfinish(pg->conn);
    pg->conn = NULL;
}

void pg_free(struct pg *pg)
{
    if (!pg)
        return;
    pg_disconnect(pg);
    free(pg);
}

bool pg_is_up(const struct pg *pg)
{
    return pg->conn != NULL;
}

int64_t pg_retry_in_ms(const struct pg *pg)
{
    int64_t left = pg->retry_at_ms - clock_mono_ms();

    return pg->conn || left < 0 ? 0 : left;
}

PGconn *pg_conn(struct pg *pg)
{
    return pg->conn;
}

const char *pg_describe(const struct pg *pg)
{
    return pg->where;
}
