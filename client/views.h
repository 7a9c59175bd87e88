/*
 * views.h: the lists of a daemon's status (workers, queues, instances, methods) as columns, declared once: `claudebench status`,
 * `instances` and `top` show the same ones.
 */
#ifndef CB_VIEWS_H
#define CB_VIEWS_H

#include "client/table.h"
#include "common/json.h"

enum view_kind {
    VIEW_TEXT,
    VIEW_NUMBER,
    VIEW_AGE,    /* ms */
    VIEW_MS,     /* µs, shown as ms */
    VIEW_LIST,   /* of texts, joined by commas */
    VIEW_PAUSED, /* a switch, as paused or open */
    VIEW_LEADER, /* an id, as a mark when that one leads */
    VIEW_RATE, /* a counter: its increase a second. Only where there is something to compare with */
};

struct view_column {
    struct table_column column;
    const char *path; /* in a row; NULL: the row's own name */
    enum view_kind kind;
};

struct view {
    const char *name; /* of the list */
    const char *path; /* of the list in a status */
    const char *key;  /* by which a row is found again; NULL: its own name */
    const struct view_column *columns;
    size_t ncolumns;
    const char *empty; /* what to say when there is nothing */
    /* Numbers that view_put() sorts by, the largest first; NULL: as they come. */
    const char *order[3];
};

enum view_id { VIEW_WORKERS, VIEW_QUEUES, VIEW_INSTANCES, VIEW_METHODS, VIEWS };
extern const struct view views[VIEWS];

/* What cells are made of beside their row. */
struct view_context {
    struct json_span leader; /* its id as JSON, len 0: none is known */
    struct json_span before; /* the status that rates are reckoned from, len 0: none */
    double seconds;          /* since then */
};

/* Appends a cell's text, not escaped. */
void view_put_cell(const struct view *v, const struct view_column *c, const struct json_item *row,
                   const struct view_context *ctx, struct buf *out);
/* Appends a table of all rows of the array or object `list`, in the order of the view; without rates. */
void view_put(const struct view *v, struct json_span list, const struct view_context *ctx,
              struct term term, struct buf *out);

/* For sorting: whether the column is one of numbers, else of texts; and a row's number. */
bool view_is_number(const struct view_column *c);
double view_number(const struct view *v, const struct view_column *c, const struct json_item *row,
                   const struct view_context *ctx);

#endif
