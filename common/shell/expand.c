/*
 * expand.c: words of a shell text: quotes, escapes, $name, ${…}, $(…), `…`, <(…). See shell_int.h.
 */
#include "common/compat.h"
#include "common/shell/shell_int.h"

/* ---- escapes ---- */

static int digit_of(char c, int base)
{
    int d = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : 99;
    return d < base ? d : -1;
}

static const char *read_number(const char *at, const char *end, int base, int digits_max,
                               uint32_t *ret_value)
{
    uint32_t value = 0;
    const char *stop = end - at > digits_max ? at + digits_max : end;
    while (at < stop && digit_of(*at, base) >= 0)
        value = value * (uint32_t)base + (uint32_t)digit_of(*at++, base);
    *ret_value = value;
    return at;
}

/* A NUL would end the text; SHELL_ANY is ours. */
static void put_byte(struct shell_parser *p, struct shell_token *token, uint32_t byte)
{
    char c = (char)byte;
    if (c == SHELL_ANY)
        shell_token_any(p, token);
    else if (c != '\0')
        shell_token_put(p, token, c, SHELL_K_QUOTED);
}

static void put_code_point(struct shell_parser *p, struct shell_token *token, uint32_t cp)
{
    if (cp < 0x80) {
        put_byte(p, token, cp);
    } else if (cp < 0x800) {
        put_byte(p, token, 0xc0 | cp >> 6);
        put_byte(p, token, 0x80 | (cp & 0x3f));
    } else if (cp < 0x10000) {
        put_byte(p, token, 0xe0 | cp >> 12);
        put_byte(p, token, 0x80 | (cp >> 6 & 0x3f));
        put_byte(p, token, 0x80 | (cp & 0x3f));
    } else {
        put_byte(p, token, 0xf0 | (cp >> 18 & 7));
        put_byte(p, token, 0x80 | (cp >> 12 & 0x3f));
        put_byte(p, token, 0x80 | (cp >> 6 & 0x3f));
        put_byte(p, token, 0x80 | (cp & 0x3f));
    }
}

size_t shell_put_escape(struct shell_parser *p, struct shell_token *token, const char *at,
                        const char *end)
{
    static const char from[] = "abefnrtv", to[] = "\a\b\033\f\n\r\t\v";
    const char *start = at;
    uint32_t value = 0;

    if (at == end) {
        shell_token_put(p, token, '\\', SHELL_K_QUOTED);
        return 0;
    }
    const char *known = strchr(from, *at);
    char c = *at++;
    if (known && c) {
        shell_token_put(p, token, to[known - from], SHELL_K_QUOTED);
    } else if (c == 'x' && at < end && digit_of(*at, 16) >= 0) {
        at = read_number(at, end, 16, 2, &value);
        put_byte(p, token, value);
    } else if (c == 'u' || c == 'U') {
        at = read_number(at, end, 16, c == 'u' ? 4 : 8, &value);
        put_code_point(p, token, value);
    } else if (digit_of(c, 8) >= 0) {
        /* echo -e and printf %b want \0nnn, the others \nnn. */
        at = read_number(start, end, 8, c == '0' ? 4 : 3, &value);
        put_byte(p, token, value & 0xff);
    } else if (c == 'c' && at < end) {
        put_byte(p, token, (uint32_t)*at++ & 0x1f);
    } else {
        if (!strchr("\\'\"?", c))
            shell_token_put(p, token, '\\', SHELL_K_QUOTED);
        put_byte(p, token, (unsigned char)c);
    }
    return (size_t)(at - start);
}

/* ---- quotes ---- */

void shell_read_single(struct shell_parser *p, struct shell_token *token)
{
    uint32_t from = p->pos + 1;
    const char *close = memchr(p->text + from, '\'', p->end - from);
    if (!close) {
        shell_fail(p, p->pos, "single quote without end");
        return;
    }
    uint32_t to = (uint32_t)(close - p->text);
    token->is_quoted = true;
    shell_token_value(p, token, p->text + from, to - from, true);
    p->pos = to + 1;
}

/* $'…': pos is at the quote. */
static void read_ansi(struct shell_parser *p, struct shell_token *token)
{
    uint32_t open = p->pos++;
    token->is_quoted = true;
    while (p->pos < p->end && p->text[p->pos] != '\'') {
        char c = p->text[p->pos++];
        if (c == '\\')
            p->pos += (uint32_t)shell_put_escape(p, token, p->text + p->pos, p->text + p->end);
        else
            put_byte(p, token, (unsigned char)c);
    }
    if (p->pos >= p->end) {
        shell_fail(p, open, "single quote without end");
        return;
    }
    p->pos++;
}

/* A backslash where only some characters are escaped; pos is at it. */
static void read_weak_escape(struct shell_parser *p, struct shell_token *token,
                             const char *escapable)
{
    char next = p->pos + 1 < p->end ? p->text[p->pos + 1] : 0;
    if (next == '\n') {
        p->pos += 2;
    } else if (next && strchr(escapable, next)) {
        shell_token_put(p, token, next, SHELL_K_QUOTED);
        p->pos += 2;
    } else {
        shell_token_put(p, token, '\\', SHELL_K_QUOTED);
        p->pos++;
    }
}

