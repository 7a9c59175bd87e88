/*
 * arena.c: see arena.h. Blocks of at least 16 KiB, the one in use first.
 */
#include "common/compat.h"
#include "common/arena.h"

#include "common/mem.h"

enum { BLOCK_BYTES = 16384, KEEP_BYTES = 256 << 10 };

struct arena_block {
    struct arena_block *next;
    size_t size;
    size_t used;
    _Alignas(max_align_t) char data[];
};

static void free_blocks(struct arena_block **list)
{
    while (*list) {
        struct arena_block *next = (*list)->next;
        free(*list);
        *list = next;
    }
}

void arena_done(struct arena *a)
{
    free_blocks(&a->blocks);
    free_blocks(&a->spare);
}

void arena_reset(struct arena *a)
{
    struct arena_block *old[] = {a->blocks, a->spare};
    size_t kept = 0;

    *a = (struct arena)ARENA_INIT;
    for (size_t i = 0; i < CB_ARRAY_LEN(old); i++)
        for (struct arena_block *b = old[i], *next; b; b = next) {
            next = b->next;
            if (kept + b->size > KEEP_BYTES) {
                free(b);
                continue;
            }
            kept += b->size;
            b->used = 0;
            b->next = a->spare;
            a->spare = b;
        }
}

/* A block with so much room, as the first one. */
static struct arena_block *add_block(struct arena *a, size_t size)
{
    struct arena_block **at = &a->spare;
    while (*at && (*at)->size < size)
        at = &(*at)->next;
    struct arena_block *b = *at;
    if (b) {
        *at = b->next;
    } else {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        b = mem_realloc(NULL, sizeof *b + room); /* zeroed piece by piece */
        b->size = room;
        b->used = 0;
    }
    b->next = a->blocks;
    a->blocks = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t align = _Alignof(max_align_t);
    struct arena_block *b = a->blocks;
    cb_assert(size < SIZE_MAX / 2);
    size = (size + align - 1) / align * align;
    if (!b || b->size - b->used < size)
        b = add_block(a, size);
    void *p = b->data + b->used;
    b->used += size;
    memset(p, 0, size);
    return p;
}

char *arena_int(struct arena *a, int64_t n)
{
    char digits[20];
    size_t count = 0;
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    char *text = arena_alloc(a, count + 2), *to = text;
    if (n < 0)
        *to++ = '-';
    while (count > 0)
        *to++ = digits[--count];
    return text;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *p = arena_alloc(a, len + 1);
    if (len)
        memcpy(p, s, len);
    return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    cb_assert(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}
