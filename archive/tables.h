/*
 * tables.h: what the archive worker writes, one row a table (tables.c), and the statements made of these rows.
 *
 * A batch is what is written in one transaction: some rows of each table. A row is added column by column, in the order of its
 * table. Within a batch a key comes once (what was added first stays): one statement cannot write a row twice.
 */
#ifndef CB_ARCHIVE_TABLES_H
#define CB_ARCHIVE_TABLES_H

#include "archive/rows.h"

enum table_id {
    TABLE_TASK,
    TABLE_TASK_END, /* what only an event says, of a task that Redis has no more */
    TABLE_ATTEMPT,
    TABLE_ATTEMPT_END, /* the attempts that an event ended without a trace in the task */
    TABLE_INSTANCE,
    TABLE_DECISION,
    TABLE_SCHEDULE,
    TABLE_SCHEDULE_END, /* removed */
    TABLE_AUDIT,
    TABLE_COUNT
};
enum { TABLE_COLUMNS_MAX = 36 };

struct table_column {
    const char *name;
    enum column_type type;
};

struct table_def {
    const char *name;                   /* of the statement, and of the table but for *_END */
    const struct table_column *columns; /* without `generation`, which is $1 */
    int ncolumns;
    int month_column;   /* whose month says which partition; -1: not partitioned */
    const char *parent; /* …of that table */
    const char *into; /* NULL: `sql` is the whole statement, with %s for "unnest(…) AS u (…)" */
    const char *sql; /* behind INSERT … SELECT … FROM …: what to do about a row that is there */
};
const struct table_def *table_def(enum table_id id);
/* The statement of a table, appended. */
void table_put_sql(enum table_id id, struct buf *out);

struct table_rows {
    const struct table_def *def;
    struct column columns[TABLE_COLUMNS_MAX];
    int at; /* the next column of the row that was begun */
    int rows;
};

struct batch_key;
struct batch {
    struct table_rows tables[TABLE_COUNT];
    struct batch_key *keys; /* what is in it */
    size_t bytes;           /* about */
    int rows;
};

void batch_init(struct batch *b);
void batch_done(struct batch *b);
/* Empties, keeps the memory. */
void batch_reset(struct batch *b);
/* False: there is a row with this key already, or the key is being looked at for the second time. */
bool batch_begin_row(struct batch *b, enum table_id table, const char *key);
/* The next column of the row that was begun. */
void batch_text(struct batch *b, enum table_id table, const char *s, size_t len); /* NULL: null */
void batch_cstr(struct batch *b, enum table_id table, const char *s);             /* the same */
void batch_int(struct batch *b, enum table_id table, int64_t n);
void batch_null(struct batch *b, enum table_id table);
/* Asserts that the row is complete. */
void batch_end_row(struct batch *b, enum table_id table);

#endif
