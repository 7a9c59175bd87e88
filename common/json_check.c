/*
 * json_check.c: the scanner behind json_check() and json_is_utf8(); see json.h.
 *
 * One pass by recursive descent, at most JSON_DEPTH_MAX levels. It stops at the first byte that is
 * wrong; `at` is always the next byte to look at. It allocates only for keys (json_keys.c), and all
 * of that is freed when it returns.
 */
#include "common/compat.h"
#include "common/json.h"

#include "common/json_bytes.h"
#include "common/json_keys.h"

struct scan {
    const char *text;
    const char *at;
    const char *end;
    unsigned depth;
    bool is_in_key;
    bool has_escape; /* in the string that was scanned last */
    struct json_error *error;
    struct json_keys keys;
};

static int scan_value(struct scan *s);

/* --- Errors and single bytes -------------------------------------------------------------------- */

static int CB_PRINTF(3, 4) fail(struct scan *s, const char *at, const char *fmt, ...)
{
    if (!s->error)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    s->error->offset = (size_t)(at - s->text);
    vsnprintf(s->error->text, sizeof s->error->text, fmt, ap);
    va_end(ap);
    return -1;
}

static int fail_expected(struct scan *s, const char *what)
{
    return fail(s, s->at, "expected %s%s", what, s->at == s->end ? ", but the text ends" : "");
}

/* The next byte, or -1 at the end. */
static int peek(const struct scan *s)
{
    return s->at < s->end ? (unsigned char)*s->at : -1;
}

static void skip_space(struct scan *s)
{
    while (s->at < s->end && json_is_space(*s->at))
        s->at++;
}

/* --- Strings ------------------------------------------------------------------------------------ */

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The four digits behind \u. */
static int scan_hex4(struct scan *s, unsigned *ret_unit)
{
    unsigned unit = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int digit = hex_digit(peek(s));
        if (digit < 0)
            return fail_expected(s, "a hexadecimal digit");
        unit = unit << 4 | (unsigned)digit;
    }
    *ret_unit = unit;
    return 0;
}

