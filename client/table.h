/*
 * table.h: rows and columns for people. On a terminal the rows are cut to its width; in a pipe
 * never.
 */
#ifndef CB_TABLE_H
#define CB_TABLE_H

#include "client/term.h"

#include <stdio.h>

enum { TABLE_COLUMNS_MAX = 12 };

enum table_align { TABLE_LEFT, TABLE_RIGHT };

struct table_column {
    const char *title;
    enum table_align align;
    bool is_flexible; /* the first such column gives way when the terminal is too narrow */
};

struct table {
    const struct table_column *columns; /* borrowed */
    size_t ncolumns;
    char **cells; /* row by row */
    size_t ncells;
    size_t cap;
};

void table_init(struct table *t, const struct table_column *columns, size_t ncolumns);
void table_done(struct table *t); /* fits CB_CLEANUP */
/* The next cell; escaped for a terminal. */
void table_cell(struct table *t, const char *s, size_t len);
void table_cell_str(struct table *t, const char *s);
void table_cellf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends title line and rows. Asserts that the last row is complete. */
void table_put(const struct table *t, struct term term, struct buf *out);

#endif
