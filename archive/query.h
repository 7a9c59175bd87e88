/*
 * query.h: what `claudebench archive query` asks the database: one SELECT of tasks, or of attempts, with each value of the user's as a
 * parameter, and a row of it as JSON.
 *
 * Rows come in the order of their last change (attempts: of their start), the newest first, page by page: the next page is what lies
 * behind the last row of the one before (keyset), so a page costs the same however far back it is, and no row comes twice.
 */
#ifndef CB_ARCHIVE_QUERY_H
#define CB_ARCHIVE_QUERY_H

#include "common/arena.h"
#include "common/buf.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

enum query_kind { QUERY_TASKS, QUERY_ATTEMPTS };

/* What is asked for; NULL, 0 and false: it does not matter. */
struct query_filter {
    enum query_kind kind;
    const char *prefix;     /* redis.prefix: all generations of it */
    const char *generation; /* …or this one */
    char *const *ids;       /* of tasks; nids of them */
    int nids;
    const char *state, *queue, *worker;
    const char *words;          /* to be found in the text */
    const char *outcome;        /* of attempts */
    int64_t since_ms, until_ms; /* of the last change, or of an attempt's start */
    bool is_open, is_dead, is_lost;
    const char *after; /* a cursor */
};

enum { QUERY_PARAMS_MAX = 20 };

struct query {
    struct arena arena;
    struct buf sql;
    const char *values[QUERY_PARAMS_MAX];
    int nvalues;
};
#define QUERY_INIT                                                                                 \
    {                                                                                              \
        .nvalues = 0                                                                               \
    }

/* Makes the statement that gives at most `most` rows. Returns 0, or -1: the cursor is none of ours. */
int query_make(struct query *q, const struct query_filter *f, int most);
void query_done(struct query *q); /* fits CB_CLEANUP */

/* A row as a JSON object: what is null is left out, JSON of users comes as it was given. */
void query_put_json(enum query_kind kind, const PGresult *rows, int row, struct buf *out);
/* A column by its name in that object; "" when it is null. */
const char *query_value(enum query_kind kind, const PGresult *rows, int row, const char *name);
/* The cursor that stands behind a row. */
const char *query_cursor(enum query_kind kind, const PGresult *rows, int row);

#endif
