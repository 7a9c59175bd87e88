/*
 * frame.h: the typed messages between the supervisor and a worker (ARCHITECTURE.md, "The processes").
 *
 * They travel on a SOCK_SEQPACKET socketpair, one message a packet, on fd FRAME_FD of the worker.
 * A packet with an unknown type, a wrong length or trailing bytes is refused, and its sender with it.
 */
#ifndef CB_FRAME_H
#define CB_FRAME_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

/* What a worker finds open when it starts. */
enum {
    FRAME_FD = 3,      /* control socket */
    OPTIONS_FD = 4,    /* memfd: the effective configuration as YAML (options_dump) */
    SCOREBOARD_FD = 5, /* memfd: see scoreboard.h */
};

enum { FRAME_PROTOCOL = 1, FRAME_MAX = 64 };

enum frame_type {
    FRAME_HELLO = 1, /* worker: I run; protocol, generation */
    FRAME_READY,     /* worker: Redis answers, scripts are there, group exists; redis_id */
    FRAME_GO,        /* supervisor: read your first request */
    FRAME_DRAIN,     /* supervisor: finish what you have, then leave */
    FRAME_BYE,       /* worker: I have nothing in hand and leave; reason */
};

enum frame_bye { BYE_DRAINED = 1, BYE_CONFIG = 2, BYE_FAILED = 3 };

struct frame {
    enum frame_type type;
    uint32_t protocol;   /* HELLO */
    uint64_t generation; /* HELLO */
    int64_t redis_id;    /* READY: CLIENT ID of the connection that reads requests */
    uint32_t reason;     /* BYE: enum frame_bye */
};

/* Writes the packet into `out`; returns its length. */
size_t frame_encode(const struct frame *f, unsigned char out[FRAME_MAX]);
/* Returns 0, or -1 when the bytes are not exactly one frame. */
int frame_decode(const unsigned char *data, size_t len, struct frame *ret, struct cb_error *err);
/* send(2) without blocking and without SIGPIPE. Returns 0, or -1 with errno. */
int frame_send(int fd, const struct frame *f);
/* Receives one frame: 1 got one, 0 nothing there (EAGAIN), -1 otherwise: err->code is 0 at the end of
 * the file, EBADMSG for a refused packet, else the errno of recv(2). */
int frame_recv(int fd, struct frame *ret, struct cb_error *err);
const char *frame_name(enum frame_type type);

#endif