/* Text up to the next character that means something in double quotes. */
static void read_weak_text(struct shell_parser *p, struct shell_token *token, const char *special)
{
    uint32_t from = p->pos;
    while (p->pos < p->end && !strchr(special, p->text[p->pos]))
        p->pos++;
    shell_token_value(p, token, p->text + from, p->pos - from, true);
}

/* The next piece of a text in which `special` alone mean something, and lose that behind a backslash. */
static void read_weak_piece(struct shell_parser *p, struct shell_token *token, const char *special)
{
    switch (p->text[p->pos]) {
    case '\\':
        read_weak_escape(p, token, special);
        break;
    case '$':
        shell_read_dollar(p, token, true);
        break;
    case '`':
        shell_read_backtick(p, token, true);
        break;
    default:
        read_weak_text(p, token, special);
    }
}

void shell_read_double(struct shell_parser *p, struct shell_token *token)
{
    uint32_t open = p->pos++;
    token->is_quoted = true;
    while (p->pos < p->end && !shell_is_over(p)) {
        if (p->text[p->pos] == '"') {
            p->pos++;
            return;
        }
        read_weak_piece(p, token, "$`\"\\");
    }
    if (!shell_is_over(p))
        shell_fail(p, open, "double quote without end");
}

void shell_read_here_text(struct shell_parser *p, struct shell_token *token, uint32_t end)
{
    uint32_t saved_end = p->end;
    p->end = end;
    while (p->pos < p->end && !shell_is_over(p))
        read_weak_piece(p, token, "$`\\");
    p->end = saved_end;
}

/* ---- substitutions ---- */

/* Runs parse_list() up to `)`; pos is behind the opening one. Returns what is printed, as far as known. */
static struct shell_token read_commands(struct shell_parser *p, uint32_t open)
{
    struct shell_token saved = p->output, printed;
    const char *cwd = p->cwd;
    struct shell_variable *variables = p->variables;
    unsigned nvariables = p->nvariables;

    memset(&p->output, 0, sizeof p->output);
    if (shell_enter(p)) {
        shell_parse_list(p, SHELL_TO_PAREN);
        if (!shell_is_over(p)) {
            if (p->pos < p->end)
                p->pos++;
            else
                shell_fail(p, open, "parenthesis without end");
        }
        shell_leave(p);
    }
    printed = p->output;
    p->output = saved;
    p->cwd = cwd;
    p->variables = variables;
    p->nvariables = nvariables;
    return printed;
}

static void put_printed(struct shell_parser *p, struct shell_token *token, const char *at,
                        uint32_t len, bool is_quoted)
{
    while (len && at[len - 1] == '\n')
        len--;
    shell_token_value(p, token, at, len, is_quoted);
}

void shell_read_process(struct shell_parser *p, struct shell_token *token)
{
    uint32_t open = p->pos;
    bool is_input = p->text[open] == '<';
    p->pos += 2;
    struct shell_token printed = read_commands(p, open);
    /* A shell that gets this as its script runs what is printed there: keep it in the word. */
    if (is_input && printed.len)
        shell_token_value(p, token, printed.bytes, printed.len, true);
    else
        shell_token_any(p, token);
    token->is_process = true;
}

void shell_read_backtick(struct shell_parser *p, struct shell_token *token, bool is_quoted)
{
    uint32_t open = p->pos, at = open + 1, len = 0;
    char *text = NULL;

    while (at < p->end && p->text[at] != '`')
        at += p->text[at] == '\\' ? 2 : 1;
    if (at >= p->end) {
        shell_fail(p, open, "backtick without end");
        return;
    }
    text = arena_alloc(p->state->arena, at - open);
    for (uint32_t i = open + 1; i < at; i++) {
        char next = p->text[i + 1];
        if (p->text[i] == '\\' &&
            (next == '`' || next == '\\' || next == '$' || (is_quoted && next == '"')))
            i++;
        text[len++] = p->text[i];
    }
    struct shell_text printed = shell_parse_inner(p, (struct shell_text){text, len}, "`…`",
                                                  p->parent, false);
    put_printed(p, token, printed.at, printed.len, is_quoted);
    p->pos = at + 1;
}

/* ---- arithmetic ---- */

uint32_t shell_find_arithmetic_end(const struct shell_parser *p)
{
    unsigned depth = 0;
    for (uint32_t i = p->pos; i < p->end; i++) {
        char c = p->text[i];
        if (c == '\\') {
            i++;
        } else if (c == '\'' || c == '"') {
            const char *close = memchr(p->text + i + 1, c, p->end - i - 1);
            if (!close)
                return 0;
            i = (uint32_t)(close - p->text);
        } else if (c == '(') {
            depth++;
        } else if (c == ')' && depth) {
            depth--;
        } else if (c == ')') {
            return i + 1 < p->end && p->text[i + 1] == ')' ? i : 0;
        }
    }
    return 0;
}

