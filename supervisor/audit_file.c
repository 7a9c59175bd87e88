/*
 * audit_file.c: see audit_file.h.
 */
#include "common/compat.h"
#include "supervisor/audit_file.h"

#include "common/clock.h"
#include "common/fault.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { TAIL_FIRST = 65536, TAIL_MAX = 64 * 1024 * 1024, SYNC_MS = 1000 };

void audit_file_init(struct audit_file *f, const char *path)
{
    *f = (struct audit_file){.path = path, .fd = -1};
}

void audit_file_close(struct audit_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static int failed(const struct audit_file *f, const char *what, struct cb_error *err)
{
    int code = errno;
    return cb_error_set(err, code, "%s: %s: %s", f->path, what, strerror(code));
}

static int read_at(int fd, char *out, size_t len, off_t at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, out + done, len - done, at + (off_t)done);
        if (n == 0)
            errno = EIO; /* shorter than it was */
        if (n <= 0 && !(n < 0 && errno == EINTR))
            return -1;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* ---- the end of the file ---- */

/* Looks through the lines of `tail` from the last one to the first for one of the chain. `is_all`: the file begins with it. */
static bool find_position(const char *tail, size_t len, bool is_all, struct audit_found *ret)
{
    size_t end = len; /* behind a newline */

    while (end > 0) {
        const char *before = end > 1 ? memrchr(tail, '\n', end - 1) : NULL;
        struct audit_line line;
        if (!before && !is_all)
            return false;
        const char *start = before ? before + 1 : tail;
        if (!audit_chain_check(start, end - 1 - (size_t)(start - tail), &line)) {
            ret->position = line.at;
            ret->has_position = true;
            return true;
        }
        ret->bad_lines++;
        end = (size_t)(start - tail);
    }
    return true;
}

/* Cuts an unfinished line off: whoever wrote it died, and its entry is still in the stream. */
static int cut_torn(struct audit_file *f, off_t whole, struct audit_found *ret,
                    struct cb_error *err)
{
    if (f->size > whole)
        ret->torn_bytes = f->size - whole;
    if (f->size > whole && ftruncate(f->fd, whole) < 0)
        return failed(f, "cannot cut off an unfinished line", err);
    f->size = whole;
    return 0;
}

static int recover(struct audit_file *f, struct audit_found *ret, struct cb_error *err)
{
    CB_CLEANUP(buf_done) struct buf tail = BUF_INIT;
    bool is_cut = false;

    for (off_t want = TAIL_FIRST; f->size > 0; want *= 4) {
        bool is_all = want >= f->size;
        size_t len = (size_t)(is_all ? f->size : want);
        buf_reset(&tail);
        if (read_at(f->fd, buf_reserve(&tail, len), len, f->size - (off_t)len) < 0)
            return failed(f, "cannot read its end", err);
        const char *last = memrchr(tail.data, '\n', len);
        if (!is_cut && (last || is_all)) {
            size_t whole = last ? (size_t)(last - tail.data) + 1 : 0;
            if (cut_torn(f, f->size - (off_t)(len - whole), ret, err) < 0)
                return -1;
            len = whole;
            is_cut = true;
        }
        ret->bad_lines = 0;
        if (is_cut && find_position(tail.data, len, is_all, ret))
            return 0;
        if (want >= TAIL_MAX)
            return cb_error_set(err, EINVAL, "%s: no audit record in its last %d MiB", f->path,
                                TAIL_MAX / 1024 / 1024);
    }
    return 0;
}

/* ---- the file before, when this one is empty ---- */

/* audit.jsonl.1, audit.jsonl-20261122: never one that was compressed. */
static bool find_rotated(const char *path, char **ret)
{
    struct timespec newest = {0};
    struct stat st;
    glob_t found;
    char *pattern = mem_printf("%s[.-][0-9]*", path);

    *ret = NULL;
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            const char *name = found.gl_pathv[i], *end = name + strlen(path);
            if (strncmp(name, path, strlen(path)) != 0 || end[strspn(end, "0123456789.-")] ||
                lstat(name, &st) < 0 || !S_ISREG(st.st_mode) || st.st_mtim.tv_sec < newest.tv_sec ||
                (st.st_mtim.tv_sec == newest.tv_sec && st.st_mtim.tv_nsec < newest.tv_nsec))
                continue;
            newest = st.st_mtim;
            free(*ret);
            *ret = mem_strdup(name);
        }
        globfree(&found);
    }
    free(pattern);
    return *ret != NULL;
}

