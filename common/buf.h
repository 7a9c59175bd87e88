/*
 * buf.h: a growable byte buffer. The data is always followed by a NUL that `len` does not count.
 */
#ifndef CB_BUF_H
#define CB_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* NULL until something is appended */
    size_t len;
    size_t cap;
};

#define BUF_INIT                                                                                   \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }

void buf_init(struct buf *b);
/* Frees the memory; the buffer is empty and usable again. Fits CB_CLEANUP(buf_done). */
void buf_done(struct buf *b);
/* Empties, keeps the memory. */
void buf_reset(struct buf *b);
/* Makes room for `more` bytes behind the end; returns where they go (len is not changed). */
char *buf_reserve(struct buf *b, size_t more);
void buf_append(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_put_int(struct buf *b, int64_t n);
/* Drops `n` bytes from the front. */
void buf_consume(struct buf *b, size_t n);
/* Gives the memory (NUL-terminated, never NULL) to the caller, who frees it; the buffer is empty. */
char *buf_take(struct buf *b);
/* The bytes as a C string: "" when nothing was appended. Valid until the next change. */
const char *buf_peek(const struct buf *b);

#endif
