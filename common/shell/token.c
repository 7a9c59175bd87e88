/*
 * token.c: a word while it is read. Each byte knows where it came from, so that braces, fields and globs
 * are made only of what the shell would make them of. See shell_int.h.
 */
#include "common/compat.h"
#include "common/shell/shell_int.h"

/* ---- building ---- */

static void make_room(struct shell_parser *p, struct shell_token *t, size_t more)
{
    if (t->bytes && t->cap - t->len >= more)
        return;
    size_t cap = t->cap ? 2 * (size_t)t->cap : 48;
    while (cap < t->len + more)
        cap *= 2;
    char *bytes = arena_alloc(p->state->arena, 2 * cap);
    unsigned char *kinds = (unsigned char *)bytes + cap;
    if (t->len) {
        memcpy(bytes, t->bytes, t->len);
        memcpy(kinds, t->kinds, t->len);
    }
    t->bytes = bytes;
    t->kinds = kinds;
    t->cap = (uint32_t)cap;
}

void shell_token_puts(struct shell_parser *p, struct shell_token *token, const char *s, size_t len,
                      enum shell_kind kind)
{
    if (len == 0)
        return;
    /* Values that are put together again and again (x=$x$x) must not outgrow the text. */
    p->state->work += kind == SHELL_K_PLAIN ? 0 : len;
    if (p->state->work > p->state->work_max + SHELL_BYTES_MAX) {
        shell_fail_limit(p, "too much to look at");
        return;
    }
    make_room(p, token, len);
    memcpy(token->bytes + token->len, s, len);
    memset(token->kinds + token->len, (int)kind, len);
    token->len += (uint32_t)len;
}

void shell_token_put(struct shell_parser *p, struct shell_token *token, char c,
                     enum shell_kind kind)
{
    make_room(p, token, 1);
    token->bytes[token->len] = c;
    token->kinds[token->len] = (unsigned char)kind;
    token->len++;
}

void shell_token_any(struct shell_parser *p, struct shell_token *token)
{
    if (token->len == 0 || token->kinds[token->len - 1] != SHELL_K_ANY)
        shell_token_put(p, token, SHELL_ANY, SHELL_K_ANY);
}

static bool is_separator(const struct shell_parser *p, char c)
{
    return c == ' ' || c == '\t' || c == '\n' || (p->separators && c && strchr(p->separators, c));
}

void shell_token_value(struct shell_parser *p, struct shell_token *token, const char *s, size_t len,
                       bool is_quoted)
{
    if (len == 0)
        return;
    for (const char *end = s + len; s < end && !p->state->is_over;) {
        size_t n = 0;
        if (*s == SHELL_ANY) {
            shell_token_any(p, token);
            n = 1;
        } else if (!is_quoted && is_separator(p, *s)) {
            shell_token_put(p, token, ' ', SHELL_K_BREAK);
            token->has_break = true;
            n = 1;
        } else {
            while (s + n < end && s[n] != SHELL_ANY && (is_quoted || !is_separator(p, s[n])))
                n++;
            shell_token_puts(p, token, s, n, is_quoted ? SHELL_K_QUOTED : SHELL_K_VALUE);
        }
        s += n;
    }
}

void shell_words_add(struct shell_parser *p, struct shell_words *words, struct shell_word word)
{
    if (words->n == words->cap) {
        uint32_t cap = words->cap ? 2 * words->cap : 8;
        struct shell_word *more = arena_alloc(p->state->arena, cap * sizeof *more);
        if (words->n)
            memcpy(more, words->at, words->n * sizeof *more);
        words->at = more;
        words->cap = cap;
    }
    words->at[words->n++] = word;
    if (words->n > SHELL_WORDS_MAX)
        shell_fail_limit(p, "too many words");
}

struct shell_word shell_word_of(struct shell_parser *p, const char *s, size_t len, uint32_t flags)
{
    struct shell_word word = {
        .text = arena_strndup(p->state->arena, s, len),
        .len = (uint32_t)len,
        .flags = flags,
    };
    if (shell_find_any(s, len))
        word.flags |= SHELL_UNKNOWN;
    return word;
}

struct shell_text shell_text_of(const struct shell_word *word)
{
    return (struct shell_text){word->text, word->len};
}

struct shell_text shell_join_words(struct shell_parser *p, const struct shell_word *words, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += words[i].len + 1;
    char *out = arena_alloc(p->state->arena, len + 1);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (i)
            out[at++] = ' ';
        memcpy(out + at, words[i].text, words[i].len);
        at += words[i].len;
    }
    return (struct shell_text){out, (uint32_t)at};
}

/* ---- words of a token ---- */

