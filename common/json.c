/*
 * json.c: see json.h. Walking and decoding; the scanner is json_check.c, the writer json_put.c.
 *
 * All of it trusts that json_check() accepted the bytes: it looks for the ends of strings and containers
 * only, yet whatever is in a span it comes to an end and never reads beyond. It owns no state but the "C"
 * locale that numbers are read in.
 */
#include "common/compat.h"
#include "common/json.h"

#include "common/json_bytes.h"
#include "common/mem.h"

#include <locale.h>
#include <math.h>

/* --- Walking ------------------------------------------------------------------------------------ */

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && json_is_space(*at))
        at++;
    return at;
}

/* Behind the string literal that starts at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    at++;
    for (;;) {
        at = json_skip_checked(at, end);
        if (at == end)
            return end;
        if (*at == '"')
            return at + 1;
        at += end - at > 1 ? 2 : 1;
    }
}

/* Behind the object or array that starts at `at`. */
static const char *skip_container(const char *at, const char *end)
{
    unsigned depth = 0;
    while (at < end) {
        char c = *at;
        if (c == '"') {
            at = skip_string(at, end);
            continue;
        }
        at++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            break;
    }
    return at;
}

static const char *skip_value(const char *at, const char *end)
{
    if (at == end)
        return end;
    if (*at == '"')
        return skip_string(at, end);
    if (*at == '{' || *at == '[')
        return skip_container(at, end);
    while (at < end && *at != ',' && *at != '}' && *at != ']' && !json_is_space(*at))
        at++;
    return at;
}

void json_iter_init(struct json_iter *it, struct json_span container)
{
    enum json_type type = json_type_of(container);
    bool has_items = container.len >= 2 && (type == JSON_OBJECT || type == JSON_ARRAY);

    it->at = has_items ? container.at + 1 : NULL;
    it->end = has_items ? container.at + container.len - 1 : NULL;
    it->is_object = has_items && type == JSON_OBJECT;
}

bool json_iter_next(struct json_iter *it, struct json_item *ret_item)
{
    if (!it->at)
        return false;
    const char *at = skip_space(it->at, it->end);
    if (at < it->end && *at == ',')
        at = skip_space(at + 1, it->end);
    if (at >= it->end)
        return false;
    struct json_span key = {at, 0};
    if (it->is_object) {
        at = skip_string(at, it->end);
        key.len = (size_t)(at - key.at);
        at = skip_space(at, it->end);
        if (at < it->end) /* the colon */
            at = skip_space(at + 1, it->end);
    }
    it->at = skip_value(at, it->end);
    if (it->at == at) { /* never in a checked document */
        it->at = it->end;
        return false;
    }
    ret_item->key = key;
    ret_item->value = (struct json_span){at, (size_t)(it->at - at)};
    ret_item->type = json_type_of(ret_item->value);
    return true;
}

size_t json_count(struct json_span container)
{
    struct json_iter it;
    struct json_item item;
    size_t n = 0;
    json_iter_init(&it, container);
    while (json_iter_next(&it, &item))
        n++;
    return n;
}

bool json_find(struct json_span object, const char *name, struct json_item *ret_item)
{
    struct json_iter it;
    struct json_item item;
    json_iter_init(&it, object);
    while (it.is_object && json_iter_next(&it, &item)) {
        if (json_string_equals(item.key, name)) {
            *ret_item = item;
            return true;
        }
    }
    return false;
}

enum json_type json_type_of(struct json_span value)
{
    switch (value.len ? *value.at : 'n') {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
    case 'f':
        return JSON_BOOL;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

const char *json_type_name(enum json_type type)
{
    static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};
    cb_assert((size_t)type < CB_ARRAY_LEN(names));
    return names[type];
}

/* --- Strings ------------------------------------------------------------------------------------ */

static unsigned hex4(const char *at)
{
    unsigned unit = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        unsigned digit = (unsigned char)c <= '9' ? (unsigned)(c - '0')
                                                 : (unsigned)((c | 32) - 'a' + 10);
        unit = unit << 4 | (digit & 15);
    }
    return unit;
}

static size_t put_utf8(unsigned code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(leads[len] | (code & 0x3f));
    return len;
}

