/*
 * cmd_restore.c: claudebench restore FILE: the data of a backup in the place of those that are there.
 *
 * The file is read and checked as a whole before anything else is touched. A private redis-server makes the data of it (restore_server.c);
 * the embedded server's folder gets them at once, while no daemon runs (restore_place.c), an external server key by key (restore_copy.c).
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/backup_file.h"
#include "client/restore.h"
#include "client/session.h"
#include "common/exitcode.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/rnd.h"
#include "common/schema.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { GENERATION_CHARS = 22 };

static const struct cli_option options[] = {
    {'f', "force", NULL, "Embedded Redis: put data that are there aside."},
    {0, "user", "NAME", "External Redis: the user who may RESTORE (default: redis.user)."},
    {0, "password-file", "FILE", "That user's password (default: redis.password_file)."},
    {'j', "json", NULL, "Print what was restored as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_restore(const struct cli *cli);

const struct cli_verb verb_restore = {
    .name = "restore",
    .operands = "FILE|-",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Put the data of a backup in the place of those that are there.",
    .notes = "The daemon must not run. Run it as root, or as the daemon's user. Exit 65: the file "
             "is no whole backup; 73: there are data; 75: the daemon runs, or the master changed "
             "meanwhile; 78: a Cluster, and a prefix without braces.\n",
    .options = options,
    .run = run_restore,
};

struct restore {
    const struct cli *cli;
    const struct options *opts;
    int in;
    const char *name;
    struct backup_header header;
    char generation[GENERATION_CHARS + 1];
    int64_t keys;
    struct sockaddr_storage at; /* the external server */
    int64_t replicas;           /* that it had when it was seen first */
    struct progress progress;
    struct restore_server server;
    struct restore_place place;
};

static const char *label_of(const char *path)
{
    return strcmp(path, "-") == 0 ? "stdin" : path;
}

/* ---- the file ---- */

static int check_header(const struct restore *r, struct cb_error *err)
{
    const struct backup_header *h = &r->header;

    if (h->schema < SCHEMA_MIN || h->schema > SCHEMA_MAX)
        return cb_error_set(err, EXITCODE_DATAERR,
                            "%s: the data have schema %" PRId64
                            " (claudebench %s), this version knows %d to %d",
                            r->name, h->schema, h->project, SCHEMA_MIN, SCHEMA_MAX);
    if (strcmp(h->prefix, r->opts->redis.prefix) != 0)
        return cb_error_set(err, EXITCODE_CONFLICT,
                            "%s: the backup is of prefix %s, redis.prefix is %s: keys cannot be "
                            "renamed, change redis.prefix",
                            r->name, h->prefix, r->opts->redis.prefix);
    return 0;
}

/* Its snapshot into the folder of the private server. */
static int unpack(struct restore *r, const char *dir, struct cb_error *err)
{
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/%s", dir, RESTORE_SNAPSHOT);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return cb_error_set(err, EXITCODE_FAILURE, "%s: %s", path, strerror(errno));
    progress_update(&r->progress, 0, 0, "checking the backup");
    int status = backup_read(r->in, r->name, fd, &r->header, err);
    close(fd);
    return status == 0 ? check_header(r, err) : status;
}

static int make_data(struct restore *r, const char *dir, struct cb_error *err)
{
    if (unpack(r, dir, err) != 0 || restore_server_start(&r->server, dir, &r->progress, err) != 0)
        return -1;
    return restore_server_mend(&r->server, r->opts->redis.prefix, r->header.db, r->generation,
                               &r->keys, err);
}

/* ---- the two places ---- */

static int restore_embedded(struct restore *r, struct cb_error *err)
{
    if (restore_place_open(&r->place, r->opts, cli_is_set(r->cli, "force"), err) != 0 ||
        make_data(r, r->place.work, err) != 0 ||
        restore_server_write(&r->server, &r->progress, err) != 0)
        return -1;
    return restore_place_exchange(&r->place, err);
}

static int find_target(const struct restore *r, struct redis_target *target, struct cb_error *err)
{
    const char *user = cli_value(r->cli, "user", NULL);
    const char *file = cli_value(r->cli, "password-file", NULL);

    if (connect_target(r->opts, CONNECT_DAEMON, target, err) != 0)
        return -1;
    if (user) {
        free(target->user);
        target->user = mem_strdup(user);
    }
    char *password = NULL;
    if (file && connect_read_password(file, &password, err) != 0)
        return -1;
    if (password) {
        free(target->password);
        target->password = password;
    }
    return 0;
}

static void note_server(struct restore *r, struct redis_link *to)
{
    struct sockaddr_storage at = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof at;

    (void)getpeername(redis_link_fd(to), (struct sockaddr *)&at, &len);
    if (memcmp(&at, &r->at, sizeof at) != 0)
        r->replicas = restore_copy_replicas(to);
    r->at = at;
}

/* A link to it, and nothing of ours behind it. */
static int open_empty(struct restore *r, const struct redis_target *target, struct redis_link **ret,
                      struct cb_error *err)
{
    const char *prefix = r->opts->redis.prefix;

