/*
 * utf8.c: see utf8.h.
 */
#include "common/compat.h"
#include "common/utf8.h"

/* Length of a character by its first byte; 0 for a byte that starts none. Strips the length's bits.
 * */
static size_t lead_byte(unsigned char c, uint32_t *bits)
{
    if (c < 0x80) {
        *bits = c;
        return 1;
    }
    if (c >= 0xC2 && c < 0xE0) {
        *bits = c & 0x1Fu;
        return 2;
    }
    if (c >= 0xE0 && c < 0xF0) {
        *bits = c & 0x0Fu;
        return 3;
    }
    if (c >= 0xF0 && c < 0xF5) {
        *bits = c & 0x07u;
        return 4;
    }
    return 0;
}

size_t utf8_decode(const char *s, size_t len, uint32_t *ret_cp)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t cp = 0;
    size_t n = lead_byte((unsigned char)s[0], &cp);

    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if ((c & 0xC0) != 0x80)
            return 0;
        cp = cp << 6 | (c & 0x3Fu);
    }
    if (cp < smallest[n] || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000))
        return 0;
    *ret_cp = cp;
    return n;
}

size_t utf8_valid_len(const char *s, size_t len)
{
    size_t at = 0;

    while (at < len) {
        uint32_t cp;
        size_t n = utf8_decode(s + at, len - at, &cp);
        if (n == 0)
            break;
        at += n;
    }
    return at;
}

bool utf8_is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7F && cp < 0xA0) || cp == 0x061C || cp == 0x200E || cp == 0x200F ||
           (cp >= 0x2028 && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0xFEFF;
}

static void put_hex(struct buf *out, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_printf(out, "\\x%02x", (unsigned char)s[i]);
}

/* Appends one escaped character of `n` bytes (0: a byte that is not UTF-8). */
static void put_character(struct buf *out, const char *s, size_t n, uint32_t cp, char quote)
{
    if (n == 0)
        put_hex(out, s, 1);
    else if (cp == '\\' || (quote && cp == (unsigned char)quote))
        buf_printf(out, "\\%c", (char)cp);
    else if (cp == '\n')
        buf_puts(out, "\\n");
    else if (cp == '\r')
        buf_puts(out, "\\r");
    else if (cp == '\t')
        buf_puts(out, "\\t");
    else if (utf8_is_control(cp))
        put_hex(out, s, n);
    else
        buf_append(out, s, n);
}

void utf8_put_escaped(struct buf *out, const char *s, size_t len, char quote)
{
    for (size_t at = 0; at < len;) {
        uint32_t cp = 0;
        size_t n = utf8_decode(s + at, len - at, &cp);
        put_character(out, s + at, n, cp, quote);
        at += n ? n : 1;
    }
}
