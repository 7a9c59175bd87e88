/*
 * import.h: what the parts of `claudebench task import` share.
 *
 *   cmd_task_import.c  options, batches sent and their outcomes, the loop, the end
 *   import_cut.c       lines, and the batches that they are cut into
 */
#ifndef CB_IMPORT_H
#define CB_IMPORT_H

#include "client/lines.h"
#include "client/progress.h"
#include "client/session.h"

enum {
    IMPORT_BATCHES = 8,
    IMPORT_ITEMS = 100,
    IMPORT_BYTES = 1000000,
    IMPORT_IDEM_MAX = 96,
};

enum batch_state { BATCH_FREE, BATCH_FLYING, BATCH_WAITING };

struct batch {
    enum batch_state state;
    int64_t number;
    unsigned drops;   /* lines taken out since it was cut */
    int64_t retry_ms; /* WAITING: when to send it again */
    struct buf text;  /* the items' JSON, one behind the other */
    size_t count;
    struct {
        int64_t line;
        size_t from, len;
    } items[IMPORT_ITEMS];
};

struct import {
    const struct cli *cli;
    struct session s;
    struct lines lines;
    struct buf held; /* a line that did not fit into the last batch */
    int64_t held_line;
    int64_t size; /* of the file; 0 = not known */
    char idem[IMPORT_IDEM_MAX + 1];
    struct batch batches[IMPORT_BATCHES];
    int64_t last_number;
    struct batch *filling; /* it waits for more lines; NULL = none */
    int64_t created, bad;
    int64_t existing;   /* tasks that were there already, by their unique_key */
    int64_t wait_ms;    /* --wait */
    int64_t full_since; /* there is no room since then, 0 = there is */
    int64_t full_said;  /* when that was said last */
    int64_t last_ms; /* Ctrl-C came: until when what is in flight is waited for, 0 = it did not */
    bool is_ended;   /* nothing more is read */
    int exit_code;
    struct progress progress;
    struct buf out;
};

/* ---- import_cut.c ---- */

/* Says what is wrong with a line, and counts it; with --strict nothing more is read. */
void import_bad_line(struct import *im, int64_t line, const char *fmt, ...) CB_PRINTF(3, 4);
/*
 * Fills a batch; false when it is not complete. Where a batch ends depends on the lines only, never on when they came:
 * a repeat under the same key cuts the same batches. So a batch that waits for lines stays `filling`.
 */
bool import_fill(struct import *im, struct batch *b);

#endif