/* A death right after a rotation: what was written last, or half of it, is there, and Redis may not know of it yet. */
static void recover_rotated(const struct audit_file *f, struct audit_found *ret)
{
    struct audit_found found = {.has_position = false};
    struct audit_file before;
    struct stat st;
    char *path;

    if (!find_rotated(f->path, &path))
        return;
    audit_file_init(&before, path);
    before.fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
    if (before.fd >= 0 && fstat(before.fd, &st) == 0 && S_ISREG(st.st_mode) &&
        flock(before.fd, LOCK_EX | LOCK_NB) == 0) {
        before.size = st.st_size;
        if (recover(&before, &found, NULL) == 0 && found.has_position) {
            ret->has_before = true;
            ret->before = found.position;
        }
        ret->torn_bytes = found.torn_bytes;
    }
    audit_file_close(&before);
    free(path);
}

int audit_file_open(struct audit_file *f, struct audit_found *ret, struct cb_error *err)
{
    struct stat st;

    *ret = (struct audit_found){.has_position = false};
    audit_file_close(f);
    f->fd = open(f->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (f->fd < 0)
        return failed(f, "cannot be opened", err);
    if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        errno = EINVAL;
        failed(f, "is not a regular file", err);
    } else if (flock(f->fd, LOCK_EX | LOCK_NB) < 0) {
        failed(f, "another process writes to it", err);
    } else {
        f->size = st.st_size;
        f->is_dirty = false;
        if (st.st_size == 0 && st.st_uid == geteuid())
            fchmod(f->fd, 0640); /* whatever the umask: the group may read it */
        if (st.st_size == 0)
            recover_rotated(f, ret);
        if (recover(f, ret, err) == 0)
            return 0;
    }
    audit_file_close(f);
    return -1;
}

/* ---- appending ---- */

/* Has somebody else changed it? Returns 1 when it is empty or gone, and was opened anew. */
static int look(struct audit_file *f, struct audit_found *ret, struct cb_error *err)
{
    struct stat st;

    *ret = (struct audit_found){.has_position = false};
    if (fstat(f->fd, &st) < 0)
        return failed(f, "cannot be looked at", err);
    if (st.st_nlink == 0)
        return audit_file_open(f, ret, err) < 0 ? -1 : 1;
    if (st.st_size != f->size) {
        ret->was = f->size;
        ret->is = st.st_size;
        f->size = st.st_size;
        return st.st_size == 0;
    }
    return 0;
}

/* What somebody else wrote need not end with a line; ours begins one. */
static int begin_line(struct audit_file *f)
{
    char last;

    if (f->size == 0 || read_at(f->fd, &last, 1, f->size - 1) < 0 || last == '\n')
        return 0;
    if (write(f->fd, "\n", 1) != 1)
        return -1;
    f->size++;
    return 0;
}

/* Test builds write a line's halves by themselves, so that a death between them can be had. */
static int write_all(struct audit_file *f, const struct buf *lines)
{
    for (size_t done = 0; done < lines->len;) {
        size_t len = lines->len - done;
#ifdef CB_FAILPOINTS
        len = len > 1 ? len / 2 : len;
        fault_point("audit_write");
#endif
        ssize_t n = write(f->fd, lines->data + done, len);
        if (n < 0 && errno != EINTR)
            return -1;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Half of it is nothing: it will be written again. */
static int take_back(struct audit_file *f, off_t before)
{
    f->size = before;
    if (ftruncate(f->fd, before) < 0)
        audit_file_close(f); /* the next opening cuts what is unfinished */
    return -1;
}

int audit_file_append(struct audit_file *f, const struct buf *lines, bool is_start,
                      enum audit_fsync when, struct audit_found *ret, struct cb_error *err)
{
    if (f->fd < 0) {
        errno = EBADF;
        return failed(f, "is not open", err);
    }
    int found = look(f, ret, err);
    if (found < 0 || (found == 1 && !is_start))
        return found;
    off_t before = f->size;
    if ((ret->is > 0 && begin_line(f) < 0) || write_all(f, lines) < 0) {
        failed(f, "cannot be written", err);
        return take_back(f, before);
    }
    f->size += (off_t)lines->len;
    f->is_dirty = true;
    bool is_due = when == AUDIT_FSYNC_ALWAYS ||
                  (when == AUDIT_FSYNC_EVERYSEC && clock_mono_ms() - f->synced_ms >= SYNC_MS);
    return is_due && audit_file_sync(f, err) < 0 ? take_back(f, before) : 0;
}

int audit_file_sync(struct audit_file *f, struct cb_error *err)
{
    if (f->fd < 0 || !f->is_dirty)
        return 0;
    if (fdatasync(f->fd) < 0)
        return failed(f, "cannot be forced to disk", err);
    f->is_dirty = false;
    f->synced_ms = clock_mono_ms();
    return 0;
}
