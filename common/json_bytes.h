/*
 * json_bytes.h: the inner loops that json.c and json_check.c share. Not for others.
 *
 * Text is looked at eight bytes at a time, as one number (R. Mycroft's test for a zero byte); the
 * tests below are exact about "some byte of the eight", and the callers find out which.
 */
#ifndef CB_JSON_BYTES_H
#define CB_JSON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define JSON_EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

static inline uint64_t json_load8(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* ASCII that stands for itself in a string: no quote, no backslash, no control character. */
static inline bool json_is_plain(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 0x20 && u < 0x80 && u != '"' && u != '\\';
}

/* The first byte that is not plain, or `end`. */
static inline const char *json_skip_plain(const char *at, const char *end)
{
    for (; end - at >= 8; at += 8) {
        uint64_t w = json_load8(at);
        uint64_t quote = (w ^ JSON_EACH_BYTE('"')) - JSON_EACH_BYTE(1);
        uint64_t slash = (w ^ JSON_EACH_BYTE('\\')) - JSON_EACH_BYTE(1);
        uint64_t control = w - JSON_EACH_BYTE(0x20);
        if ((w | quote | slash | control) & JSON_EACH_BYTE(0x80))
            break;
    }
    while (at < end && json_is_plain(*at))
        at++;
    return at;
}

/* The first quote or backslash, or `end`: for strings that were checked before. */
static inline const char *json_skip_checked(const char *at, const char *end)
{
    for (; end - at >= 8; at += 8) {
        uint64_t w = json_load8(at);
        uint64_t quote = w ^ JSON_EACH_BYTE('"');
        uint64_t slash = w ^ JSON_EACH_BYTE('\\');
        uint64_t found = ((quote - JSON_EACH_BYTE(1)) & ~quote) |
                         ((slash - JSON_EACH_BYTE(1)) & ~slash);
        if (found & JSON_EACH_BYTE(0x80))
            break;
    }
    while (at < end && *at != '"' && *at != '\\')
        at++;
    return at;
}

static inline bool json_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline bool json_is_continuation(char c, unsigned char low, unsigned char high)
{
    unsigned char u = (unsigned char)c;
    return u >= low && u <= high;
}

/* Length (1 to 4) of the well-formed UTF-8 sequence at `at`; 0 when it is ill-formed or cut off
 * (Unicode 15, table 3-7). */
static inline size_t json_utf8_len(const char *at, const char *end)
{
    unsigned char lead = (unsigned char)at[0];
    size_t left = (size_t)(end - at);
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4 || left < 2)
        return 0;
    if (lead < 0xe0)
        return json_is_continuation(at[1], 0x80, 0xbf) ? 2 : 0;
    if (left < 3 || !json_is_continuation(at[2], 0x80, 0xbf))
        return 0;
    if (lead < 0xf0)
        return json_is_continuation(at[1], lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf)
                   ? 3
                   : 0;
    if (left < 4 || !json_is_continuation(at[3], 0x80, 0xbf))
        return 0;
    return json_is_continuation(at[1], lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf) ? 4
                                                                                               : 0;
}

#endif
