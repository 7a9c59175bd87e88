/*
 * param.c: parameters of a shell text: $name and ${…}. See shell_int.h.
 *
 * Of the operations, those that give one of two known texts are followed (:- :+ :=), and those that are used to
 * hide a word: substrings, cut ends and case. All others give SHELL_ANY.
 */
#include "common/compat.h"
#include "common/shell/shell_int.h"

#include <fnmatch.h>

enum { TRIMMED_MAX = 256 };

static const char POSITIONAL[] = "@*123456789";

static void put_fields(struct shell_parser *p, struct shell_token *token,
                       const struct shell_variable *v, bool is_quoted)
{
    for (uint32_t i = 0; i < v->nfields && !p->state->is_over; i++) {
        if (i) {
            shell_token_put(p, token, ' ', SHELL_K_BREAK);
            token->has_break = true;
        }
        /* `for x in` a glob: what "$x" is was expanded then. */
        if (v->is_list && (v->fields[i].flags & SHELL_GLOB) &&
            !(v->fields[i].flags & SHELL_UNKNOWN))
            shell_token_puts(p, token, v->fields[i].text, v->fields[i].len, SHELL_K_VALUE);
        else
            shell_token_value(p, token, v->fields[i].text, v->fields[i].len, is_quoted);
    }
}

void shell_put_parameter(struct shell_parser *p, struct shell_token *token, struct shell_text name,
                         bool is_quoted)
{
    const struct shell_variable *v = shell_find_variable(p, name);
    if (v && v->nfields)
        put_fields(p, token, v, is_quoted);
    else if (v)
        token->is_quoted |= is_quoted;
    else if (name.len == 1 && strchr(POSITIONAL, name.at[0]))
        token->has_positional = true;
    else
        shell_token_any(p, token);
}

struct shell_text shell_read_name(const struct shell_parser *p, uint32_t at)
{
    uint32_t to = at;
    if (to < p->end && shell_is_name_start(p->text[to])) {
        while (to < p->end && shell_is_name_char(p->text[to]))
            to++;
    } else if (to < p->end && strchr("@*#?-$!0123456789", p->text[to]) && p->text[to]) {
        to++;
    }
    return (struct shell_text){p->text + at, to - at};
}

/* The word of ${x:-word}, up to the closing brace; pos ends behind it. */
static void read_operand(struct shell_parser *p, struct shell_token *token, bool is_quoted,
                         uint32_t open)
{
    while (p->pos < p->end && !shell_is_over(p)) {
        char c = p->text[p->pos];
        if (c == '}') {
            p->pos++;
            return;
        }
        if (c == '\'' && !is_quoted) {
            shell_read_single(p, token);
        } else if (c == '"') {
            shell_read_double(p, token);
        } else if (c == '$') {
            shell_read_dollar(p, token, is_quoted);
        } else if (c == '`') {
            shell_read_backtick(p, token, is_quoted);
        } else {
            p->pos += c == '\\' && p->pos + 1 < p->end;
            shell_token_value(p, token, p->text + p->pos, 1, is_quoted);
            p->pos++;
        }
    }
    if (!shell_is_over(p))
        shell_fail(p, open, "${ without end");
}

static void append_token(struct shell_parser *p, struct shell_token *token,
                         const struct shell_token *more)
{
    for (uint32_t i = 0; i < more->len && !p->state->is_over; i++)
        shell_token_put(p, token, more->bytes[i], (enum shell_kind)more->kinds[i]);
    token->is_quoted |= more->is_quoted;
    token->has_break |= more->has_break;
    token->has_positional |= more->has_positional;
}

/* ${x:1:2} of a value that is known. */
static void put_substring(struct shell_parser *p, struct shell_token *token,
                          const struct shell_variable *v, const struct shell_token *range,
                          bool is_quoted)
{
    char text[32];
    long from = 0, n = 0;
    char *rest = NULL;

    if (range->len >= sizeof text || v->nfields != 1)
        goto unknown;
    memcpy(text, range->bytes ? range->bytes : "", range->len);
    text[range->len] = '\0';
    from = strtol(text, &rest, 10);
    n = *rest == ':' ? strtol(rest + 1, &rest, 10) : (long)v->fields[0].len;
    long len = (long)v->fields[0].len;
    if (*rest != '\0' || range->len == 0)
        goto unknown;
    from = from < 0 ? len + from : from;
    if (from < 0 || from > len || n < 0)
        goto unknown;
    shell_token_value(p, token, v->fields[0].text + from, (size_t)(n < len - from ? n : len - from),
                      is_quoted);
    return;

unknown:
    shell_token_any(p, token);
}

