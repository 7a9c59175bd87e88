/*
 * cmd_backup.c: claudebench backup FILE: a snapshot of Redis, of one moment, in a file that restore can check (backup_file.h).
 *
 * Redis makes it: redis-cli --rdb asks as a replica does (SYNC), the server forks and its child writes, so that nobody waits and nobody
 * walks the keys. The embedded server has a user who may do that and nothing else; its password lies in redis.dir for its owner.
 *
 * A server gives a snapshot whoever it is by then: a master that was demoted has lost what its successor knows, and a node whose slot is
 * being moved has a part of the keys. So whoever was the master before has to be it behind, with the whole slot (check_server()).
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/backup_file.h"
#include "client/peek.h"
#include "client/progress.h"
#include "client/session.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/spawn.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static const struct cli_option options[] = {
    {0, "user", "NAME", "External Redis: the user who may SYNC (default: redis.user)."},
    {0, "password-file", "FILE", "That user's password (default: redis.password_file)."},
    {'f', "force", NULL, "Replace a FILE that is there."},
    {'j', "json", NULL, "Print what was written as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_backup(const struct cli *cli);

const struct cli_verb verb_backup = {
    .name = "backup",
    .operands = "FILE|-",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Write all data, as of one moment, into a file.",
    .notes =
        "-: to stdout. May be run while tasks are worked on. FILE is secret: it holds all "
        "tasks, and all else that this Redis holds. Exit 75: the master changed meanwhile, run "
        "it again.\n",
    .options = options,
    .run = run_backup,
};

struct backup {
    const struct cli *cli;
    struct options *opts;
    struct redis_target target; /* as the daemon */
    char *user;                 /* who may SYNC */
    char *password;
    char where[3][128]; /* redis-cli's options for the server that answered */
    char port[16];
    char run_id[48]; /* that server's */
    struct backup_header header;
    struct backup_writer out;
};

static int failed(const struct cb_error *err)
{
    cli_say("%s", err->text);
    if (err->code == EXITCODE_FAILURE) /* the file, not Redis */
        return EXITCODE_FAILURE;
    return err->code >= EXITCODE_USAGE && err->code <= EXITCODE_CONFIG ? err->code
                                                                       : EXITCODE_UNAVAILABLE;
}

/* ---- who and where ---- */

static int read_login(struct backup *b, struct cb_error *err)
{
    const char *file = cli_value(b->cli, "password-file", NULL);
    const char *user = cli_value(b->cli, "user", NULL);

    if (b->opts->redis.embedded && (file || user))
        return cb_error_set(err, EXITCODE_USAGE,
                            "--user and --password-file are for an external Redis");
    if (b->opts->redis.embedded) {
        char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/backup.password", b->opts->redis.dir);
        b->user = mem_strdup("backup");
        return connect_read_password(path, &b->password, err);
    }
    b->user = mem_strdup(user ? user : b->target.user);
    if (file)
        return connect_read_password(file, &b->password, err);
    b->password = mem_strdup(b->target.password);
    return 0;
}

