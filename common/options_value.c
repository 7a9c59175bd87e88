/*
 * options_value.c: one value of the configuration: from a YAML scalar, as text, and in words.
 *
 * Stricter than YAML 1.1: a boolean is true or false (never yes, no, on, off), a number is decimal
 * digits, and both stand without quotes.
 */
#include "common/compat.h"
#include "common/options_private.h"

#include "common/utf8.h"

#include <strings.h>

static const struct {
    const char *suffix;
    unsigned shift;
} byte_units[] = {{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}};

enum { FACTOR_DIGITS = 3 };

/* ---- in words ---- */

static void put_bytes(int64_t n, struct buf *out)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(byte_units); i++) {
        int64_t unit = INT64_C(1) << byte_units[i].shift;
        if (n > 0 && n % unit == 0) {
            buf_printf(out, "%" PRId64 "%s", n / unit, byte_units[i].suffix);
            return;
        }
    }
    buf_put_int(out, n);
}

/* 1500 is 1.5. */
static void put_factor(int64_t n, struct buf *out)
{
    buf_put_int(out, n / 1000);
    if (n % 1000 == 0)
        return;
    buf_printf(out, ".%03d", (int)(n % 1000));
    while (out->data[out->len - 1] == '0')
        out->data[--out->len] = '\0';
}

/* The i-th word of "a|b|c", its length in *len; NULL behind the last. */
static const char *choice_at(const char *choices, int64_t i, size_t *len)
{
    for (; i > 0; i--) {
        choices = strchr(choices, '|');
        if (!choices)
            return NULL;
        choices++;
    }
    *len = strcspn(choices, "|");
    return choices;
}

void options_put_number(const struct option_row *option, int64_t n, struct buf *out)
{
    size_t len = 0;

    switch (option->type) {
    case OPTION_BOOL:
        buf_puts(out, n ? "true" : "false");
        break;
    case OPTION_BYTES:
        put_bytes(n, out);
        break;
    case OPTION_FACTOR:
        put_factor(n, out);
        break;
    case OPTION_ENUM: {
        const char *word = choice_at(option->choices, n, &len);
        cb_assert(word);
        buf_append(out, word, len);
        break;
    }
    default:
        buf_put_int(out, n);
    }
}

static void put_range(const char *what, const struct option_row *option, struct buf *out)
{
    buf_puts(out, what);
    buf_puts(out, ", ");
    options_put_number(option, option->min, out);
    buf_puts(out, " to ");
    options_put_number(option, option->max, out);
}

static void put_choices(const char *choices, struct buf *out)
{
    size_t len = 0;
    const char *word;

    for (int64_t i = 0; (word = choice_at(choices, i, &len)); i++) {
        bool is_last = word[len] == '\0';
        buf_puts(out, i == 0 ? "" : is_last ? " or " : ", ");
        buf_append(out, word, len);
    }
}

void options_put_expected(const struct option_row *option, struct buf *out)
{
    switch (option->type) {
    case OPTION_BOOL:
        buf_puts(out, "true or false");
        break;
    case OPTION_INT:
        if (option->min == option->max)
            buf_put_int(out, option->min);
        else
            put_range("whole number", option, out);
        break;
    case OPTION_TIME:
        put_range("milliseconds", option, out);
        break;
    case OPTION_BYTES:
        put_range("size", option, out);
        break;
    case OPTION_FACTOR:
        put_range("number", option, out);
        break;
    case OPTION_STR:
        buf_printf(out, "text of %s%" PRId64 " bytes", option->min ? "1 to " : "at most ",
                   option->max);
        break;
    case OPTION_LIST:
        buf_printf(out, "list of texts, at most %" PRId64 " bytes", option->max);
        break;
    case OPTION_PATH:
        buf_puts(out, option->min ? "absolute path" : "absolute path or \"\"");
        break;
    case OPTION_ENUM:
        put_choices(option->choices, out);
        break;
    }
}

/* ---- reading ---- */

/* Appends the value as the file has it: escaped, cut to a readable length. */
static void put_given(const struct yaml_node *node, struct buf *out)
{
    enum { SHOWN_MAX = 60 };
    size_t len = node->len;

    if (len > SHOWN_MAX) {
        len = SHOWN_MAX;
        while (len > 0 && ((unsigned char)node->text[len] & 0xC0) == 0x80)
            len--;
    }
    buf_putc(out, '"');
    utf8_put_escaped(out, node->text, len, '"');
    buf_puts(out, len < node->len ? "…\"" : "\"");
}

static int refuse(const struct option_row *option, const struct yaml_node *node, const char *what,
                  struct buf *problem)
{
    if (option->type != OPTION_STR) { /* an address may hold a password */
        put_given(node, problem);
        buf_putc(problem, ' ');
    }
    buf_printf(problem, "%s (expected ", what);
    options_put_expected(option, problem);
    buf_putc(problem, ')');
    return -1;
}

/* Decimal digits without leading zeroes, perhaps a minus; false for anything else or an overflow.
 * */
static bool parse_digits(const char *s, size_t len, int64_t *ret)
{
    bool is_negative = len > 0 && s[0] == '-';
    size_t at = is_negative;
    int64_t n = 0;

    if (at == len || (s[at] == '0' && len > at + 1))
        return false;
    for (; at < len; at++) {
        if (s[at] < '0' || s[at] > '9')
            return false;
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, s[at] - '0', &n))
            return false;
    }
    *ret = is_negative ? -n : n;
    return true;
}

