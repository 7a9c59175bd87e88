/*
 * doctor_host.c: files of this host: who may read and write what is secret, room on the disk of Redis, records of hooks that nobody
 * took. Needs no daemon. See doctor.h.
 */
#include "common/compat.h"
#include "client/doctor.h"

#include "client/hook/hook.h"
#include "common/clock.h"
#include "common/mem.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

enum { SPOOL_STALE_MS = 3600000, ROOM_MIN_MIB = 128, ROOM_PERCENT = 5 };

/* ---- permissions ---- */

/* Bits that nobody else may have on such a file. */
struct secret {
    const char *path;
    mode_t forbidden;
    const char *what;
};

typedef void secret_fn(struct doctor *d, const struct secret *secret, const struct stat *st);

/* One at `dir`/`name`, or at `dir` when there is no name; none when `dir` is NULL or "". A device, be it the audit file, is not ours. */
static void with_secret(struct doctor *d, secret_fn *fn, const char *dir, const char *name,
                        mode_t forbidden, const char *what)
{
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s%s%s", dir ? dir : "", name ? "/" : "",
                                                     name ? name : "");
    struct secret secret = {.path = path, .forbidden = forbidden, .what = what};
    struct stat st;

    if (dir && dir[0] && stat(path, &st) == 0 && !S_ISCHR(st.st_mode))
        fn(d, &secret, &st);
}

static void each_secret(struct doctor *d, secret_fn *fn)
{
    const struct options *o = d->s.opts;
    const char *redis = o->redis.embedded ? o->redis.dir : NULL;
    const char *state = o->supervisor.state_dir;

    with_secret(d, fn, redis, "daemon.password", 0077, "the daemon's password");
    with_secret(d, fn, redis, "client.password", 0027, "the clients' password");
    with_secret(d, fn, redis, "backup.password", 0077, "the password of backups");
    with_secret(d, fn, o->redis.password_file, NULL, 0037, "the password of Redis");
    with_secret(d, fn, o->redis.client_password_file, NULL, 0022, "the clients' password of Redis");
    with_secret(d, fn, o->redis.sentinel.password_file, NULL, 0037,
                "the password of the sentinels");
    with_secret(d, fn, redis, NULL, 0022, "the folder of Redis");
    with_secret(d, fn, redis, "appendonlydir", 0027, "the folder of Redis' data");
    with_secret(d, fn, state, NULL, 0022, "the folder of state");
    with_secret(d, fn, state, "instance.secret", 0077, "the secret of this instance");
    with_secret(d, fn, state, "hook", 0077, "the folder of hooks' decisions");
    with_secret(d, fn, o->supervisor.control_socket, NULL, 0007, "the control socket");
    with_secret(d, fn, o->audit.file, NULL, 0027, "the audit file");
}

static void look_at_secret(struct doctor *d, const struct secret *secret, const struct stat *st)
{
    bool is_ours = st->st_uid == geteuid() || geteuid() == 0;

    d->checked++;
    if (!(st->st_mode & secret->forbidden))
        return;
    struct doctor_finding *f = doctor_find(
        d, "host", DOCTOR_ERROR, "permissions", secret->path,
        is_ours ? "claudebench doctor --repair takes the rights away; a password that others may "
                  "have read "
                  "should be drawn anew"
                : "its owner, or root, runs claudebench doctor --repair",
        "%s may be %s by others (mode %04o)", secret->what,
        st->st_mode & secret->forbidden & 0022 ? "changed" : "used or read",
        (unsigned)(st->st_mode & 07777));
    f->is_repairable = is_ours;
}

static void repair_secret(struct doctor *d, const struct secret *secret, const struct stat *st)
{
    mode_t mode = st->st_mode & 07777, want = mode & ~secret->forbidden;

    if (mode == want)
        return;
    if (chmod(secret->path, want) == 0)
        doctor_repaired(d, 1, "%s: mode %04o, it was %04o", secret->path, (unsigned)want,
                        (unsigned)mode);
    else
        cli_say("%s: %s", secret->path, strerror(errno));
}

/* ---- room ---- */

static void look_at_room(struct doctor *d)
{
    const char *dir = d->s.opts->redis.dir;
    struct statvfs fs;

    if (!d->s.opts->redis.embedded || statvfs(dir, &fs) != 0 || fs.f_blocks == 0)
        return;
    d->checked++;
    uint64_t free_mib = (uint64_t)fs.f_bavail * fs.f_frsize >> 20;
    uint64_t percent = (uint64_t)fs.f_bavail * 100 / fs.f_blocks;
    if (free_mib < ROOM_MIN_MIB || (percent < ROOM_PERCENT && free_mib < 10 * ROOM_MIN_MIB))
        doctor_find(d, "host", DOCTOR_ERROR, "disk", dir,
                    "make room: Redis writes its file anew beside the old one, and refuses writes "
                    "when it cannot",
                    "%" PRIu64 " MiB (%" PRIu64 " %%) of its disk are free", free_mib, percent);
}

/* ---- what hooks left ---- */

static void look_at_spool(struct doctor *d)
{
    struct hook_policy policy = {0};
    struct cb_error err = {0};
    struct stat st;

    if (hook_policy_load(cli_value(d->cli, "config", NULL), &policy, &err) == 0 &&
        policy.state_dir && access(policy.state_dir, R_OK | X_OK) == 0) {
        char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/spool", policy.state_dir);
        int64_t waiting = hook_spool_count(&policy);
        d->checked++;
        if (waiting > 0 && (stat(path, &st) != 0 ||
                            clock_wall_ms() - (int64_t)st.st_mtime * 1000 > SPOOL_STALE_MS))
            doctor_find(d, "host", DOCTOR_WARNING, "spool", policy.state_dir,
                        "an agent's next tool call sends them, if the daemon answers it: "
                        "claudebench hook check",
                        "%" PRId64
                        " decisions of hooks have waited for the audit trail for more than an hour",
                        waiting);
    }
    hook_policy_done(&policy);
}

/* Who could write it is known to the daemon, which says so itself while it runs; else who has its rights can tell. */
static void look_at_audit_file(struct doctor *d)
{
    const char *file = d->s.opts->audit.file;
    const char *slash = strrchr(file, '/');
    struct stat st;

    if (d->is_running || !slash)
        return;
    char *dir CB_CLEANUP(mem_free_ptr) = mem_strndup(file, (size_t)(slash - file) + 1);
    if (stat(d->s.opts->supervisor.state_dir, &st) != 0 || st.st_uid != geteuid())
        return;
    d->checked++;
    if (access(file, W_OK) == 0 || (errno == ENOENT && access(dir, W_OK) == 0))
        return;
    doctor_find(d, "host", DOCTOR_ERROR, "audit", file,
                "mend it: records wait in Redis, and limits.audit_entries of them are kept",
                "the audit file cannot be written: %s", strerror(errno));
}

/* ---- what the others call ---- */

void doctor_host_look(struct doctor *d)
{
    each_secret(d, look_at_secret);
    look_at_room(d);
    look_at_spool(d);
    look_at_audit_file(d);
}

void doctor_host_repair(struct doctor *d)
{
    each_secret(d, repair_secret);
}
