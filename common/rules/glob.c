/*
 * glob.c: globs for names and for paths. See rules_int.h.
 *
 * Names: backtracking to the last star only, so at most length × length steps, of texts that are short.
 * Paths that have wildcards themselves (`rm -rf /e?c`) are compared pattern with pattern: is there a path that both
 * match? A table of pairs of places, each looked at once.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

#include "common/mem.h"

enum { PATH_BYTES_MAX = 4096, PAIRS_MAX = 1 << 18 };

/* ---- names ---- */

static char fold(char c, bool is_nocase)
{
    return is_nocase && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool match_name(const char *pattern, const char *text, size_t len, bool is_nocase)
{
    const char *star = NULL;
    size_t at = 0, star_at = 0;

    while (at < len) {
        if (*pattern == '*') {
            star = ++pattern;
            star_at = at;
        } else if (*pattern &&
                   (*pattern == '?' || fold(*pattern, is_nocase) == fold(text[at], is_nocase))) {
            pattern++;
            at++;
        } else if (star) {
            pattern = star;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool rules_glob(const char *pattern, const char *text, size_t len)
{
    return match_name(pattern, text, len, false);
}

bool rules_glob_nocase(const char *pattern, const char *text)
{
    return match_name(pattern, text, strlen(text), true);
}

/* ---- paths ---- */

enum step { STEP_BYTE, STEP_ONE, STEP_STAR, STEP_ALL };

struct token {
    unsigned char step; /* enum step */
    char byte;
    bool is_first; /* of a component */
};

struct tokens {
    struct token *at;
    size_t n;
};

static bool is_class(const char *at, size_t *ret_len)
{
    const char *close = at[1] ? strchr(at + 2, ']') : NULL;
    if (!close || memchr(at, '/', (size_t)(close - at)))
        return false;
    *ret_len = (size_t)(close - at) + 1;
    return true;
}

static void tokenise(const char *text, bool has_all, struct tokens *out)
{
    bool is_first = true;
    out->at = mem_calloc(strlen(text) + 1, sizeof *out->at);
    out->n = 0;
    for (const char *at = text; *at; at++) {
        struct token *t = &out->at[out->n++];
        size_t len = 0;
        *t = (struct token){.step = STEP_BYTE, .byte = *at, .is_first = is_first};
        if (*at == '*') {
            bool is_all = has_all && at[1] == '*';
            t->step = is_all ? STEP_ALL : STEP_STAR;
            while (at[1] == '*')
                at++;
        } else if (*at == '?') {
            t->step = STEP_ONE;
        } else if (*at == '[' && is_class(at, &len)) {
            t->step = STEP_ONE;
            at += len - 1;
        }
        is_first = *at == '/';
    }
}

/* True when one byte can be both. */
static bool can_be_same(const struct token *p, const struct token *t)
{
    if (p->step == STEP_BYTE && t->step == STEP_BYTE)
        return p->byte == t->byte;
    const struct token *byte = p->step == STEP_BYTE ? p : t->step == STEP_BYTE ? t : NULL;
    if (!byte)
        return true;
    const struct token *wild = byte == p ? t : p;
    if (byte->byte == '/')
        return wild->step == STEP_ALL;
    /* The shell's * and ? do not find names that begin with a dot. */
    return !(byte == p && byte->byte == '.' && p->is_first && t->is_first);
}

static bool is_many(const struct token *token)
{
    return token->step == STEP_STAR || token->step == STEP_ALL;
}

/* Walks all pairs of places (i in the pattern, j in the text) that can be reached. */
static bool intersect(const struct tokens *p, const struct tokens *t)
{
    size_t width = t->n + 1;
    unsigned char *seen = mem_alloc((p->n + 1) * width);
    bool is_same = false;

    seen[0] = 1;
    for (size_t i = 0; i <= p->n && !is_same; i++) {
        for (size_t j = 0; j <= t->n; j++) {
            if (!seen[i * width + j])
                continue;
            if (i == p->n && j == t->n)
                is_same = true;
            if (i < p->n && is_many(&p->at[i]))
                seen[(i + 1) * width + j] = 1;
            if (j < t->n && is_many(&t->at[j]))
                seen[i * width + j + 1] = 1;
            if (i == p->n || j == t->n || !can_be_same(&p->at[i], &t->at[j]))
                continue;
            seen[(i + !is_many(&p->at[i])) * width + j + !is_many(&t->at[j])] = 1;
        }
    }
    free(seen);
    return is_same;
}

static bool is_in_class(const char *at, size_t len, char c)
{
    bool is_negated = at[1] == '!' || at[1] == '^', is_in = false;
    for (size_t i = 1 + is_negated; i + 1 < len; i++) {
        if (i + 3 < len && at[i + 1] == '-') {
            is_in |= c >= at[i] && c <= at[i + 2];
            i += 2;
        } else {
            is_in |= at[i] == c;
        }
    }
    return is_in != is_negated && c != '/';
}

/* Matches from the places on; each ** tries again from where it is. `steps` bounds them together. */
static bool match_path(const char *p, const char *t, unsigned *steps)
{
    const char *star = NULL, *star_at = NULL;

    for (;;) {
        size_t len = 0;
        if (++*steps > PAIRS_MAX)
            return true;
        if (p[0] == '*' && p[1] == '*') {
            while (*p == '*')
                p++;
            if (*p == '\0')
                return true;
            for (; *t; t++) {
                if (match_path(p, t, steps))
                    return true;
            }
            return match_path(p, t, steps);
        }
        if (*p == '*') {
            star = ++p;
            star_at = t;
        } else if (*t && *t != '/' && *p == '?') {
            p++;
            t++;
        } else if (*t && *p == '[' && is_class(p, &len) && is_in_class(p, len, *t)) {
            p += len;
            t++;
        } else if (*p == *t && *t) {
            p++;
            t++;
        } else if (*p == '\0' && *t == '\0') {
            return true;
        } else if (star && *star_at && *star_at != '/') {
            p = star;
            t = ++star_at;
        } else {
            return false;
        }
    }
}

/* False when the two differ before the first wildcard of either: nearly always. */
static bool may_begin_alike(const char *pattern, const char *path)
{
    static const char wild[] = "*?[";
    for (; *pattern && *path && *pattern == *path; pattern++, path++) {
        if (strchr(wild, *pattern))
            return true;
    }
    return (*pattern && strchr(wild, *pattern)) || (*path && strchr(wild, *path)) ||
           *pattern == *path;
}

/* `*.yml` for a pattern that is but a name, as that of secrets.yml in any folder: it could be, but nearly never is. */
static bool is_any_name(const char *pattern, const char *path)
{
    const char *slash = strrchr(path, '/');
    return strncmp(pattern, "**/", 3) == 0 && !strchr(pattern + 3, '/') && slash &&
           strchr("*?[", slash[1]) && slash[1];
}

static bool path_matches(const char *pattern, const char *path, bool is_glob)
{
    unsigned steps = 0;
    struct tokens p, t;

    if (!is_glob)
        return match_path(pattern, path, &steps);
    if (!may_begin_alike(pattern, path) || is_any_name(pattern, path))
        return false;
    tokenise(pattern, true, &p);
    tokenise(path, false, &t);
    /* What is too long to compare could be anything. */
    bool is_same = p.n * t.n > PAIRS_MAX || intersect(&p, &t);
    free(p.at);
    free(t.at);
    return is_same;
}

bool rules_path_glob(const char *pattern, const char *path, bool is_glob, const char *home)
{
    size_t len = strlen(pattern);
    char without[PATH_BYTES_MAX];

    if (pattern[0] == '~') {
        size_t home_len = home ? strlen(home) : 1;
        home = home ? home : "~";
        /* Wildcards in the path only count behind the home folder. */
        if (strncmp(path, home, home_len) != 0 || (path[home_len] && path[home_len] != '/'))
            return false;
        pattern++;
        path += home_len;
        len--;
    }
    /* The folder itself, too. */
    if (len >= 3 && len < sizeof without && strcmp(pattern + len - 3, "/**") == 0) {
        memcpy(without, pattern, len - 3);
        without[len - 3] = '\0';
        if (len == 3 ? path[0] == '\0' || strcmp(path, "/") == 0
                     : path_matches(without, path, is_glob))
            return true;
    }
    return path_matches(pattern, path, is_glob);
}
