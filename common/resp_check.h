/*
 * resp_check.h: bounds on what a server may send, checked before the bytes reach hiredis.
 *
 * hiredis 0.14 believes a length as soon as it reads it: "*2147483647" allocates 16 GB at once and
 * "$2147483647" waits for 2 GB. This checker reads the same RESP2 grammar one byte ahead of it,
 * allocates nothing, and says where each reply ends.
 */
#ifndef CB_RESP_CHECK_H
#define CB_RESP_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    RESP_MAX_DEPTH = 7,             /* arrays in arrays; what hiredis 0.14 takes */
    RESP_MAX_ELEMENTS = 1 << 20,    /* of all arrays of one reply together */
    RESP_MAX_LINE = 64 << 10,       /* a status or error line */
    RESP_MAX_REPLY_BYTES = 64 << 20 /* one reply with everything in it, so also one bulk string */
};

struct resp_check {
    int state;
    char type;        /* of the element being read: + - : $ * */
    char last;        /* the byte before, within a line */
    int digits;       /* of the length being read */
    bool is_negative; /* the length began with '-' */
    int64_t number;
    size_t line;      /* bytes of the line being read */
    size_t bytes_due; /* of the bulk string being read, its CRLF not counted */
    size_t bytes;     /* of the reply so far, announced ones included */
    size_t elements;
    unsigned depth;
    uint32_t left[RESP_MAX_DEPTH]; /* elements to come, per open array */
};

void resp_check_init(struct resp_check *check);
/*
 * Reads on in `data`, up to the end of a reply at most. Returns how many bytes it read, with
 * *ret_complete true when the last of them ended a reply (the next call then begins another); or -1
 * with *ret_reason, after which the checker is of no more use.
 */
ssize_t resp_check_scan(struct resp_check *check, const char *data, size_t len, bool *ret_complete,
                        const char **ret_reason);

#endif