void shell_read_arithmetic(struct shell_parser *p, uint32_t end)
{
    struct shell_token unused = {0};
    uint32_t saved_end = p->end;
    p->end = end;
    while (p->pos < p->end && !shell_is_over(p)) {
        if (p->text[p->pos] == '$')
            shell_read_dollar(p, &unused, true);
        else if (p->text[p->pos] == '`')
            shell_read_backtick(p, &unused, true);
        else
            p->pos++;
    }
    p->end = saved_end;
}

/* $[…], $((…)): pos is behind the opening; false when there is no such end. */
static bool read_dollar_arithmetic(struct shell_parser *p, struct shell_token *token, char close)
{
    uint32_t end = 0, width = close == ']' ? 1 : 2;
    if (close == ']') {
        const char *at = memchr(p->text + p->pos, ']', p->end - p->pos);
        end = at ? (uint32_t)(at - p->text) : 0;
    } else {
        end = shell_find_arithmetic_end(p);
    }
    if (!end)
        return false;
    shell_read_arithmetic(p, end);
    if (!shell_is_over(p))
        p->pos = end + width;
    shell_token_any(p, token);
    return true;
}

/* ---- $ ---- */

void shell_read_dollar(struct shell_parser *p, struct shell_token *token, bool is_quoted)
{
    uint32_t at = p->pos;
    char next = at + 1 < p->end ? p->text[at + 1] : 0;

    if (next == '\'' && !is_quoted) {
        p->pos++;
        read_ansi(p, token);
    } else if (next == '"' && !is_quoted) {
        p->pos++;
        shell_read_double(p, token);
    } else if (next == '(') {
        p->pos += 2;
        if (p->pos < p->end && p->text[p->pos] == '(') {
            p->pos++;
            if (read_dollar_arithmetic(p, token, ')'))
                return;
            p->pos--;
        }
        struct shell_token printed = read_commands(p, at);
        put_printed(p, token, printed.bytes, printed.len, is_quoted);
        token->is_quoted |= is_quoted;
    } else if (next == '[') {
        p->pos += 2;
        if (!read_dollar_arithmetic(p, token, ']'))
            shell_token_puts(p, token, "$[", 2, SHELL_K_QUOTED);
    } else if (next == '{') {
        p->pos += 2;
        if (!shell_enter(p))
            return;
        shell_read_braced(p, token, is_quoted);
        shell_leave(p);
    } else {
        struct shell_text name = shell_read_name(p, at + 1);
        p->pos += 1 + name.len;
        if (name.len)
            shell_put_parameter(p, token, name, is_quoted);
        else
            shell_token_put(p, token, '$', SHELL_K_QUOTED);
    }
}

/* ---- a word ---- */

/* @(…), !(…): pos is at the parenthesis. What is inside is a pattern. */
static void read_extended_glob(struct shell_parser *p, struct shell_token *token)
{
    uint32_t open = p->pos;
    unsigned depth = 0;
    do {
        char c = p->text[p->pos];
        if (c == '\\' && p->pos + 1 < p->end) {
            p->pos += 2;
            continue;
        }
        depth += c == '(';
        depth -= c == ')';
        struct shell_token unused = {0};
        if (c == '\'')
            shell_read_single(p, &unused);
        else if (c == '"')
            shell_read_double(p, &unused);
        else if (c == '$')
            shell_read_dollar(p, &unused, false);
        else if (c == '`')
            shell_read_backtick(p, &unused, false);
        else
            p->pos++;
    } while (depth && p->pos < p->end && !shell_is_over(p));
    if (depth && !shell_is_over(p))
        shell_fail(p, open, "parenthesis without end");
    shell_token_any(p, token);
}

static bool is_extended_glob(const struct shell_token *token)
{
    return token->len && token->kinds[token->len - 1] == SHELL_K_PLAIN &&
           strchr("?*+@!", token->bytes[token->len - 1]);
}

void shell_read_word(struct shell_parser *p, struct shell_token *token)
{
    while (p->pos < p->end && !shell_is_over(p)) {
        char c = p->text[p->pos];
        switch (c) {
        case ' ':
        case '\t':
        case '\n':
        case ';':
        case '&':
        case '|':
        case '<':
        case '>':
        case ')':
            return;
        case '(':
            if (!is_extended_glob(token))
                return;
            read_extended_glob(p, token);
            break;
        case '\\':
            if (p->pos + 1 < p->end && p->text[p->pos + 1] == '\n') {
                p->pos += 2;
                break;
            }
            p->pos++;
            if (p->pos < p->end)
                shell_token_value(p, token, p->text + p->pos++, 1, true);
            token->is_quoted = true;
            break;
        case '\'':
            shell_read_single(p, token);
            break;
        case '"':
            shell_read_double(p, token);
            break;
        case '$':
            shell_read_dollar(p, token, false);
            break;
        case '`':
            shell_read_backtick(p, token, false);
            break;
        case SHELL_ANY:
            shell_token_any(p, token);
            p->pos++;
            break;
        default:
            token->has_brace |= c == '{';
            shell_token_put(p, token, c, SHELL_K_PLAIN);
            p->pos++;
        }
    }
}
