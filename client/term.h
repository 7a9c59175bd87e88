/*
 * term.h: what may go to a terminal, and how wide it is there.
 *
 * Text that others wrote may hold escape sequences (ESC, C1 controls) or characters that reorder
 * what is shown. Everything that the client prints for people goes through term_put(); JSON for a
 * terminal through term_put_json(), which keeps it the same JSON.
 */
#ifndef CB_TERM_H
#define CB_TERM_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct term {
    bool is_tty;
    bool has_color; /* NO_COLOR, CLICOLOR_FORCE and TERM=dumb are respected */
    int width;      /* columns; 0 when it is not a terminal: no limit */
    int height;     /* rows; 0 when it is not a terminal, or not known */
};

/* Looks at a file descriptor and the environment. */
struct term term_detect(int fd);

/* Appends text for people: control characters (C0, DEL, C1), characters that change the direction
 * of text, line separators and bytes that are not UTF-8 become \n, \t, \x1b, \u202e and the like.
 * Adds no newline. */
void term_put(struct buf *out, const char *s, size_t len);
/* A value behind "name=" in a line of such: in quotes when it would not be seen where it ends. */
void term_put_value(struct buf *out, const char *s, size_t len);
/* Appends JSON: characters that term_put() would escape become \u escapes inside its strings. */
void term_put_json(struct buf *out, const char *s, size_t len);
/* Columns that well-formed UTF-8 without controls takes (wide and combining characters counted). */
size_t term_width(const char *s, size_t len);
/* Bytes of the longest start of `s` that takes at most `columns`. */
size_t term_fit(const char *s, size_t len, size_t columns);

#endif
