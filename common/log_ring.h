/*
 * log_ring.h: the last lines of a daemon's log, its workers' included, for `claudebench status` and `top`.
 *
 * It lies in the scoreboard: supervisor and workers write into it, the supervisor reads. A writer takes the next place; two that are a
 * whole round apart may take the same one, and whoever reads a place while it is written, or one whose writer died at it, leaves
 * it out. Lines of level debug are not kept: they would drive out all others.
 */
#ifndef CB_LOG_RING_H
#define CB_LOG_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { LOG_RING_LINES = 32, LOG_RING_TEXT = 400, LOG_RING_PROGRAM = 24 };

struct log_ring_line {
    _Atomic uint64_t seq; /* 2n + 1: the n-th line is being written; 2n + 2: it is there */
    int64_t wall_ms;
    int32_t pid;
    int32_t level; /* enum log_level */
    char program[LOG_RING_PROGRAM];
    char text[LOG_RING_TEXT]; /* "event=… …" */
};

struct log_ring {
    _Atomic uint64_t next;
    struct log_ring_line lines[LOG_RING_LINES];
};

/* Copies the line in; `seq` is not looked at. A text that is too long is cut between two characters, with an ellipsis. */
void log_ring_put(struct log_ring *ring, const struct log_ring_line *line, const char *text,
                  size_t len);
/* The newest lines that can be read, at most `max`, oldest first; returns how many. */
size_t log_ring_read(const struct log_ring *ring, struct log_ring_line *ret, size_t max);

#endif
