/*
 * table.h: rows and columns for people. On a terminal a row never takes more than one line: what does not fit is
 * cut, with an ellipsis, or left out by the column. In a pipe nothing is.
 */
#ifndef CB_TABLE_H
#define CB_TABLE_H

#include "client/term.h"

enum { TABLE_COLUMNS_MAX = 12 };

enum table_align { TABLE_LEFT, TABLE_RIGHT };

/* What a column does when the terminal is too narrow. Columns without anything in any row go first, one after the other. Then the
 * flexible one is cut, down to TABLE_FLEX_WIDTH, and what is wider than TABLE_WIDE; then columns are left out, the highest number
 * first; and if that is not enough, the widest is cut, again and again: those of ids when there is nothing else to cut. */
enum table_fit {
    TABLE_ID, /* what one would copy; stays, also without anything in it */
    TABLE_KEEP,
    TABLE_FLEX, /* of several only the first */
    TABLE_DROP, /* TABLE_DROP + n goes before TABLE_DROP */
};
enum { TABLE_FLEX_WIDTH = 20, TABLE_WIDE = 24 };

struct table_column {
    const char *title;
    enum table_align align;
    int fit; /* enum table_fit */
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
