/*
 * shape.h: the params of a request and, for the bare server, where in them the arguments of its script stand.
 *
 * One function per method (step.c) puts the params together with these calls. The client keeps the params; the bare
 * server runs the function once and keeps the shape: which keys and arguments the script takes, each a constant or so
 * many bytes at such a place of the params. So both sides call a script with the same arguments, and the bare server
 * needs no JSON. All requests of a row have the same shape, byte by byte in length.
 */
#ifndef CB_BENCH_SHAPE_H
#define CB_BENCH_SHAPE_H

#include "common/buf.h"

#include <stdbool.h>

enum { SHAPE_TEXT = 400 };

struct shape_piece {
    bool is_constant;
    bool is_drawn;         /* a constant where a worker puts something random */
    char text[SHAPE_TEXT]; /* a constant, or what comes before the bytes of the params */
    size_t at, len;        /* bytes of the params; of a constant its length */
};

struct shape {
    struct shape_piece *keys, *args; /* keys: ids of tasks */
    size_t nkeys, nargs;
    size_t params_len;
    unsigned operations; /* task operations, for the bounds of a group */
};
void shape_done(struct shape *shape);

struct shape_writer {
    struct buf params;
    struct shape *shape; /* NULL: only the params are wanted */
};

/* Params that are no argument: names, brackets. */
void shape_put(struct shape_writer *w, const char *text);
/* Params that are an argument, and with it a key of the script, the id of a task. */
void shape_put_arg(struct shape_writer *w, const char *text);
void shape_put_id(struct shape_writer *w, const char *id);
/* An argument that the params do not show: a default, or empty. Shorter than SHAPE_TEXT. */
void shape_arg(struct shape_writer *w, const char *text);
void shape_arg_int(struct shape_writer *w, int64_t n);
/* An argument that a worker draws or reckons; here it is always `text`, which is about as long. */
void shape_arg_drawn(struct shape_writer *w, const char *text);
/* Params that are the end of an argument; `head` (shorter than SHAPE_TEXT) is what the worker puts before it. */
void shape_put_behind(struct shape_writer *w, const char *head, const char *text);
/* The argument number `i`, which is of the params, again, as the end of another one. */
void shape_arg_again(struct shape_writer *w, const char *head, size_t i);
/* The request is as much work as so many operations. */
void shape_operations(struct shape_writer *w, unsigned n);

#endif