    if (redis_link_open(target, "claudebench-restore", ret, err) != 0) {
        err->code = EXITCODE_UNAVAILABLE;
        return -1;
    }
    if (restore_copy_check_slot(*ret, prefix, err) == 0 &&
        restore_copy_check(*ret, prefix, err) == 0) {
        note_server(r, *ret);
        return 0;
    }
    redis_link_free(*ret);
    *ret = NULL;
    return -1;
}

/* A master that was given up, and does not know it yet, takes all and keeps nothing. So the replicas that it had have to have it all, and who
 * is asked for the master then has to lead to the data. */
static int check_kept(const struct restore *r, const struct redis_target *target,
                      struct redis_link *to, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    const char *meta = keys_make(&a, r->opts->redis.prefix, KEY_META);
    struct redis_link *again = NULL;

    int status = restore_copy_await(to, r->replicas, err);
    if (status == 0)
        status = redis_link_open(target, "claudebench-restore", &again, err);
    if (status == 0)
        status = redis_link_callv(again, &reply, err, "EXISTS", meta, NULL);
    redis_link_free(again);
    if (status == 0 && reply_int(reply) == 0)
        status = cb_error_set(err, EXITCODE_TEMPFAIL, "another server is the master now");
    if (status == 0)
        return 0;
    err->code = EXITCODE_TEMPFAIL;
    return cb_error_prefix(err, "all was copied, but a failover may lose it; before a daemon is "
                                "started run restore again, which refuses if it is there");
}

/* The data may have taken long to make: a link that was opened before would have been closed as idle, or lead to who was the master. */
static int copy_to(struct restore *r, const struct redis_target *target, struct cb_error *err)
{
    const char *tmp = getenv("TMPDIR");
    char *dir CB_CLEANUP(mem_free_ptr) = mem_printf("%s/claudebench-restore-XXXXXX",
                                                    tmp && *tmp == '/' ? tmp : "/var/tmp");
    struct redis_link *to = NULL;

    if (!mkdtemp(dir))
        return cb_error_set(err, EXITCODE_FAILURE, "%s: %s", dir, strerror(errno));
    int status = make_data(r, dir, err);
    if (status == 0)
        status = open_empty(r, target, &to, err);
    if (status == 0)
        status = restore_copy(r->server.link, to, r->opts->redis.prefix, r->keys, &r->progress,
                              err);
    if (status == 0)
        status = check_kept(r, target, to, err);
    redis_link_free(to);
    restore_server_done(&r->server);
    restore_remove_tree(dir);
    return status;
}

static int restore_external(struct restore *r, struct cb_error *err)
{
    struct redis_target target = {0};
    struct redis_link *to = NULL;
    int status = find_target(r, &target, err);

    if (status == 0)
        status = open_empty(r, &target, &to, err);
    redis_link_free(to);
    if (status == 0)
        status = copy_to(r, &target, err);
    redis_target_done(&target);
    return status;
}

/* ---- the verb ---- */

static void put_text(const struct restore *r, struct buf *out)
{
    buf_printf(out, "restored %" PRId64 " keys, as they were at %s\n", r->keys, r->header.time);
    if (r->place.kept) {
        buf_puts(out, "the data before are in ");
        term_put(out, r->place.kept, strlen(r->place.kept));
        buf_puts(out, "\n");
    }
    buf_puts(out, "start claudebenchd, then run: claudebench doctor\n");
}

static void put_json(const struct restore *r, struct buf *out)
{
    buf_puts(out, "{");
    json_put_int(out, "keys", r->keys);
    json_put_text(out, "restored_as", r->generation);
    if (r->place.kept)
        json_put_text(out, "kept", r->place.kept);
    backup_put_header(out, &r->header);
    buf_puts(out, "}\n");
}

static int carry_out(struct restore *r)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;
    struct cb_error err = {0};
    bool is_embedded = r->opts->redis.embedded;

    rnd_token(r->generation, GENERATION_CHARS);
    progress_init(&r->progress, "restore");
    int status = is_embedded ? restore_embedded(r, &err) : restore_external(r, &err);
    progress_clear(&r->progress);
    if (status == 0)
        (cli_is_set(r->cli, "json") ? put_json : put_text)(r, &out);
    restore_server_done(&r->server);
    restore_place_done(&r->place);
    if (status == 0)
        return cli_write(&out);
    cli_say("%s", err.text);
    return err.code >= EXITCODE_USAGE && err.code <= EXITCODE_CONFIG ? err.code : EXITCODE_FAILURE;
}

static int run_restore(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct restore r = {.cli = cli, .place = {.owner_fd = -1, .lock_fd = -1}};
    bool is_stdin = strcmp(cli->operands[0], "-") == 0;
    int code = session_load(&s, cli);

    if (code >= 0)
        return code;
    r.opts = s.opts;
    r.name = label_of(cli->operands[0]);
    if (r.opts->redis.embedded && (cli_is_set(cli, "user") || cli_is_set(cli, "password-file")))
        return cli_wrong_use(cli->verb, "--user and --password-file are for an external Redis");
    umask(077);
    r.in = is_stdin ? STDIN_FILENO : open(cli->operands[0], O_RDONLY | O_CLOEXEC);
    if (r.in < 0) {
        cli_say("%s: %s", r.name, strerror(errno));
        return errno == EACCES ? EXITCODE_NOPERM : EXITCODE_NOINPUT;
    }
    code = carry_out(&r);
    if (!is_stdin)
        close(r.in);
    return code;
}
