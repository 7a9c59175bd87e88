/*
 * term.c: see term.h. Pure functions but for term_detect(). Widths follow the ranges of Unicode's
 * EastAsianWidth (W, F) and the common combining blocks; a wrong width only misaligns a table.
 */
#include "common/compat.h"
#include "client/term.h"

#include "common/utf8.h"

#include <sys/ioctl.h>

/* ---- the terminal ---- */

static int columns_of(int fd)
{
    struct winsize size;
    const char *env = getenv("COLUMNS");
    long n = env ? strtol(env, NULL, 10) : 0;

    int wanted = n >= 20 && n <= 1000 ? (int)n : 0;
    int has = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 ? size.ws_col : 0;
    /* A COLUMNS that was exported before the window was made smaller would have every line wrapped. */
    if (has)
        return wanted && wanted < has ? wanted : has;
    return wanted ? wanted : 80;
}

static int rows_of(int fd)
{
    struct winsize size;

    return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_row : 0;
}

static bool wants_color(bool is_tty)
{
    const char *none = getenv("NO_COLOR");
    const char *force = getenv("CLICOLOR_FORCE");
    const char *kind = getenv("TERM");

    if (none && *none)
        return false;
    if (force && *force && strcmp(force, "0") != 0)
        return true;
    return is_tty && kind && *kind && strcmp(kind, "dumb") != 0;
}

struct term term_detect(int fd)
{
    struct term t = {.is_tty = isatty(fd) == 1};

    t.has_color = wants_color(t.is_tty);
    t.width = t.is_tty ? columns_of(fd) : 0;
    t.height = t.is_tty ? rows_of(fd) : 0;
    return t;
}

/* ---- characters ---- */

/* What must not reach a terminal as it is: controls, and characters without a width that hide or
 * join. */
static bool is_unsafe(uint32_t c)
{
    return utf8_is_control(c) || (c >= 0x200b && c <= 0x200f) || (c >= 0x2060 && c <= 0x2064) ||
           c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

static void put_escaped(struct buf *out, uint32_t c)
{
    if (c == '\n')
        buf_puts(out, "\\n");
    else if (c == '\t')
        buf_puts(out, "\\t");
    else if (c == '\r')
        buf_puts(out, "\\r");
    else if (c < 0x80)
        buf_printf(out, "\\x%02x", (unsigned)c);
    else if (c <= 0xffff)
        buf_printf(out, "\\u%04x", (unsigned)c);
    else
        buf_printf(out, "\\U%08x", (unsigned)c);
}

void term_put(struct buf *out, const char *s, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t c = 0;
        n = utf8_decode(s + i, len - i, &c);
        if (n == 0) {
            buf_printf(out, "\\x%02x", (unsigned char)s[i]);
            n = 1;
        } else if (is_unsafe(c)) {
            put_escaped(out, c);
        } else {
            buf_append(out, s + i, n);
        }
    }
}

/* The same values are bare as in a line of the log. */
void term_put_value(struct buf *out, const char *s, size_t len)
{
    bool is_bare = len > 0;

    for (size_t i = 0; i < len; i++)
        is_bare = is_bare && !memchr(" \"=\\", s[i], 4);
    if (is_bare) {
        term_put(out, s, len);
        return;
    }
    buf_putc(out, '"');
    for (size_t i = 0, n; i < len; i += n) {
        n = 0;
        while (i + n < len && s[i + n] != '"' && s[i + n] != '\\')
            n++;
        term_put(out, s + i, n);
        if (i + n < len) {
            buf_putc(out, '\\');
            buf_putc(out, s[i + n++]);
        }
    }
    buf_putc(out, '"');
}

static void put_json_escape(struct buf *out, uint32_t c)
{
    if (c <= 0xffff) {
        buf_printf(out, "\\u%04x", (unsigned)c);
        return;
    }
    c -= 0x10000;
    buf_printf(out, "\\u%04x\\u%04x", (unsigned)(0xd800 + (c >> 10)),
               (unsigned)(0xdc00 + (c & 0x3ff)));
}

void term_put_json(struct buf *out, const char *s, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t c = 0;
        n = utf8_decode(s + i, len - i, &c);
        if (n == 0) { /* not JSON at all */
            buf_puts(out, "\\ufffd");
            n = 1;
        } else if (is_unsafe(c) && c != '\n' && c != '\t' && c != '\r') {
            put_json_escape(out, c);
        } else {
            buf_append(out, s + i, n);
        }
    }
}

/* ---- widths ---- */

struct range {
    uint32_t first, last;
};

static const struct range combining[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd},   {0x0610, 0x061a}, {0x064b, 0x065f},
    {0x06d6, 0x06dc}, {0x0900, 0x0902}, {0x093c, 0x093c},   {0x0941, 0x0948}, {0x0e31, 0x0e31},
    {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e}, {0x1ab0, 0x1aff},   {0x1dc0, 0x1dff}, {0x20d0, 0x20f0},
    {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef},
};

static const struct range wide[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},
    {0x25fd, 0x25fe},   {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26a1, 0x26a1},
    {0x26aa, 0x26ab},   {0x26bd, 0x26be},   {0x26c4, 0x26c5},   {0x26ce, 0x26ce},
    {0x26d4, 0x26d4},   {0x26ea, 0x26ea},   {0x2705, 0x2705},   {0x270a, 0x270b},
    {0x2728, 0x2728},   {0x274c, 0x274c},   {0x274e, 0x274e},   {0x2753, 0x2755},
    {0x2757, 0x2757},   {0x2795, 0x2797},   {0x2e80, 0x303e},   {0x3041, 0x33ff},
    {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xa000, 0xa4cf},   {0xa960, 0xa97f},
    {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
    {0xffe0, 0xffe6},   {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
    {0x1fa70, 0x1faff}, {0x20000, 0x3fffd},
};

static bool is_in(uint32_t c, const struct range *ranges, size_t count)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && c >= ranges[low].first;
}

static size_t width_of(uint32_t c)
{
    if (c < 0x300)
        return 1;
    if (is_in(c, combining, CB_ARRAY_LEN(combining)))
        return 0;
    return is_in(c, wide, CB_ARRAY_LEN(wide)) ? 2 : 1;
}

size_t term_width(const char *s, size_t len)
{
    size_t columns = 0;

    for (size_t i = 0, n; i < len; i += n) {
        uint32_t c = 0;
        n = utf8_decode(s + i, len - i, &c);
        columns += n ? width_of(c) : 1;
        n = n ? n : 1;
    }
    return columns;
}

size_t term_fit(const char *s, size_t len, size_t columns)
{
    size_t i = 0;

    while (i < len) {
        uint32_t c = 0;
        size_t n = utf8_decode(s + i, len - i, &c);
        size_t w = n ? width_of(c) : 1;
        if (w > columns)
            break;
        columns -= w;
        i += n ? n : 1;
    }
    return i;
}
