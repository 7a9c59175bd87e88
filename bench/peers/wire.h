/*
 * wire.h: a blocking connection with buffers, for protocols without a client of their own here.
 */
#ifndef CB_BENCH_PEERS_WIRE_H
#define CB_BENCH_PEERS_WIRE_H

#include "common/buf.h"

struct wire {
    int fd;
    struct buf out, in;
    size_t taken; /* bytes of `in` that have been dealt with */
};

/* "/path" or "127.0.0.1:4730". Whatever fails ends the program with a message. */
void wire_open(struct wire *w, const char *address);
/* Sends what is there to send, and waits for a line; without its "\r\n", taken; valid until the next call. */
const char *wire_line(struct wire *w);
/* …for `len` bytes; taken; valid until the next call. */
const char *wire_take(struct wire *w, size_t len);

#endif
