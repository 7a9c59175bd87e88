/*
 * arena.h: memory of one request or one batch: many small allocations, freed together.
 */
#ifndef CB_ARENA_H
#define CB_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_block;
struct arena {
    struct arena_block *blocks;
    struct arena_block *spare; /* kept by a reset for what comes */
};

#define ARENA_INIT                                                                                 \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }

/* Frees everything. Fits CB_CLEANUP(arena_done). */
void arena_done(struct arena *a);
/* Frees everything but about 256 KiB of blocks, so that a loop does not go through malloc each time. */
void arena_reset(struct arena *a);
/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *a, size_t size);
/* A copy with a NUL behind it. */
char *arena_strndup(struct arena *a, const char *s, size_t len);
/* The number in decimal. */
char *arena_int(struct arena *a, int64_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
