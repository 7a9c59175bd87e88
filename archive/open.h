/*
 * open.h: what the commands of `claudebench archive` begin with: configuration and connection. Messages are printed.
 */
#ifndef CB_ARCHIVE_OPEN_H
#define CB_ARCHIVE_OPEN_H

#include "archive/pg.h"
#include "client/session.h"

struct archive_session {
    struct session s; /* its options */
    struct pg *pg;
};

/* Returns -1 to go on, or the exit code: 78 nothing is configured, 69 PostgreSQL cannot be reached. */
int archive_open(struct archive_session *a, const struct cli *cli);
/* Are its tables there, and not older than what we ask of them? -1 to go on, or the exit code after a message that says what to do. */
int archive_check_schema(struct archive_session *a);
void archive_close(struct archive_session *a); /* fits CB_CLEANUP; accepts zeroes */
/* Prints the reason; returns the exit code. */
int archive_failed(const char *what, const struct cb_error *err);
/* How the options want it; for the worker, too. */
struct pg_config archive_pg_config(const struct options *opts);

#endif