static void put_case(struct shell_parser *p, struct shell_token *token,
                     const struct shell_variable *v, bool is_upper, bool is_quoted)
{
    for (uint32_t f = 0; f < v->nfields; f++) {
        for (uint32_t i = 0; i < v->fields[f].len && !p->state->is_over; i++) {
            char c = v->fields[f].text[i];
            if (is_upper && c >= 'a' && c <= 'z')
                c = (char)(c - 'a' + 'A');
            else if (!is_upper && c >= 'A' && c <= 'Z')
                c = (char)(c - 'A' + 'a');
            shell_token_value(p, token, &c, 1, is_quoted);
        }
    }
}

/* ${x#pattern} (is_suffix: %) of a value that is known; is_longest: the operator stands twice. */
static void put_trimmed(struct shell_parser *p, struct shell_token *token,
                        const struct shell_variable *v, const struct shell_token *operand,
                        struct shell_text op, bool is_quoted)
{
    char value[TRIMMED_MAX], part[TRIMMED_MAX], pattern[TRIMMED_MAX];
    bool is_suffix = op.at[0] == '%', is_longest = op.len == 2;
    size_t len = v->nfields == 1 ? v->fields[0].len : TRIMMED_MAX;

    if (len >= TRIMMED_MAX || operand->len >= TRIMMED_MAX) {
        shell_token_any(p, token);
        return;
    }
    memcpy(value, v->fields[0].text, len + 1);
    memcpy(pattern, operand->len ? operand->bytes : "", operand->len);
    pattern[operand->len] = '\0';
    for (size_t i = 0; i <= len; i++) {
        size_t cut = is_longest ? len - i : i; /* bytes that would go */
        memcpy(part, is_suffix ? value + len - cut : value, cut);
        part[cut] = '\0';
        if (fnmatch(pattern, part, 0) == 0) {
            shell_token_value(p, token, is_suffix ? value : value + cut, len - cut, is_quoted);
            return;
        }
    }
    shell_token_value(p, token, value, len, is_quoted);
}

/* Behind name and operator: what ${name op operand} gives. */
static void put_operation(struct shell_parser *p, struct shell_token *token, struct shell_text name,
                          struct shell_text op, const struct shell_token *operand, bool is_quoted)
{
    const struct shell_variable *v = shell_find_variable(p, name);
    char last = op.at[op.len - 1];

    if (last == '-' || last == '=') {
        if (v && v->nfields && v->fields[0].len)
            put_fields(p, token, v, is_quoted);
        else
            append_token(p, token, operand);
    } else if (last == '+') {
        append_token(p, token, operand);
    } else if (last == '?') {
        shell_put_parameter(p, token, name, is_quoted);
    } else if (v && op.len == 1 && last == ':') {
        put_substring(p, token, v, operand, is_quoted);
    } else if (v && op.len == 2 && (last == '^' || last == ',')) {
        put_case(p, token, v, last == '^', is_quoted);
    } else if (v && (op.at[0] == '%' || op.at[0] == '#') && last == op.at[0] &&
               !shell_find_any(operand->bytes, operand->len)) {
        put_trimmed(p, token, v, operand, op, is_quoted);
    } else {
        shell_token_any(p, token);
    }
}

/* :- - := = :+ + :? ? : ^ ^^ , ,, # ## % %% / // @ */
static uint32_t operator_len(const char *at, uint32_t len)
{
    if (len == 0 || !strchr(":-=+?^,#%/@", at[0]))
        return 0;
    bool is_double = len > 1 && (at[0] == ':' ? strchr("-=+?", at[1]) != NULL
                                              : at[1] == at[0] && strchr("^,#%/", at[0]));
    return is_double ? 2 : 1;
}

void shell_read_braced(struct shell_parser *p, struct shell_token *token, bool is_quoted)
{
    uint32_t open = p->pos - 2;
    bool is_indirect = p->pos + 1 < p->end && (p->text[p->pos] == '!' || p->text[p->pos] == '#') &&
                       p->text[p->pos + 1] != '}';
    struct shell_text name = shell_read_name(p, p->pos + is_indirect);
    struct shell_token operand = {0};
    bool is_element = false;

    p->pos += is_indirect + name.len;
    if (p->pos < p->end && p->text[p->pos] == '[') {
        const char *close = memchr(p->text + p->pos, ']', p->end - p->pos);
        uint32_t to = close ? (uint32_t)(close - p->text) + 1 : p->end;
        is_element = to - p->pos != 3 || (p->text[p->pos + 1] != '@' && p->text[p->pos + 1] != '*');
        shell_read_arithmetic(p, to);
    }
    uint32_t from = p->pos;
    p->pos += operator_len(p->text + from, p->end - from);
    struct shell_text op = {p->text + from, p->pos - from};
    read_operand(p, &operand, is_quoted, open);
    if (shell_is_over(p))
        return;
    if (is_indirect || is_element || name.len == 0)
        shell_token_any(p, token);
    else if (op.len == 0)
        shell_put_parameter(p, token, name, is_quoted);
    else
        put_operation(p, token, name, op, &operand, is_quoted);
}
