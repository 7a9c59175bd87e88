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

enum { SECRETS_MAX = 8 };

static size_t list_secrets(const struct doctor *d, struct secret list[SECRETS_MAX], char *paths[2])
{
    const struct options *o = d->s.opts;
    const struct secret all[SECRETS_MAX] = {
        {paths[0], 0077, "the daemon's password"},
        {paths[1], 0027, "the clients' password"},
        {o->redis.password_file, 0037, "the password of Redis"},
        {o->redis.client_password_file, 0022, "the clients' password of Redis"},
        {o->redis.sentinel.password_file, 0037, "the password of the sentinels"},
        {o->redis.embedded ? o->redis.dir : "", 0022, "the folder of Redis"},
        {o->supervisor.state_dir, 0022, "the folder of state"},
        {o->supervisor.control_socket, 0007, "the control socket"},
    };

    memcpy(list, all, sizeof all);
    return CB_ARRAY_LEN(all);
}

static void each_secret(struct doctor *d, void (*fn)(struct doctor *d, const struct secret *secret,
                                                     const struct stat *st))
{
    bool is_embedded = d->s.opts->redis.embedded;
    char *daemon_password CB_CLEANUP(mem_free_ptr) = mem_printf(
        "%s/daemon.password", is_embedded ? d->s.opts->redis.dir : "/nowhere");
    char *client_password CB_CLEANUP(mem_free_ptr) = mem_printf(
        "%s/client.password", is_embedded ? d->s.opts->redis.dir : "/nowhere");
    struct secret list[SECRETS_MAX];
    size_t n = list_secrets(d, list, (char *[2]){daemon_password, client_password});
    struct stat st;

    for (size_t i = 0; i < n; i++)
        if (list[i].path[0] && stat(list[i].path, &st) == 0)
            fn(d, &list[i], &st);
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
    if (!(st->st_mode & secret->forbidden))
        return;
    if (chmod(secret->path, st->st_mode & 07777 & ~secret->forbidden) == 0)
        d->repaired++;
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
