/*
 * path.c: paths in one form, so that a rule need not know how many ways there are to write one. See rules_int.h.
 *
 * By the text alone: `a/../b` is `b` even when `a` is a symbolic link that leads elsewhere. rules_resolve_path() asks the
 * file system; a rule is tried against both.
 */
#include "common/compat.h"
#include "common/rules/rules_int.h"

/* Stands for a folder that is not known: no path has it, so only wildcards match it. */
static const char UNKNOWN[] = "\x01";

static bool starts_with(const char *s, size_t len, const char *prefix)
{
    size_t n = strlen(prefix);
    return len >= n && memcmp(s, prefix, n) == 0;
}

static bool is_end(const char *s, size_t len, size_t at)
{
    return at == len || s[at] == '/';
}

/* The length of ~, $HOME or ${HOME} at the start; 0: none. */
static size_t home_prefix(const char *path, size_t len)
{
    static const char *const forms[] = {"~", "$HOME", "${HOME}"};
    for (size_t i = 0; i < CB_ARRAY_LEN(forms); i++) {
        size_t n = strlen(forms[i]);
        if (starts_with(path, len, forms[i]) && is_end(path, len, n))
            return n;
    }
    return 0;
}

/* Appends the components of `path` to out (of *n bytes), going up for "..". A leading slash starts again. */
static void put_components(char *out, size_t *n, const char *path, size_t len)
{
    size_t root = *n && out[0] != '/' ? strcspn(out, "/") : 0;
    for (size_t i = 0; i < len;) {
        size_t to = i;
        while (to < len && path[to] != '/')
            to++;
        size_t part = to - i;
        if (part == 2 && path[i] == '.' && path[i + 1] == '.') {
            while (*n > root && out[*n - 1] != '/')
                --*n;
            *n -= *n > root;
        } else if (part && !(part == 1 && path[i] == '.')) {
            out[(*n)++] = '/';
            memcpy(out + *n, path + i, part);
            *n += part;
        }
        out[*n] = '\0';
        i = to + 1;
    }
}

/* Ways around: /proc/self/root/x is /x, and so is macOS' /private/etc for /etc. */
static const char *strip_aliases(const char *path)
{
    for (;;) {
        size_t n = 0;
        if (strncmp(path, "/proc/", 6) == 0) {
            n = 6 + strcspn(path + 6, "/");
            if (strncmp(path + n, "/task/", 6) == 0)
                n += 6 + strcspn(path + n + 6, "/");
            if (strncmp(path + n, "/root", 5) != 0 || (path[n + 5] && path[n + 5] != '/'))
                return path;
            n += 5;
        } else if (strncmp(path, "/private/", 9) == 0) {
            n = 8;
        } else {
            return path;
        }
        path = path[n] ? path + n : "/";
    }
}

const char *rules_normalise_path(struct arena *arena, const char *path, size_t len, const char *cwd,
                                 const char *home)
{
    size_t home_len = home_prefix(path, len);
    size_t cwd_len = cwd ? strlen(cwd) : 0;
    size_t home_size = home ? strlen(home) : 0;
    char *out = arena_alloc(arena, len + cwd_len + home_size + 8);
    size_t n = 0;

    if (starts_with(path, len, "file://")) {
        path += 7;
        len -= 7;
    }
    if (home_len && home) {
        put_components(out, &n, home, home_size);
        path += home_len;
        len -= home_len;
    } else if (home_len) {
        out[n++] = '~';
        path += home_len;
        len -= home_len;
    } else if (len == 0 || path[0] != '/') {
        if (cwd && cwd[0] == '/')
            put_components(out, &n, cwd, cwd_len);
        else
            out[n++] = UNKNOWN[0];
    }
    out[n] = '\0';
    put_components(out, &n, path, len);
    if (n == 0)
        out[n++] = '/';
    out[n] = '\0';
    return strip_aliases(out);
}

const char *rules_resolve_path(struct arena *arena, const char *path)
{
    char prefix[PATH_MAX], resolved[PATH_MAX];
    size_t len = strlen(path);

    if (path[0] != '/' || len >= sizeof prefix)
        return NULL;
    memcpy(prefix, path, len + 1);
    /* What does not exist yet is created in a folder that does. */
    while (!realpath(prefix, resolved)) {
        char *slash = strrchr(prefix, '/');
        if ((errno != ENOENT && errno != ENOTDIR) || slash == prefix)
            return NULL;
        *slash = '\0';
    }
    size_t prefix_len = strlen(prefix);
    if (strncmp(resolved, prefix, prefix_len + 1) == 0)
        return NULL;
    return arena_printf(arena, "%s%s", strcmp(resolved, "/") == 0 ? "" : resolved,
                        path + prefix_len);
}