/* `brackets_end` is behind the last ] of the word: [ alone is a command. */
static bool is_glob(const struct shell_token *t, uint32_t i, uint32_t brackets_end)
{
    char c = t->bytes[i];
    if (t->kinds[i] != SHELL_K_PLAIN && t->kinds[i] != SHELL_K_VALUE)
        return false;
    return c == '*' || c == '?' || (c == '[' && i < brackets_end);
}

/* What ~ at the start stands for, *ret_len bytes of it; NULL: nothing. ~user is taken to be /home/user. */
static const char *read_tilde(struct shell_parser *p, const struct shell_token *t, uint32_t from,
                              uint32_t to, uint32_t *ret_len)
{
    const char *home = p->state->context->home;
    uint32_t end = from + 1;

    if (from == to || t->bytes[from] != '~' || t->kinds[from] != SHELL_K_PLAIN)
        return NULL;
    while (end < to && t->bytes[end] != '/' && t->kinds[end] == SHELL_K_PLAIN)
        end++;
    if (end < to && t->bytes[end] != '/')
        return NULL;
    *ret_len = end - from;
    if (end == from + 1)
        return home;
    if (end == from + 2 && t->bytes[from + 1] == '+')
        return p->cwd;
    if (end == from + 5 && memcmp(t->bytes + from + 1, "root", 4) == 0)
        return "/root";
    return arena_printf(p->state->arena, "/home/%.*s", (int)(end - from - 1), t->bytes + from + 1);
}

static struct shell_word make_word(struct shell_parser *p, const struct shell_token *t,
                                   uint32_t from, uint32_t to)
{
    struct shell_word word = {.flags = t->is_quoted ? SHELL_QUOTED : 0};
    uint32_t tilde_len = 0, brackets_end = to;
    const char *tilde = read_tilde(p, t, from, to, &tilde_len);

    while (brackets_end > from && t->bytes[brackets_end - 1] != ']')
        brackets_end--;
    if (t->is_process)
        word.flags |= SHELL_PROCESS;
    for (uint32_t i = from; i < to; i++) {
        if (t->kinds[i] == SHELL_K_ANY)
            word.flags |= SHELL_UNKNOWN;
        else if (!(word.flags & SHELL_GLOB) && is_glob(t, i, brackets_end))
            word.flags |= SHELL_GLOB;
    }
    if (tilde) {
        word.text = arena_printf(p->state->arena, "%s%.*s", tilde, (int)(to - from - tilde_len),
                                 t->bytes + from + tilde_len);
        word.len = (uint32_t)strlen(word.text);
    } else if (from == to && t->has_positional) {
        static const char any[] = {SHELL_ANY, 0};
        word.text = any;
        word.len = 1;
        word.flags |= SHELL_UNKNOWN;
    } else {
        word.text = arena_strndup(p->state->arena, t->bytes ? t->bytes + from : "", to - from);
        word.len = to - from;
    }
    return word;
}

struct shell_word shell_token_word(struct shell_parser *p, const struct shell_token *token,
                                   uint32_t begin, uint32_t end)
{
    struct shell_word word = make_word(p, token, 0, token->len);
    if (p->is_given) {
        word.begin = begin;
        word.end = end;
    }
    return word;
}

static void add_fields(struct shell_parser *p, const struct shell_token *t, uint32_t begin,
                       uint32_t end, struct shell_words *words)
{
    uint32_t from = 0;
    for (uint32_t i = 0; i <= t->len; i++) {
        if (i < t->len && t->kinds[i] != SHELL_K_BREAK)
            continue;
        if (i > from || (t->len == 0 && (t->is_quoted || t->has_positional))) {
            struct shell_word word = make_word(p, t, from, i);
            if (p->is_given) {
                word.begin = begin;
                word.end = end;
            }
            shell_words_add(p, words, word);
        }
        from = i + 1;
    }
}

/* ---- braces ---- */

struct brace {
    uint32_t open;
    uint32_t close;
    bool is_list; /* {a,b}; else {1..9} */
};

static bool is_plain(const struct shell_token *t, uint32_t i, char c)
{
    return t->bytes[i] == c && t->kinds[i] == SHELL_K_PLAIN;
}

/* True when i stands at ".." of a sequence. */
static bool is_dots(const struct shell_token *t, uint32_t i)
{
    return i + 1 < t->len && is_plain(t, i, '.') && is_plain(t, i + 1, '.');
}