/* The escape that starts at *at: moves behind it and returns the number of bytes put into `out`. */
static size_t decode_escape(const char **at, const char *end, char out[4])
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *p = *at + 1;
    if (p == end || (*p == 'u' && end - p < 5)) {
        *at = end;
        return 0;
    }
    if (*p != 'u') {
        const char *known = *p ? strchr(from, *p) : NULL;
        out[0] = known ? to[known - from] : *p;
        *at = p + 1;
        return 1;
    }
    unsigned code = hex4(p + 1);
    p += 5;
    if (code >= 0xd800 && code <= 0xdbff && end - p >= 6) {
        code = 0x10000 + ((code - 0xd800) << 10) + ((hex4(p + 2) - 0xdc00) & 0x3ff);
        p += 6;
    }
    *at = p;
    return put_utf8(code, out);
}

/* Of no string: nothing. */
static struct json_span between_quotes(struct json_span literal)
{
    if (literal.len < 2 || *literal.at != '"')
        return (struct json_span){"", 0};
    return (struct json_span){literal.at + 1, literal.len - 2};
}

/* The next backslash, or `end`. */
static const char *find_escape(const char *at, const char *end)
{
    const char *found = at < end ? memchr(at, '\\', (size_t)(end - at)) : NULL;
    return found ? found : end;
}

void json_decode_string(struct json_span literal, struct buf *out)
{
    struct json_span inner = between_quotes(literal);
    const char *at = inner.at, *end = inner.at + inner.len;
    buf_reserve(out, inner.len);
    for (;;) {
        const char *escape = find_escape(at, end);
        buf_append(out, at, (size_t)(escape - at));
        if (escape == end)
            return;
        char bytes[4];
        at = escape;
        size_t n = decode_escape(&at, end, bytes);
        buf_append(out, bytes, n);
    }
}

size_t json_decoded_len(struct json_span literal)
{
    struct json_span inner = between_quotes(literal);
    const char *at = inner.at, *end = inner.at + inner.len;
    size_t len = 0;
    for (;;) {
        const char *escape = find_escape(at, end);
        len += (size_t)(escape - at);
        if (escape == end)
            return len;
        char bytes[4];
        at = escape;
        len += decode_escape(&at, end, bytes);
    }
}

bool json_string_equals(struct json_span literal, const char *s)
{
    if (literal.len < 2 || *literal.at != '"')
        return false;
    struct json_span inner = between_quotes(literal);
    const char *at = inner.at, *end = inner.at + inner.len;
    size_t left = strlen(s);
    while (at < end) {
        char bytes[4];
        const char *piece = at;
        size_t n = (size_t)(find_escape(at, end) - at);
        at += n;
        if (n == 0) {
            n = decode_escape(&at, end, bytes);
            piece = bytes;
        }
        if (n > left || memcmp(piece, s, n) != 0)
            return false;
        s += n;
        left -= n;
    }
    return left == 0;
}

/* --- Numbers ------------------------------------------------------------------------------------ */

int json_decode_int(struct json_span literal, int64_t *ret_value)
{
    const char *at = literal.at, *end = literal.at + literal.len;
    bool is_negative = literal.len > 0 && *at == '-';
    uint64_t limit = (uint64_t)INT64_MAX + is_negative;
    uint64_t n = 0;
    at += is_negative;
    if (at == end)
        return -1;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return -1;
        unsigned digit = (unsigned)(*at - '0');
        if (n > (limit - digit) / 10)
            return -1;
        n = n * 10 + digit;
    }
    *ret_value = is_negative ? (int64_t)(0 - n) : (int64_t)n;
    return 0;
}

static locale_t c_locale(void)
{
    static locale_t locale;
    if (!locale)
        locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    cb_assert(locale);
    return locale;
}

int json_decode_double(struct json_span literal, double *ret_value)
{
    char room[64];
    if (json_type_of(literal) != JSON_NUMBER)
        return -1;
    bool fits = literal.len < sizeof room;
    char *copy = fits ? room : mem_alloc(literal.len + 1);
    memcpy(copy, literal.at, literal.len);
    copy[literal.len] = '\0';
    double value = strtod_l(copy, NULL, c_locale());
    if (!fits)
        free(copy);
    if (!isfinite(value))
        return -1;
    *ret_value = value;
    return 0;
}
