/*
 * settings_file.c: a settings file on disk: read under a lock, replaced in one step, with a copy of what was there. See settings.h.
 *
 * The lock is the folder's, so that no file is left behind by it. Agents write these files, too, and do not lock: what was read
 * is compared with what is there just before it is replaced.
 */
#include "common/compat.h"
#include "client/hook/settings.h"

#include "common/mem.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { FILE_MAX = 8 << 20 };

#define BACKUP_SUFFIX ".before-claudebench"

static int read_path(const char *path, struct buf *out, struct stat *ret_st, struct cb_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 || fstat(fd, ret_st) != 0) {
        int saved = errno;
        if (fd >= 0)
            close(fd);
        cb_error_set(err, saved, "cannot read %s: %s", path, strerror(saved));
        errno = saved;
        return -1;
    }
    if (!S_ISREG(ret_st->st_mode)) {
        close(fd);
        errno = EINVAL;
        return cb_error_set(err, EINVAL, "%s is not a file", path);
    }
    for (;;) {
        ssize_t n = read(fd, buf_reserve(out, 65536), 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || out->len + (size_t)n > FILE_MAX) {
            int saved = n < 0 ? errno : n > 0 ? EFBIG : 0;
            close(fd);
            errno = saved;
            return saved ? cb_error_set(err, saved, "cannot read %s: %s", path, strerror(saved))
                         : 0;
        }
        out->len += (size_t)n;
        out->data[out->len] = '\0';
    }
}

/* Where the file really is. A user's own link to a file of his is followed; a project's link may lead anywhere. */
static int find_target(struct settings_file *f, bool is_project, struct cb_error *err)
{
    struct stat link, target;

    if (lstat(f->path, &link) != 0 || !S_ISLNK(link.st_mode)) {
        f->target = mem_strdup(f->path);
        return 0;
    }
    if (is_project)
        return cb_error_set(err, ELOOP, "%s is a symbolic link, which is not followed in a project",
                            f->path);
    char *real = realpath(f->path, NULL);
    if (!real)
        return cb_error_set(err, errno, "%s is a symbolic link to nothing: %s", f->path,
                            strerror(errno));
    if (stat(real, &target) != 0 || target.st_uid != geteuid()) {
        cb_error_set(err, EPERM, "%s is a symbolic link to %s, which is not your file", f->path,
                     real);
        free(real);
        return -1;
    }
    f->target = real;
    return 0;
}

/* A project's folders are not followed either; the one that it is in has its real name. */
static int check_folders(const char *path, struct cb_error *err)
{
    char *dir = paths_dirname(path);
    struct stat st;

    while (strlen(dir) > 1) {
        char *above = paths_dirname(dir);
        if (lstat(dir, &st) == 0 && S_ISLNK(st.st_mode)) {
            cb_error_set(err, ELOOP, "%s is a symbolic link, which is not followed in a project",
                         dir);
            free(above);
            break;
        }
        free(dir);
        dir = above;
    }
    bool is_good = strlen(dir) <= 1;
    free(dir);
    return is_good ? 0 : -1;
}

static int lock_dir(struct settings_file *f, struct cb_error *err)
{
    f->dir = paths_dirname(f->target);
    f->dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dir_fd < 0)
        return cb_error_set(err, errno, "cannot open the folder %s: %s", f->dir, strerror(errno));
    while (flock(f->dir_fd, LOCK_EX) != 0) {
        if (errno != EINTR)
            return cb_error_set(err, errno, "cannot lock the folder %s: %s", f->dir,
                                strerror(errno));
    }
    return 0;
}

static int make_dir(const char *path, struct cb_error *err)
{
    char *dir CB_CLEANUP(mem_free_ptr) = paths_dirname(path);
    struct stat st;

    return stat(dir, &st) == 0 ? 0 : paths_make_dir(dir, 0755, err);
}

static int read_target(struct settings_file *f, bool is_project, struct cb_error *err)
{
    struct stat st;

    if (read_path(f->target, &f->text, &st, err) == 0) {
        f->exists = true;
        f->mode = st.st_mode & 0777;
        return 0;
    }
    if (errno != ENOENT && errno != ENOTDIR)
        return -1;
    f->mode = is_project ? 0644 : 0600;
    return 0;
}

