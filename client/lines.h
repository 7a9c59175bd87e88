/*
 * lines.h: reads a file line by line in constant memory, whatever its size and that of its lines.
 */
#ifndef CB_LINES_H
#define CB_LINES_H

#include "common/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct lines {
    int fd;
    size_t max;      /* longest line that is kept */
    struct buf data; /* read and not yet handed out */
    size_t at;
    bool is_eof;
    int error; /* errno of a read that failed, else 0 */
    bool (*has_to_stop)(
        void);      /* asked when a signal ends a read; true: as at the end of the file */
    int64_t number; /* of the last line */
    int64_t offset; /* bytes handed out */
};

/* `fd` stays the caller's. */
void lines_init(struct lines *l, int fd, size_t max);
void lines_done(struct lines *l);
/* Takes in what is there to be read; true when lines_next() would not wait for more. */
bool lines_is_ready(struct lines *l);
/*
 * The next line without its newline (a UTF-8 byte order mark at the start of the file is dropped):
 * true with *ret, *ret_len (borrowed until the next call). A line longer than max: *ret NULL. False
 * at the end, or when reading failed (error).
 */
bool lines_next(struct lines *l, const char **ret, size_t *ret_len);

#endif
