/*
 * backup_file.h: the file that `claudebench backup` writes and `claudebench restore` reads.
 *
 *   claudebench-backup 1             the format's version
 *   {"project":…}                    what it is of, one line of JSON
 *   …                                Redis' own snapshot (RDB) of one moment
 *   claudebench-backup-end N SHA     bytes of the snapshot, in 20 digits, and the SHA-256 of all before the newline that this line
 *                                    begins with; always of one length, and at the end, because a pipe is written only once
 *
 * The snapshot may have up to 40 bytes behind its end, the mark by which redis-cli knew that it was complete: Redis reads no further
 * than the end.
 */
#ifndef CB_BACKUP_FILE_H
#define CB_BACKUP_FILE_H

#include "common/buf.h"
#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sha256.h>

enum { BACKUP_FORMAT = 1 };

struct backup_header {
    char project[32]; /* version */
    int64_t schema;   /* of the data */
    int64_t db;       /* where the keys are in the snapshot */
    char prefix[128];
    char generation[64];
    char redis[32]; /* its version */
    char time[32];  /* RFC 3339, just before the snapshot */
};

struct backup_writer {
    int fd;
    SHA2_CTX sum;
    uint64_t bytes; /* of the snapshot */
    bool has_snapshot;
    char sha[SHA256_DIGEST_STRING_LENGTH]; /* after backup_end() */
};

/* All return 0, or -1 with err->code an exit code. */
int backup_begin(struct backup_writer *w, int fd, const struct backup_header *h,
                 struct cb_error *err);
int backup_add(struct backup_writer *w, const char *data, size_t len, struct cb_error *err);
/* Fails when what was added is no snapshot. */
int backup_end(struct backup_writer *w, struct cb_error *err);

/* Reads `in` to its end, checks all of it, and writes the snapshot to `out`. What was written is worth something only when
 * this succeeds. `name` is for messages. */
int backup_read(int in, const char *name, int out, struct backup_header *ret, struct cb_error *err);

/* The members of the header, without braces. */
void backup_put_header(struct buf *out, const struct backup_header *h);

#endif
