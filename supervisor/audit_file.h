/*
 * audit_file.h: the audit file itself (audit.file): opened, repaired, appended to. Everything here may wait for the disk: it
 * is called by the writer's thread (audit_writer.c) and nobody else, logs nothing, and knows neither Redis nor the chain but
 * for its last line.
 */
#ifndef CB_AUDIT_FILE_H
#define CB_AUDIT_FILE_H

#include "common/audit_chain.h"
#include "common/err.h"
#include "common/options.h"

#include <sys/types.h>

struct audit_file {
    const char *path;
    int fd;     /* -1: not open */
    off_t size; /* what we know to be in it, whole lines */
    bool is_dirty;
    int64_t synced_ms; /* monotonic */
};

/* What was found. */
struct audit_found {
    bool has_position; /* the file has a line of the chain */
    bool has_before;   /* it is empty, and the file that was rotated last has one */
    struct audit_position before;
    struct audit_position position;
    int64_t torn_bytes; /* an unfinished line was cut off */
    /* Whole lines at the end that are none of ours, or were changed; left as they are. */
    int64_t bad_lines;
    int64_t was, is; /* its size, when somebody else has changed that; else both 0 */
};

void audit_file_init(struct audit_file *f, const char *path);
void audit_file_close(struct audit_file *f);
/* Opens, locks and repairs it; one that is open is closed before (after a rotation). 0, or -1 with *err. */
int audit_file_open(struct audit_file *f, struct audit_found *ret, struct cb_error *err);

/* Appends whole lines: all of them, or, with -1, none. `is_start`: they begin a file. 1: the file is empty or gone (opened
 * anew), and nothing was written, as the lines do not begin one. */
int audit_file_append(struct audit_file *f, const struct buf *lines, bool is_start,
                      enum audit_fsync when, struct audit_found *ret, struct cb_error *err);
/* Forces to disk what is not. */
int audit_file_sync(struct audit_file *f, struct cb_error *err);

#endif
