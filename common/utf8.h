/*
 * utf8.h: one character at a time, for what people will read: log lines, error messages, YAML.
 */
#ifndef CB_UTF8_H
#define CB_UTF8_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Decodes the first character of `s` (len > 0). Returns its length, 1 to 4, with its code point in
 * *ret_cp, or 0 when the bytes are not UTF-8 (stray byte, cut short, overlong, surrogate, above
 * U+10FFFF).
 */
size_t utf8_decode(const char *s, size_t len, uint32_t *ret_cp);
/* Offset of the first byte that is not UTF-8; `len` when there is none. */
size_t utf8_valid_len(const char *s, size_t len);

/*
 * A character that may not reach a terminal or a line of text as it is: controls (C0, DEL, C1),
 * line and paragraph separators, and those that turn the direction of writing.
 */
bool utf8_is_control(uint32_t cp);

/* Appends the text with \ as \\, `quote` (0: none) as \quote, line feed, return and tab as \n \r
 * \t, and each byte of a control character or of what is not UTF-8 as \xNN. */
void utf8_put_escaped(struct buf *out, const char *s, size_t len, char quote);

#endif