/* Behind a high surrogate: the low one. `start` is the backslash of the high one. */
static int scan_low_surrogate(struct scan *s, const char *start)
{
    unsigned unit = 0;
    if (s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u')
        return fail(s, start, "surrogate without its other half");
    s->at += 2;
    if (scan_hex4(s, &unit) < 0)
        return -1;
    if (unit < 0xdc00 || unit > 0xdfff)
        return fail(s, start, "surrogate without its other half");
    return 0;
}

static int scan_unicode_escape(struct scan *s)
{
    const char *start = s->at - 2;
    unsigned unit = 0;
    if (scan_hex4(s, &unit) < 0)
        return -1;
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return fail(s, start, "surrogate without its other half");
    if (unit >= 0xd800 && unit <= 0xdbff)
        return scan_low_surrogate(s, start);
    if (unit == 0 && s->is_in_key)
        return fail(s, start, "NUL in a key");
    return 0;
}

static int scan_escape(struct scan *s)
{
    s->has_escape = true;
    s->at++;
    int c = peek(s);
    if (c < 0 || !c || !strchr("\"\\/bfnrtu", c))
        return fail_expected(s, "an escape: one of \"\\/bfnrtu");
    s->at++;
    return c == 'u' ? scan_unicode_escape(s) : 0;
}

/* A run of characters beyond ASCII. */
static int scan_utf8(struct scan *s)
{
    while (s->at < s->end && (unsigned char)*s->at >= 0x80) {
        size_t len = json_utf8_len(s->at, s->end);
        if (len == 0)
            return fail(s, s->at, "not UTF-8");
        s->at += len;
    }
    return 0;
}

static int scan_string(struct scan *s)
{
    s->has_escape = false;
    s->at++;
    for (;;) {
        s->at = json_skip_plain(s->at, s->end);
        int c = peek(s);
        if (c == '"')
            break;
        if (c < 0)
            return fail_expected(s, "'\"'");
        if (c < 0x20)
            return fail(s, s->at, "control character in a string");
        if ((c == '\\' ? scan_escape(s) : scan_utf8(s)) < 0)
            return -1;
    }
    s->at++;
    return 0;
}

/* --- Numbers and words -------------------------------------------------------------------------- */

static int scan_digits(struct scan *s)
{
    const char *start = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > start ? 0 : fail_expected(s, "a digit");
}

static int scan_exponent(struct scan *s)
{
    s->at++;
    if (peek(s) == '+' || peek(s) == '-')
        s->at++;
    return scan_digits(s);
}

static int scan_number(struct scan *s)
{
    if (peek(s) == '-')
        s->at++;
    const char *start = s->at;
    if (scan_digits(s) < 0)
        return -1;
    if (*start == '0' && s->at - start > 1)
        return fail(s, start + 1, "digit behind a leading zero");
    if (peek(s) == '.') {
        s->at++;
        if (scan_digits(s) < 0)
            return -1;
    }
    return peek(s) == 'e' || peek(s) == 'E' ? scan_exponent(s) : 0;
}

static bool is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A text without quotes, for one: "expected null" would be a riddle for whoever wrote `not json`. */
static int fail_word(struct scan *s, const char *start)
{
    int len = 0;

    while (start + len < s->end && len < 16 && is_letter((unsigned char)start[len]))
        len++;
    return fail(s, start, "expected a value, not the word %.*s", len, start);
}

static int scan_word(struct scan *s, const char *word)
{
    const char *start = s->at;

    for (const char *w = word; *w; w++, s->at++) {
        if (peek(s) != (unsigned char)*w)
            return s->at == s->end ? fail_expected(s, word) : fail_word(s, start);
    }
    return 0;
}

/* --- Containers --------------------------------------------------------------------------------- */

static int scan_key(struct scan *s, struct json_keys_object *object)
{
    const char *start = s->at;
    if (peek(s) != '"')
        return fail_expected(s, "a key (a string)");
    s->is_in_key = true;
    if (scan_string(s) < 0)
        return -1;
    s->is_in_key = false;
    struct json_span literal = {start, (size_t)(s->at - start)};
    if (!json_keys_add(&s->keys, object, literal, s->has_escape))
        return fail(s, start, "duplicate key");
    skip_space(s);
    if (peek(s) != ':')
        return fail_expected(s, "':'");
    s->at++;
    return 0;
}

/* Behind a member or an element. Returns 1 when another one follows, 0 behind the end, -1. */
static int scan_separator(struct scan *s, char closing)
{
    skip_space(s);
    int c = peek(s);
    if (c != ',' && c != closing)
        return fail_expected(s, closing == '}' ? "',' or '}'" : "',' or ']'");
    s->at++;
    if (c == closing)
        return 0;
    skip_space(s);
    return 1;
}

static int scan_members(struct scan *s, struct json_keys_object *object)
{
    int more;
    do {
        if (scan_key(s, object) < 0 || scan_value(s) < 0)
            return -1;
        more = scan_separator(s, '}');
    } while (more > 0);
    return more;
}

static int scan_elements(struct scan *s)
{
    int more;
    do {
        if (scan_value(s) < 0)
            return -1;
        more = scan_separator(s, ']');
    } while (more > 0);
    return more;
}

static int scan_container(struct scan *s, char closing)
{
    struct json_keys_object object;
    if (s->depth == JSON_DEPTH_MAX)
        return fail(s, s->at, "nested deeper than %d", JSON_DEPTH_MAX);
    s->at++;
    skip_space(s);
    if (peek(s) == closing) {
        s->at++;
        return 0;
    }
    s->depth++;
    json_keys_open(&s->keys, &object);
    int r = closing == '}' ? scan_members(s, &object) : scan_elements(s);
    json_keys_close(&s->keys, &object);
    s->depth--;
    return r;
}

/* --- Values and the whole ----------------------------------------------------------------------- */

/* A value and the white space before it. */
static int scan_value(struct scan *s)
{
    skip_space(s);
    int c = peek(s);
    switch (c) {
    case '"':
        return scan_string(s);
    case '{':
        return scan_container(s, '}');
    case '[':
        return scan_container(s, ']');
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        if (is_letter(c))
            return fail_word(s, s->at);
        return c == '-' || (c >= '0' && c <= '9') ? scan_number(s) : fail_expected(s, "a value");
    }
}

static int scan_document(struct scan *s, struct json_span *ret_value)
{
    if (s->end - s->at > JSON_BYTES_MAX)
        return fail(s, s->at + JSON_BYTES_MAX, "longer than %d bytes", JSON_BYTES_MAX);
    if (s->end - s->at >= 3 && memcmp(s->at, "\xef\xbb\xbf", 3) == 0)
        return fail(s, s->at, "byte order mark");
    skip_space(s);
    const char *start = s->at;
    if (scan_value(s) < 0)
        return -1;
    *ret_value = (struct json_span){start, (size_t)(s->at - start)};
    skip_space(s);
    return s->at == s->end ? 0 : fail(s, s->at, "expected the end of the text");
}

int json_check(const char *text, size_t len, struct json_span *ret_value, enum json_type *ret_type,
               struct json_error *error)
{
    struct scan s;
    struct json_span value = {text, 0};
    s.text = s.at = len ? text : "";
    s.end = s.text + len;
    s.depth = 0;
    s.is_in_key = s.has_escape = false;
    s.error = error;
    json_keys_init(&s.keys);
    int r = scan_document(&s, &value);
    json_keys_done(&s.keys);
    if (r < 0)
        return -1;
    if (ret_value)
        *ret_value = value;
    if (ret_type)
        *ret_type = json_type_of(value);
    return 0;
}

bool json_is_utf8(const char *s, size_t len)
{
    if (len == 0)
        return true;
    for (const char *end = s + len; s < end;) {
        if (end - s >= 8 && !(json_load8(s) & JSON_EACH_BYTE(0x80))) {
            s += 8;
            continue;
        }
        size_t step = json_utf8_len(s, end);
        if (step == 0)
            return false;
        s += step;
    }
    return true;
}