/* The first brace pair from `from` on that means something. One pass with a stack. */
static bool find_brace(const struct shell_token *t, uint32_t from, struct brace *ret)
{
    struct brace open[16];
    bool has_dots[16];
    unsigned n = 0;
    bool is_found = false;

    for (uint32_t i = from; i < t->len; i++) {
        if (is_plain(t, i, '{')) {
            if (n == CB_ARRAY_LEN(open))
                return is_found;
            has_dots[n] = false;
            open[n++] = (struct brace){.open = i};
        } else if (n && is_plain(t, i, ',')) {
            open[n - 1].is_list = true;
        } else if (n && is_dots(t, i)) {
            has_dots[n - 1] = true;
        } else if (n && is_plain(t, i, '}')) {
            struct brace *b = &open[--n];
            if (!b->is_list && !has_dots[n])
                continue;
            b->close = i;
            if (!is_found || b->open < ret->open)
                *ret = *b;
            is_found = true;
            if (n == 0)
                break;
        }
    }
    return is_found;
}

static struct shell_token splice(struct shell_parser *p, const struct shell_token *t,
                                 struct brace b, uint32_t from, uint32_t to)
{
    struct shell_token out = {.is_quoted = t->is_quoted, .has_break = t->has_break};
    uint32_t tail = t->len - b.close - 1;
    make_room(p, &out, (size_t)b.open + (to - from) + tail + 1);
    memcpy(out.bytes, t->bytes, b.open);
    memcpy(out.kinds, t->kinds, b.open);
    memcpy(out.bytes + b.open, t->bytes + from, to - from);
    memcpy(out.kinds + b.open, t->kinds + from, to - from);
    memcpy(out.bytes + b.open + (to - from), t->bytes + b.close + 1, tail);
    memcpy(out.kinds + b.open + (to - from), t->kinds + b.close + 1, tail);
    out.len = b.open + (to - from) + tail;
    return out;
}

struct expansion {
    struct shell_words *words;
    uint32_t begin, end;
    unsigned count; /* of words so far */
    unsigned depth;
};

static void expand_braces(struct shell_parser *p, const struct shell_token *t, struct expansion *e);

static void expand_part(struct shell_parser *p, const struct shell_token *t, struct brace b,
                        uint32_t from, uint32_t to, struct expansion *e)
{
    p->state->work += t->len;
    if (p->state->work > p->state->work_max + SHELL_BYTES_MAX) {
        shell_fail_limit(p, "too much to look at");
        return;
    }
    struct shell_token part = splice(p, t, b, from, to);
    e->depth++;
    expand_braces(p, &part, e);
    e->depth--;
}

static void expand_list(struct shell_parser *p, const struct shell_token *t, struct brace b,
                        struct expansion *e)
{
    unsigned depth = 0;
    uint32_t from = b.open + 1;
    for (uint32_t i = from; i <= b.close && !p->state->is_over; i++) {
        if (i < b.close && is_plain(t, i, '{'))
            depth++;
        else if (i < b.close && is_plain(t, i, '}') && depth)
            depth--;
        if (i == b.close || (depth == 0 && is_plain(t, i, ','))) {
            expand_part(p, t, b, from, i, e);
            from = i + 1;
        }
    }
}

/* {a..e}: letters one by one; numbers are not worth counting. */
static void expand_sequence(struct shell_parser *p, const struct shell_token *t, struct brace b,
                            struct expansion *e)
{
    const char *s = t->bytes + b.open + 1;
    struct shell_token copy = *t;
    bool are_letters = b.close - b.open == 5 && shell_is_name_start(s[0]) &&
                       shell_is_name_start(s[3]);
    int step = are_letters && s[3] < s[0] ? -1 : 1;

    if (are_letters) {
        for (char c = s[0];; c = (char)(c + step)) {
            copy = splice(p, t, b, b.open + 1, b.open + 2);
            copy.bytes[b.open] = c;
            expand_braces(p, &copy, e);
            if (c == s[3] || p->state->is_over)
                return;
        }
    }
    copy = splice(p, t, b, b.open + 1, b.open + 2);
    copy.bytes[b.open] = SHELL_ANY;
    copy.kinds[b.open] = SHELL_K_ANY;
    expand_braces(p, &copy, e);
}

static void expand_braces(struct shell_parser *p, const struct shell_token *t, struct expansion *e)
{
    struct brace b = {0};
    if (e->depth == SHELL_DEPTH_MAX || !find_brace(t, 0, &b)) {
        add_fields(p, t, e->begin, e->end, e->words);
        if (++e->count > SHELL_BRACES_MAX)
            shell_fail_limit(p, "braces give too many words");
        return;
    }
    if (b.is_list)
        expand_list(p, t, b, e);
    else
        expand_sequence(p, t, b, e);
}

void shell_token_words(struct shell_parser *p, const struct shell_token *token, uint32_t begin,
                       uint32_t end, struct shell_words *words)
{
    if (!token->has_brace) {
        add_fields(p, token, begin, end, words);
        return;
    }
    struct expansion e = {.words = words, .begin = begin, .end = end};
    expand_braces(p, token, &e);
}