/* The server at the other end, wherever sentinels or a cluster led: redis-cli goes there. */
static int find_server(struct backup *b, const struct redis_link *link, struct cb_error *err)
{
    struct sockaddr_storage at = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof at;
    const struct sockaddr_un *local = (const struct sockaddr_un *)&at;

    if (getpeername(redis_link_fd(link), (struct sockaddr *)&at, &len) == 0 &&
        at.ss_family == AF_UNIX) {
        snprintf(b->where[0], sizeof b->where[0], "-s");
        snprintf(b->where[1], sizeof b->where[1], "%s", local->sun_path);
        return 0;
    }
    snprintf(b->where[0], sizeof b->where[0], "-h");
    snprintf(b->where[2], sizeof b->where[2], "-p");
    if (at.ss_family == AF_UNSPEC ||
        getnameinfo((struct sockaddr *)&at, len, b->where[1], sizeof b->where[1], b->port,
                    sizeof b->port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return cb_error_set(err, EXITCODE_UNAVAILABLE, "the address of Redis is not known");
    return 0;
}

/* A line of INFO; "" when it is not there. */
static void take_line(const char *info, const char *name, char *out, size_t size)
{
    const char *at = strstr(info, name);

    if (at)
        at += strlen(name);
    snprintf(out, size, "%.*s", at ? (int)strcspn(at, "\r\n") : 0, at ? at : "");
}

static int lost(struct cb_error *err)
{
    if (err)
        err->code = err->code == REDIS_CROSSSLOT ? EXITCODE_CONFIG : EXITCODE_UNAVAILABLE;
    return -1;
}

static int ask_redis(struct backup *b, struct redis_link *link, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    reply_t *meta CB_CLEANUP(reply_free_ptr) = NULL, *info CB_CLEANUP(reply_free_ptr) = NULL;
    const char *prefix = b->opts->redis.prefix;
    struct backup_header *h = &b->header;

    if (redis_link_callv(link, &meta, err, "HMGET", keys_make(&a, prefix, KEY_META), "generation",
                         "schema", NULL) != 0 ||
        redis_link_callv(link, &info, err, "INFO", "server", NULL) != 0)
        return lost(err);
    if (reply_type(reply_at(meta, 0)) != REPLY_STRING)
        return cb_error_set(err, EXITCODE_NOINPUT,
                            "there is nothing to back up: no daemon has worked under prefix %s",
                            prefix);
    snprintf(h->project, sizeof h->project, "%s", PACKAGE_VERSION);
    snprintf(h->prefix, sizeof h->prefix, "%s", prefix);
    snprintf(h->generation, sizeof h->generation, "%s", reply_str(reply_at(meta, 0)));
    h->db = b->target.db;
    h->schema = reply_int(reply_at(meta, 1));
    take_line(reply_str(info), "redis_version:", h->redis, sizeof h->redis);
    take_line(reply_str(info), "run_id:", b->run_id, sizeof b->run_id);
    clock_format_rfc3339(clock_wall_ms(), h->time);
    return find_server(b, link, err);
}

static int prepare(struct backup *b, struct cb_error *err)
{
    struct redis_link *link = NULL;

    if (connect_target(b->opts, CONNECT_DAEMON, &b->target, err) != 0 || read_login(b, err) != 0)
        return -1;
    if (redis_link_open(&b->target, "claudebench-backup", &link, err) != 0)
        return lost(err);
    int status = ask_redis(b, link, err);
    redis_link_free(link);
    return status;
}

/* Whether the server is still the one to ask. Sentinels and cluster are asked anew, and no slot is being moved when a link opens.
 * -1, with a fault of Redis (it can't be asked) or EXITCODE_TEMPFAIL (it is another one) as the code. */
static int check_server(struct backup *b, struct cb_error *err)
{
    reply_t *info CB_CLEANUP(reply_free_ptr) = NULL;
    struct redis_link *link = NULL;
    char run_id[sizeof b->run_id];

    int status = redis_link_open(&b->target, "claudebench-backup", &link, err);
    if (status == 0)
        status = redis_link_callv(link, &info, err, "INFO", "server", NULL);
    redis_link_free(link);
    if (status != 0)
        return -1;
    take_line(reply_str(info), "run_id:", run_id, sizeof run_id);
    return strcmp(run_id, b->run_id) == 0
               ? 0
               : cb_error_set(err, EXITCODE_TEMPFAIL, "another server has the data now");
}

static int code_of(const struct cb_error *why)
{
    return why->code == EXITCODE_TEMPFAIL ? EXITCODE_TEMPFAIL : EXITCODE_UNAVAILABLE;
}

/* Behind the snapshot. */
static int check_unchanged(struct backup *b, struct cb_error *err)
{
    struct cb_error why = {0};

    if (check_server(b, &why) == 0)
        return 0;
    return cb_error_set(err, EXITCODE_TEMPFAIL,
                        "Redis changed while its snapshot was taken, which may lack data: %.160s; "
                        "run backup again",
                        why.text);
}

/* ---- redis-cli ---- */

/* The password goes by the environment, which others cannot read. */
static pid_t start_redis_cli(struct backup *b, int out, int words, struct cb_error *err)
{
    char *redis CB_CLEANUP(mem_free_ptr) = spawn_find("redis-cli");
    char *valkey CB_CLEANUP(mem_free_ptr) = redis ? NULL : spawn_find("valkey-cli");
    const char *program = redis ? redis : valkey;
    char *argv[16] = {(char *)"redis-cli", b->where[0], b->where[1]};
    int argc = 3;

    if (!program)
        return cb_error_set(err, EXITCODE_UNAVAILABLE,
                            "redis-cli was not found in PATH: install it (Debian: apt install "
                            "redis-tools)");
    if (b->where[2][0]) {
        argv[argc++] = b->where[2];
        argv[argc++] = b->port;
    }
    if (b->user[0]) {
        argv[argc++] = (char *)"--user";
        argv[argc++] = b->user;
    }
    argv[argc++] = (char *)"--no-auth-warning";
    argv[argc++] = (char *)"--rdb";
    argv[argc++] = (char *)"-";
    if (b->password[0])
        setenv("REDISCLI_AUTH", b->password, 1);
    const struct spawn_fd fds[] = {{out, STDOUT_FILENO}, {words, STDERR_FILENO}};
    struct spawn_plan plan = {.path = program,
                              .argv = argv,
                              .fds = fds,
                              .nfds = CB_ARRAY_LEN(fds),
                              .parent_death_signal = SIGTERM};
    pid_t pid = spawn_process(&plan, err);
    unsetenv("REDISCLI_AUTH");
    return pid;
}

static void show_progress(struct progress *p, uint64_t bytes)
{
    char note[48];

    snprintf(note, sizeof note, "%.1f MiB", (double)bytes / (1 << 20));
    progress_update(p, 0, 0, note);
}

/* redis-cli waits for ever. Who makes a snapshot, or runs a script, may be silent for long, but answers or is busy. */
static int await_bytes(struct backup *b, int from, struct cb_error *err)
{
    struct pollfd p = {.fd = from, .events = POLLIN};
    struct cb_error why = {0};

    if (poll(&p, 1, b->target.timeout_ms) != 0 || check_server(b, &why) == 0 ||
        why.code == REDIS_BUSY || why.code == REDIS_MAXCLIENTS)
        return 0;
    return cb_error_set(err, code_of(&why),
                        "Redis has stopped sending its snapshot: %.160s; run backup again",
                        why.text);
}

static int copy(struct backup *b, int from, struct cb_error *err)
{
    char chunk[1 << 16];
    struct progress progress;
    int status = 0;
    ssize_t n = 1;

    progress_init(&progress, "backup");
    while (status == 0 && n != 0) {
        n = read(from, chunk, sizeof chunk);
        if (n > 0)
            status = backup_add(&b->out, chunk, (size_t)n, err);
        else if (n < 0 && errno == EAGAIN)
            status = await_bytes(b, from, err);
        else if (n < 0 && errno != EINTR)
            status = cb_error_set(err, EXITCODE_UNAVAILABLE, "redis-cli: %s", strerror(errno));
        show_progress(&progress, b->out.bytes);
    }
    progress_clear(&progress);
    return status;
}

/* Its last line says why, and Redis, if it is another one by now. */
static int not_given(struct backup *b, int words, struct cb_error *err)
{
    struct cb_error why = {0};
    char text[4096];
    ssize_t n = pread(words, text, sizeof text - 1, 0);
    char *line = text;

    text[n > 0 ? n : 0] = '\0';
    while (*text && strchr("\r\n", text[strlen(text) - 1]))
        text[strlen(text) - 1] = '\0';
    if (strrchr(text, '\n'))
        line = strrchr(text, '\n') + 1;
    if (check_server(b, &why) != 0)
        return cb_error_set(err, code_of(&why),
                            "Redis gave no snapshot: %.160s; %.160s; run backup again", line,
                            why.text);
    return cb_error_set(err, EXITCODE_UNAVAILABLE, "Redis gave no snapshot: %.160s%s", line,
                        strstr(text, "NOPERM") || strstr(text, "AUTH")
                            ? " (its user needs +sync and +replconf)"
                            : "");
}

static int take_snapshot(struct backup *b, int fd, struct cb_error *err)
{
    int pipe_fds[2], how = 0;
    int words = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (words < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0 || fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK) != 0)
        return cb_error_set(err, EXITCODE_SOFTWARE, "pipe: %s", strerror(errno));
    pid_t pid = start_redis_cli(b, pipe_fds[1], words, err);
    close(pipe_fds[1]);
    int status = pid < 0 ? -1 : backup_begin(&b->out, fd, &b->header, err);
    if (status == 0)
        status = copy(b, pipe_fds[0], err);
    if (status != 0 && pid > 0)
        (void)kill(pid, SIGTERM);
    close(pipe_fds[0]);
    while (pid > 0 && waitpid(pid, &how, 0) < 0 && errno == EINTR)
        ;
    if (status == 0 && (!WIFEXITED(how) || WEXITSTATUS(how) != 0 || !b->out.has_snapshot))
        status = not_given(b, words, err);
    close(words);
    if (status == 0)
        status = check_unchanged(b, err);
    return status == 0 ? backup_end(&b->out, err) : status;
}

/* ---- the file ---- */

static int sync_folder(const char *path)
{
    char *dir CB_CLEANUP(mem_free_ptr) = paths_dirname(path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = fd < 0 ? -1 : fsync(fd);

    if (fd >= 0)
        close(fd);
    return status;
}

/* As a whole or not at all: a file of that name is a backup. */
static int write_file(struct backup *b, const char *path, struct cb_error *err)
{
    char *temporary CB_CLEANUP(mem_free_ptr) = mem_printf("%s.tmp", path);
    struct stat st;

    if (!cli_is_set(b->cli, "force") && lstat(path, &st) == 0)
        return cb_error_set(err, EXITCODE_CONFLICT, "%s: is there already; --force replaces it",
                            path);
    (void)unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) /* only what nobody has asked for is called by its own name */
        return cb_error_set(err, EXITCODE_FAILURE, "%s: %s", errno == EEXIST ? temporary : path,
                            strerror(errno));
    int status = take_snapshot(b, fd, err);
    if (status == 0 && (fsync(fd) != 0 || rename(temporary, path) != 0 || sync_folder(path) != 0))
        status = cb_error_set(err, EXITCODE_FAILURE, "%s: %s", path, strerror(errno));
    close(fd);
    if (status != 0)
        (void)unlink(temporary);
    return status;
}

static int report(const struct backup *b, const char *path, int64_t took_ms)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;

    if (cli_is_set(b->cli, "json")) {
        buf_puts(&out, "{");
        json_put_text(&out, "file", path);
        json_put_int(&out, "bytes", (int64_t)b->out.bytes);
        json_put_text(&out, "sha256", b->out.sha);
        backup_put_header(&out, &b->header);
        buf_puts(&out, "}\n");
    } else {
        buf_puts(&out, "backup written to ");
        term_put(&out, path, strlen(path));
        buf_puts(&out, ": ");
        peek_put_bytes(&out, (int64_t)b->out.bytes);
        buf_printf(&out, " in %.1f s, of %s\n", (double)took_ms / 1000, b->header.time);
    }
    return cli_write(&out);
}

static int run_backup(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct backup b = {.cli = cli};
    struct cb_error err = {0};
    const char *path = cli->operands[0];
    bool is_stdout = strcmp(path, "-") == 0;
    int64_t began_ms = clock_mono_ms();
    int code = session_load(&s, cli);

    if (code >= 0)
        return code;
    if (is_stdout && cli_is_set(cli, "json"))
        return cli_wrong_use(cli->verb, "with - stdout is the backup: no --json");
    if (is_stdout && isatty(STDOUT_FILENO))
        return cli_wrong_use(cli->verb, "stdout is a terminal");
    b.opts = s.opts;
    if (prepare(&b, &err) != 0 ||
        (is_stdout ? take_snapshot(&b, STDOUT_FILENO, &err) : write_file(&b, path, &err)) != 0)
        code = failed(&err);
    else
        code = is_stdout ? EXITCODE_OK : report(&b, path, clock_mono_ms() - began_ms);
    redis_target_done(&b.target);
    free(b.user);
    if (b.password)
        explicit_bzero(b.password, strlen(b.password));
    free(b.password);
    return code;
}
