/*
 * rows.h: rows on their way to PostgreSQL: one growing array for each column, in the binary form that a prepared statement takes as
 * its parameters ("unnest($2, $3, …)"), so that a thousand rows are one statement. tables.h says which columns there are.
 */
#ifndef CB_ARCHIVE_ROWS_H
#define CB_ARCHIVE_ROWS_H

#include "common/buf.h"
#include "common/json.h"

#include <stdbool.h>

enum column_type {
    COLUMN_TEXT,
    COLUMN_JSON,  /* kept as it came */
    COLUMN_WORDS, /* text[]; given as words joined by spaces */
    COLUMN_LINES, /* text[]; joined by newlines */
    COLUMN_BIGINT,
    COLUMN_INT, /* also smallint */
    COLUMN_BOOL,
    COLUMN_TIME, /* timestamptz; given as µs since 1970 */
};
const char *column_type_sql(enum column_type type); /* of the parameter: "bigint[]" */

struct column {
    enum column_type type;
    int rows;
    bool has_null;
    struct buf data; /* the header has its room at the front */
};

void column_init(struct column *c, enum column_type type);
void column_done(struct column *c);
/* Empties, keeps the memory. */
void column_reset(struct column *c);

void column_null(struct column *c);
void column_text(struct column *c, const char *s, size_t len); /* TEXT, JSON, WORDS, LINES */
void column_int(struct column *c, int64_t n);                  /* BIGINT, INT, BOOL, TIME */

/* What was put into a TIME column without nulls. */
int64_t column_time(const struct column *c, int row);
/* The array as a parameter; valid until the next change. */
const char *column_finish(struct column *c, int *ret_len);

#endif