int settings_open(const char *path, bool is_project, bool will_write, struct settings_file *ret,
                  struct cb_error *err)
{
    struct settings_file f = {.path = mem_strdup(path), .dir_fd = -1};
    int status = is_project ? check_folders(path, err) : 0;

    if (status == 0 && will_write)
        status = make_dir(path, err);
    if (status == 0)
        status = find_target(&f, is_project, err);
    if (status == 0 && will_write)
        status = lock_dir(&f, err);
    if (status == 0)
        status = read_target(&f, is_project, err);
    if (status != 0) {
        settings_close(&f);
        return -1;
    }
    *ret = f;
    return 0;
}

void settings_close(struct settings_file *file)
{
    if (file->dir_fd >= 0)
        close(file->dir_fd);
    free(file->path);
    free(file->target);
    free(file->dir);
    buf_done(&file->text);
    *file = (struct settings_file){.dir_fd = -1};
}

/* ---- replacing ---- */

static bool is_unchanged(const struct settings_file *f)
{
    struct buf now = BUF_INIT;
    struct stat st;
    bool exists = read_path(f->target, &now, &st, NULL) == 0;
    bool same = exists == f->exists &&
                (!exists || (now.len == f->text.len &&
                             memcmp(buf_peek(&now), buf_peek(&f->text), now.len) == 0));

    buf_done(&now);
    return same;
}

static int write_fd(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

/* A new file of that name, complete and on disk, or none. */
static int write_whole(const struct settings_file *f, const char *name, const char *text,
                       size_t len, bool must_be_unchanged, struct cb_error *err)
{
    char *temp CB_CLEANUP(mem_free_ptr) = mem_printf("%s.XXXXXX", name);
    int fd = mkostemp(temp, O_CLOEXEC);

    if (fd < 0)
        return cb_error_set(err, errno, "cannot write in the folder %s: %s", f->dir,
                            strerror(errno));
    bool is_good = fchmod(fd, f->mode) == 0 && write_fd(fd, text, len) == 0 && fsync(fd) == 0;
    int saved = errno;
    close(fd);
    if (is_good && must_be_unchanged && !is_unchanged(f)) {
        unlink(temp);
        return cb_error_set(err, EAGAIN, "%s was changed by somebody else meanwhile; try again",
                            f->path);
    }
    if (is_good && rename(temp, name) != 0) {
        saved = errno;
        is_good = false;
    }
    if (!is_good) {
        unlink(temp);
        return cb_error_set(err, saved, "cannot write %s: %s", name, strerror(saved));
    }
    fsync(f->dir_fd);
    return 0;
}

int settings_write(struct settings_file *file, const char *text, size_t len, struct cb_error *err)
{
    return write_whole(file, file->target, text, len, true, err);
}

int settings_remove(struct settings_file *file, struct cb_error *err)
{
    if (!is_unchanged(file))
        return cb_error_set(err, EAGAIN, "%s was changed by somebody else meanwhile; try again",
                            file->path);
    if (unlink(file->target) != 0)
        return cb_error_set(err, errno, "cannot remove %s: %s", file->path, strerror(errno));
    fsync(file->dir_fd);
    return 0;
}

/* ---- the copy ---- */

int settings_keep_backup(const struct settings_file *file, struct cb_error *err)
{
    char *name CB_CLEANUP(mem_free_ptr) = mem_printf("%s" BACKUP_SUFFIX, file->target);

    return write_whole(file, name, buf_peek(&file->text), file->text.len, false, err);
}

bool settings_read_backup(const struct settings_file *file, struct buf *out)
{
    char *name CB_CLEANUP(mem_free_ptr) = mem_printf("%s" BACKUP_SUFFIX, file->target);
    struct stat st;

    return lstat(name, &st) == 0 && S_ISREG(st.st_mode) && read_path(name, out, &st, NULL) == 0;
}

void settings_drop_backup(const struct settings_file *file)
{
    char *name CB_CLEANUP(mem_free_ptr) = mem_printf("%s" BACKUP_SUFFIX, file->target);
    unlink(name);
}
