/*
 * restore_place.c: see restore.h. Both locks of the folder are held throughout: no supervisor and no server starts meanwhile, and none
 * runs. The new append only file takes the place of the old one in one step of the file system (RENAME_EXCHANGE), so that whatever
 * happens there is either the one or the other.
 */
#include "common/compat.h"
#include "client/restore.h"

#include "common/exitcode.h"
#include "common/fault.h"
#include "common/lockfile.h"
#include "common/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <time.h>

enum { TREE_FDS = 16 };

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void restore_remove_tree(const char *path)
{
    (void)nftw(path, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS);
}

/* What root writes there the daemon could not read. */
static int become_owner(const char *dir, struct cb_error *err)
{
    char *parent CB_CLEANUP(mem_free_ptr) = paths_dirname(dir);
    struct stat st;

    if (geteuid() != 0)
        return 0;
    if (stat(dir, &st) != 0 && stat(parent, &st) != 0)
        return cb_error_set(err, EXITCODE_CONFIG,
                            "%s: neither this folder nor the one above it is there; start and stop "
                            "the daemon once",
                            dir);
    if (st.st_uid == 0)
        return 0;
    const struct passwd *pw = getpwuid(st.st_uid);
    if ((pw ? initgroups(pw->pw_name, st.st_gid) : setgroups(0, NULL)) != 0 ||
        setgid(st.st_gid) != 0 || setuid(st.st_uid) != 0)
        return cb_error_set(err, EXITCODE_NOPERM, "cannot become the owner of %s: %s", dir,
                            strerror(errno));
    return 0;
}

static int lock(const char *dir, const char *name, int *ret_fd, struct cb_error *err)
{
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/%s", dir, name);
    struct cb_error why = {0};
    pid_t holder = 0;

    *ret_fd = lockfile_open(path, &holder, &why);
    if (*ret_fd >= 0)
        return 0;
    if (why.code == EACCES || why.code == EPERM)
        return cb_error_set(err, EXITCODE_NOPERM, "%s", why.text);
    if (why.code != EWOULDBLOCK)
        return cb_error_set(err, EXITCODE_FAILURE, "%s", why.text);
    if (holder > 0)
        return cb_error_set(err, EXITCODE_TEMPFAIL,
                            "%s is in use by claudebenchd, pid %ld: stop it first", dir,
                            (long)holder);
    return cb_error_set(err, EXITCODE_TEMPFAIL, "%s is in use by a redis-server: stop it first",
                        dir);
}

static int is_file(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static bool has_files(const char *dir)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, is_file, alphasort);

    if (n < 0)
        return errno != ENOENT;
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
    return n > 0;
}

int restore_place_open(struct restore_place *p, const struct options *opts, bool force,
                       struct cb_error *err)
{
    const char *dir = opts->redis.dir;

    *p = (struct restore_place){.dir = mem_strdup(dir),
                                .data = mem_printf("%s/appendonlydir", dir),
                                .work = mem_printf("%s/restore.tmp", dir),
                                .owner_fd = -1,
                                .lock_fd = -1};
    if (become_owner(dir, err) != 0)
        return -1;
    if (paths_make_dir(dir, 0700, err) != 0) {
        err->code = EXITCODE_CONFIG;
        return -1;
    }
    if (lock(dir, "supervisor.lock", &p->owner_fd, err) != 0 ||
        lock(dir, "lock", &p->lock_fd, err) != 0)
        return -1;
    p->has_data = has_files(p->data);
    if (p->has_data && !force)
        return cb_error_set(err, EXITCODE_CONFLICT,
                            "%s has data; --force puts them aside, under another name in %s",
                            p->data, dir);
    restore_remove_tree(p->work);
    if (mkdir(p->work, 0700) != 0)
        return cb_error_set(err, EXITCODE_FAILURE, "%s: %s", p->work, strerror(errno));
    return 0;
}

static int sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = fd < 0 ? -1 : fsync(fd);

    if (fd >= 0)
        close(fd);
    return status;
}

static char *name_for_old(const char *data)
{
    char stamp[32];
    time_t now = time(NULL);
    struct tm tm;

    gmtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    char *name = mem_printf("%s.before-restore-%s", data, stamp);
    for (int i = 2; access(name, F_OK) == 0; i++) {
        free(name);
        name = mem_printf("%s.before-restore-%s-%d", data, stamp, i);
    }
    return name;
}

static int exchange(struct restore_place *p, const char *made, struct cb_error *err)
{
    char *kept = name_for_old(p->data);

    /* The new one first takes the name that the old one is to have: then one step gives both theirs. (Who is killed between
     * the two leaves a folder of that name which nobody misses.) */
    if (rename(made, kept) != 0) {
        cb_error_set(err, EXITCODE_FAILURE, "%s: %s", kept, strerror(errno));
        free(kept);
        return -1;
    }
    fault_point("restore_exchange");
    if (renameat2(AT_FDCWD, kept, AT_FDCWD, p->data, RENAME_EXCHANGE) != 0) {
        cb_error_set(err, EXITCODE_FAILURE,
                     "%s cannot be exchanged: %s; move it away yourself, then restore without "
                     "--force",
                     p->data, strerror(errno));
        restore_remove_tree(kept);
        free(kept);
        return -1;
    }
    p->kept = kept;
    return 0;
}

int restore_place_exchange(struct restore_place *p, struct cb_error *err)
{
    char *made CB_CLEANUP(mem_free_ptr) = mem_printf("%s/appendonlydir", p->work);

    if (p->has_data && exchange(p, made, err) != 0)
        return -1;
    fault_point("restore_exchanged");
    if (!p->has_data && rename(made, p->data) != 0)
        return cb_error_set(err, EXITCODE_FAILURE, "%s: %s", p->data, strerror(errno));
    if (sync_dir(p->dir) != 0)
        return cb_error_set(err, EXITCODE_FAILURE, "%s: %s", p->dir, strerror(errno));
    return 0;
}

void restore_place_done(struct restore_place *p)
{
    if (p->lock_fd >= 0 && p->owner_fd >= 0)
        restore_remove_tree(p->work);
    if (p->lock_fd >= 0)
        close(p->lock_fd);
    if (p->owner_fd >= 0)
        close(p->owner_fd);
    free(p->dir);
    free(p->data);
    free(p->work);
    free(p->kept);
    *p = (struct restore_place){.owner_fd = -1, .lock_fd = -1};
}
