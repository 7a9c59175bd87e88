/*
 * audit_lines.c: see audit.h.
 */
#include "common/compat.h"
#include "client/audit.h"

#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>

enum { READ_CHUNK = 65536 };

int audit_lines_open(struct audit_lines *l, const char *path)
{
    *l = (struct audit_lines){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)};
    return l->fd < 0 ? -1 : 0;
}

void audit_lines_close(struct audit_lines *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    buf_done(&l->data);
}

static bool read_more(struct audit_lines *l)
{
    ssize_t n;

    buf_consume(&l->data, l->at);
    l->at = 0;
    do
        n = read(l->fd, buf_reserve(&l->data, READ_CHUNK), READ_CHUNK);
    while (n < 0 && errno == EINTR);
    l->error = n < 0 ? errno : 0;
    l->data.len += n > 0 ? (size_t)n : 0;
    return n > 0;
}

bool audit_lines_next(struct audit_lines *l, const char **ret, size_t *ret_len)
{
    size_t looked = 0;

    for (;;) {
        const char *from = buf_peek(&l->data) + l->at;
        size_t len = l->data.len - l->at;
        const char *end = len > looked ? memchr(from + looked, '\n', len - looked) : NULL;
        if (end) {
            *ret = from;
            *ret_len = (size_t)(end - from);
            l->at += *ret_len + 1;
            l->number++;
            return true;
        }
        looked = len;
        if (!read_more(l))
            return false;
    }
}

size_t audit_lines_rest(const struct audit_lines *l)
{
    return l->data.len - l->at;
}

/* ---- which files ---- */

/* A file whose first line is none of ours comes last: whoever checks it will say so. */
static int64_t first_seq(const char *path)
{
    struct audit_lines l;
    struct audit_line line;
    int64_t seq = INT64_MAX;
    const char *text;
    size_t len;

    if (audit_lines_open(&l, path) == 0) {
        if (audit_lines_next(&l, &text, &len) && !audit_chain_check(text, len, &line))
            seq = line.at.seq;
    }
    audit_lines_close(&l);
    return seq;
}

/* By insertion: a few. */
static void add(struct audit_files *f, const char *path)
{
    int64_t seq = first_seq(path);
    size_t at = f->len++;

    f->paths = mem_realloc(f->paths, f->len * sizeof *f->paths);
    f->seqs = mem_realloc(f->seqs, f->len * sizeof *f->seqs);
    for (; at > 0 && f->seqs[at - 1] > seq; at--) {
        f->paths[at] = f->paths[at - 1];
        f->seqs[at] = f->seqs[at - 1];
    }
    f->paths[at] = mem_strdup(path);
    f->seqs[at] = seq;
}

static bool is_packed(const char *path)
{
    static const char *const ends[] = {".gz", ".bz2", ".xz", ".zst"};
    size_t len = strlen(path);

    for (size_t i = 0; i < CB_ARRAY_LEN(ends); i++)
        if (len > strlen(ends[i]) && strcmp(path + len - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

/* The name may hold characters that mean something to glob(). */
static char *escaped(const char *path)
{
    struct buf out = BUF_INIT;

    for (; *path; path++) {
        if (strchr("*?[\\", *path))
            buf_putc(&out, '\\');
        buf_putc(&out, *path);
    }
    return buf_take(&out);
}

void audit_files_find(struct audit_files *f, const char *path, char *const *paths)
{
    *f = (struct audit_files){.paths = NULL};
    for (size_t i = 0; paths && paths[i]; i++)
        add(f, paths[i]);
    if (paths && paths[0])
        return;
    char *literal CB_CLEANUP(mem_free_ptr) = escaped(path);
    char *pattern CB_CLEANUP(mem_free_ptr) = mem_printf("%s[.-][0-9]*", literal);
    glob_t found;
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            if (is_packed(found.gl_pathv[i]))
                f->packed++;
            else
                add(f, found.gl_pathv[i]);
        }
        globfree(&found);
    }
    if (access(path, F_OK) == 0 || f->len == 0)
        add(f, path);
}

void audit_files_done(struct audit_files *f)
{
    for (size_t i = 0; i < f->len; i++)
        free(f->paths[i]);
    free(f->paths);
    free(f->seqs);
}
