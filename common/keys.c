/*
 * keys.c: see keys.h.
 */
#include "common/compat.h"
#include "common/keys.h"

#include "common/buf.h"

static const struct key_row rows[] = {
#define KEY(id, pattern_, type_, cap_, text_)                                                      \
    [KEY_##id] = {.pattern = (pattern_), .type = (type_), .cap = (cap_), .text = (text_)},
#include "common/keys.def"
#undef KEY
};

const struct key_row *keys_row(enum key_id id)
{
    cb_assert(id < KEY_COUNT);
    return &rows[id];
}

char *keys_make(struct arena *arena, const char *prefix, enum key_id id, ...)
{
    struct buf key = BUF_INIT;
    va_list parts;

    va_start(parts, id);
    buf_puts(&key, prefix);
    buf_putc(&key, ':');
    for (const char *p = keys_row(id)->pattern; *p; p++) {
        if (*p == '%')
            buf_puts(&key, va_arg(parts, const char *));
        else
            buf_putc(&key, *p);
    }
    va_end(parts);
    char *result = arena_strndup(arena, key.data, key.len);
    buf_done(&key);
    return result;
}