/* Digits, then perhaps KiB, MiB, GiB or TiB, perhaps after one space. */
static bool parse_bytes(const char *s, size_t len, int64_t *ret)
{
    int64_t unit = 1;

    for (size_t i = 0; i < CB_ARRAY_LEN(byte_units); i++) {
        if (len > 3 && memcmp(s + len - 3, byte_units[i].suffix, 3) == 0) {
            unit = INT64_C(1) << byte_units[i].shift;
            len -= 3;
            len -= s[len - 1] == ' ';
            break;
        }
    }
    return parse_digits(s, len, ret) && !__builtin_mul_overflow(*ret, unit, ret);
}

/* Digits, then perhaps a point and one to three more. */
static bool parse_factor(const char *s, size_t len, int64_t *ret)
{
    const char *point = memchr(s, '.', len);
    size_t whole = point ? (size_t)(point - s) : len;
    size_t digits = point ? len - whole - 1 : 0;
    int64_t n, part = 0;

    if (!parse_digits(s, whole, &n) || n < 0 || n > INT64_MAX / 2000 || (point && digits == 0) ||
        digits > FACTOR_DIGITS)
        return false;
    for (size_t i = 0; i < FACTOR_DIGITS; i++) {
        char c = i < digits ? point[1 + i] : '0';
        if (c < '0' || c > '9')
            return false;
        part = part * 10 + (c - '0');
    }
    *ret = n * 1000 + part;
    return true;
}

static int set_bool(struct options *opts, const struct option_row *option,
                    const struct yaml_node *node, struct buf *problem)
{
    bool is_true = strcmp(node->text, "true") == 0;

    if (!is_true && strcmp(node->text, "false") != 0)
        return refuse(option, node, "is not a boolean", problem);
    options_set_number(opts, option, is_true);
    return 0;
}

static int set_number(struct options *opts, const struct option_row *option,
                      const struct yaml_node *node, struct buf *problem)
{
    int64_t n = 0;

    if (option->type == OPTION_BYTES && !parse_bytes(node->text, node->len, &n))
        return refuse(option, node, "is not a size", problem);
    if (option->type == OPTION_FACTOR && !parse_factor(node->text, node->len, &n))
        return refuse(option, node, "is not a number with at most three decimals", problem);
    if (option->type != OPTION_BYTES && option->type != OPTION_FACTOR &&
        !parse_digits(node->text, node->len, &n))
        return refuse(option, node, "is not a whole number", problem);
    if (n < option->min)
        return refuse(option, node, "is too small", problem);
    if (n > option->max)
        return refuse(option, node, "is too large", problem);
    options_set_number(opts, option, n);
    return 0;
}

static int set_enum(struct options *opts, const struct option_row *option,
                    const struct yaml_node *node, struct buf *problem)
{
    size_t len = 0;
    const char *word;

    for (int64_t i = 0; (word = choice_at(option->choices, i, &len)); i++) {
        if (len == node->len && memcmp(word, node->text, len) == 0) {
            options_set_number(opts, option, i);
            return 0;
        }
    }
    return refuse(option, node, "is not known", problem);
}

static bool has_control(const char *s, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t cp = 0;
        size_t n = utf8_decode(s + at, len - at, &cp);
        if (n == 0 || utf8_is_control(cp))
            return true;
        at += n;
    }
    return false;
}

static int set_string(struct options *opts, const struct option_row *option,
                      const struct yaml_node *node, struct buf *problem)
{
    if (has_control(node->text, node->len))
        return refuse(option, node, "has control characters", problem);
    if ((int64_t)node->len < option->min)
        return refuse(option, node, "is too short", problem);
    if ((int64_t)node->len > option->max)
        return refuse(option, node, "is too long", problem);
    if (option->type == OPTION_PATH && node->len > 0 && node->text[0] != '/')
        return refuse(option, node, "is not an absolute path", problem);
    options_set_string(opts, option, node->text, node->len);
    return 0;
}

void options_join_list(const struct yaml_node *list, struct buf *out)
{
    for (const struct yaml_node *item = list->child; item; item = item->next) {
        buf_puts(out, out->len ? " " : "");
        if (item->type == YAML_IS_SCALAR)
            buf_append(out, item->text, item->len);
        else
            buf_puts(out, "?");
    }
}

int options_set(struct options *opts, const struct option_row *option, const struct yaml_node *node,
                struct buf *problem)
{
    cb_assert(node->type == YAML_IS_SCALAR);
    if (yaml_is_null(node)) {
        buf_puts(problem, "has no value (expected ");
        options_put_expected(option, problem);
        buf_putc(problem, ')');
        return -1;
    }
    if (options_is_string(option))
        return set_string(opts, option, node, problem);
    if (option->type == OPTION_ENUM)
        return set_enum(opts, option, node, problem);
    if (!node->is_plain)
        return refuse(option, node, "is text because of its quotes", problem);
    return option->type == OPTION_BOOL ? set_bool(opts, option, node, problem)
                                       : set_number(opts, option, node, problem);
}
