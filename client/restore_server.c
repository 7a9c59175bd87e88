/*
 * restore_server.c: see restore.h. The only place where keys are walked (SCAN): this server is ours, and nobody else waits for it.
 */
#include "common/compat.h"
#include "client/restore.h"

#include "common/exitcode.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/scripts.h"
#include "common/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { LOOK_MS = 20, STOP_LOOKS = 3000 };

static void pause_ms(int ms)
{
    const struct timespec t = {.tv_nsec = ms * 1000000L};

    nanosleep(&t, NULL);
}

/* ---- its life ---- */

static int spawn_server(struct restore_server *s, struct cb_error *err)
{
    static const char *const settings[] = {"--port",
                                           "0",
                                           "--unixsocket",
                                           "sock",
                                           "--unixsocketperm",
                                           "700",
                                           "--dir",
                                           ".",
                                           "--dbfilename",
                                           RESTORE_SNAPSHOT,
                                           "--logfile",
                                           "log",
                                           "--daemonize",
                                           "no",
                                           "--save",
                                           "",
                                           "--databases",
                                           "1024",
                                           "--appendonly",
                                           "no",
                                           "--appendfilename",
                                           "appendonly.aof",
                                           "--appenddirname",
                                           "appendonlydir",
                                           "--aof-use-rdb-preamble",
                                           "yes",
                                           "--appendfsync",
                                           "no",
                                           "--hash-max-listpack-value",
                                           "1024",
                                           "--hash-max-listpack-entries",
                                           "128"};
    char *argv[CB_ARRAY_LEN(settings) + 2] = {(char *)"redis-server"};
    char *redis CB_CLEANUP(mem_free_ptr) = spawn_find("redis-server");
    char *valkey CB_CLEANUP(mem_free_ptr) = redis ? NULL : spawn_find("valkey-server");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const struct spawn_fd fds[] = {
        {null, STDIN_FILENO}, {null, STDOUT_FILENO}, {null, STDERR_FILENO}};
    struct spawn_plan plan = {.path = redis ? redis : valkey,
                              .argv = argv,
                              .fds = fds,
                              .nfds = CB_ARRAY_LEN(fds),
                              .cwd = s->dir,
                              .new_group = true,
                              .parent_death_signal = SIGKILL};

    for (size_t i = 0; i < CB_ARRAY_LEN(settings); i++)
        argv[i + 1] = (char *)settings[i];
    if (!plan.path)
        cb_error_set(err, EXITCODE_UNAVAILABLE,
                     "redis-server was not found in PATH: install it (Debian: apt install "
                     "redis-server); restore makes the data with a private one");
    else if ((s->pid = spawn_process(&plan, err)) < 0)
        cb_error_set(err, EXITCODE_UNAVAILABLE, "redis-server cannot be started");
    if (null >= 0)
        close(null);
    return s->pid > 0 ? 0 : -1;
}

/* What its log says last. */
static int has_died(struct restore_server *s, struct cb_error *err)
{
    char text[4096];
    const char *line = text;
    int fd = openat(s->dir_fd, "log", O_RDONLY | O_CLOEXEC);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    ssize_t n = fd >= 0 ? pread(fd, text, sizeof text - 1,
                                end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0)
                        : 0;

    if (fd >= 0)
        close(fd);
    s->pid = 0;
    text[n > 0 ? n : 0] = '\0';
    while (*text && text[strlen(text) - 1] == '\n')
        text[strlen(text) - 1] = '\0';
    if (strrchr(text, '\n'))
        line = strrchr(text, '\n') + 1;
    return cb_error_set(err, EXITCODE_UNAVAILABLE, "redis-server did not take the snapshot: %.200s",
                        line);
}

/* As long as it lives it will be there: large snapshots take their time. */
static int await_server(struct restore_server *s, struct progress *progress, struct cb_error *err)
{
    for (;;) {
        struct cb_error why = {0};
        if (redis_link_open(&s->target, "claudebench-restore", &s->link, &why) == 0)
            return 0;
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
            return has_died(s, err);
        progress_update(progress, 0, 0, "loading the snapshot");
        pause_ms(LOOK_MS);
    }
}

int restore_server_start(struct restore_server *s, const char *dir, struct progress *progress,
                         struct cb_error *err)
{
    *s = (struct restore_server){.dir = mem_strdup(dir)};
    s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0)
        return cb_error_set(err, EXITCODE_FAILURE, "%s: %s", dir, strerror(errno));
    /* However long the folder's name is: that of a socket must be short. */
    s->target = (struct redis_target){.unix_path = mem_printf("/proc/self/fd/%d/sock", s->dir_fd),
                                      .user = mem_strdup(""),
                                      .password = mem_strdup(""),
                                      .timeout_ms = 600000};
    return spawn_server(s, err) != 0 ? -1 : await_server(s, progress, err);
}

void restore_server_done(struct restore_server *s)
{
    if (!s->dir)
        return;
    redis_link_free(s->link);
    if (s->pid > 0) {
        (void)kill(s->pid, SIGKILL);
        (void)waitpid(s->pid, NULL, 0);
    }
    redis_target_done(&s->target);
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    free(s->dir);
    *s = (struct restore_server){0};
}

/* ---- which keys ---- */

static int failed(struct cb_error *err, const char *what)
{
    if (err)
        err->code = EXITCODE_UNAVAILABLE;
    return cb_error_prefix(err, "the private redis-server, %s", what);
}

static bool begins(const char *key, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(key, with, strlen(with)) == 0;
}

/* Of the prefix, and not what some client waited for that has lost its connection long ago. */
static bool is_wanted(const char *key, size_t len, const char *prefix)
{
    size_t own = strlen(prefix);

    if (!begins(key, len, prefix) || len <= own || key[own] != ':')
        return false;
    key += own + 1;
    len -= own + 1;
    return !begins(key, len, "reply:") && !begins(key, len, "waiters:") &&
           !(len == 7 && memcmp(key, "waiters", 7) == 0);
}

/* One page: asks for the removal of what is not wanted, and gives the cursor of the next. */
static int sift_page(struct redis_link *link, const char *prefix, char cursor[24],
                     struct cb_error *err)
{
    reply_t *page CB_CLEANUP(reply_free_ptr) = NULL;
    int status = 0;

    if (redis_link_callv(link, &page, err, "SCAN", cursor, "COUNT", "1000", NULL) != 0)
        return -1;
    const reply_t *keys = reply_at(page, 1);
    for (size_t i = 0; i < reply_count(keys); i++) {
        const char *key = reply_str(reply_at(keys, i));
        size_t len = reply_bytes(reply_at(keys, i));
        const char *argv[] = {"UNLINK", key};
        const size_t lens[] = {6, len};
        if (!is_wanted(key, len, prefix))
            redis_link_append(link, 2, argv, lens);
    }
    while (status == 0 && redis_link_awaited(link) > 0) {
        reply_t *reply = NULL;
        status = redis_link_read(link, 600000, &reply, err);
        if (status == 0 && reply_is_error(reply))
            status = reply_error(reply, err);
        reply_free(reply);
    }
    snprintf(cursor, 24, "%s", reply_str(reply_at(page, 0)));
    return status;
}

/* Database `db` becomes database 0, and what other databases hold goes. */
static int keep_database(struct redis_link *link, int64_t db, struct cb_error *err)
{
    reply_t *info CB_CLEANUP(reply_free_ptr) = NULL;
    char number[24];

    snprintf(number, sizeof number, "%" PRId64, db);
    if ((db != 0 && redis_link_callv(link, NULL, err, "SWAPDB", "0", number, NULL) != 0) ||
        redis_link_callv(link, &info, err, "INFO", "keyspace", NULL) != 0)
        return -1;
    for (const char *at = reply_str(info); (at = strstr(at, "\ndb")); at += 3) {
        snprintf(number, sizeof number, "%ld", strtol(at + 3, NULL, 10));
        if (strcmp(number, "0") != 0 &&
            (redis_link_callv(link, NULL, err, "SELECT", number, NULL) != 0 ||
             redis_link_callv(link, NULL, err, "FLUSHDB", NULL) != 0 ||
             redis_link_callv(link, NULL, err, "SELECT", "0", NULL) != 0))
            return -1;
    }
    return 0;
}

static int call_script(struct restore_server *s, const char *prefix, const char *generation,
                       struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct script_call call;

    script_call_init(&call, SCRIPT_RESTORE);
    script_call_key(&call, keys_make(&a, prefix, KEY_META));
    script_call_key(&call, keys_make(&a, prefix, KEY_CLOCK));
    script_call_key(&call, keys_make(&a, prefix, KEY_INSTANCES_ACTIVE));
    script_call_arg_str(&call, arena_printf(&a, "%s:", prefix));
    script_call_arg_str(&call, generation);
    int status = scripts_run(s->link, &call, &reply, err);
    script_call_done(&call);
    if (status != 0)
        return failed(err, "mending");
    return reply_bytes(reply) > 0 ? 0
                                  : cb_error_set(err, EXITCODE_DATAERR,
                                                 "the snapshot has nothing of prefix %s", prefix);
}

int restore_server_mend(struct restore_server *s, const char *prefix, int64_t db,
                        const char *generation, int64_t *ret_keys, struct cb_error *err)
{
    reply_t *size CB_CLEANUP(reply_free_ptr) = NULL;
    char cursor[24] = "0";

    if (keep_database(s->link, db, err) != 0)
        return failed(err, "databases");
    do {
        if (sift_page(s->link, prefix, cursor, err) != 0)
            return failed(err, "keys");
    } while (strcmp(cursor, "0") != 0);
    if (call_script(s, prefix, generation, err) != 0)
        return -1;
    if (redis_link_callv(s->link, &size, err, "DBSIZE", NULL) != 0)
        return failed(err, "keys");
    *ret_keys = reply_int(size);
    return 0;
}

/* ---- the append only file ---- */

/* 1: written, 0: not yet, -1: failed. */
static int is_written(struct redis_link *link, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;

    if (redis_link_callv(link, &reply, err, "INFO", "persistence", NULL) != 0)
        return failed(err, "writing");
    const char *info = reply_str(reply);
    if (strstr(info, "aof_rewrite_in_progress:1") || strstr(info, "aof_rewrite_scheduled:1"))
        return 0;
    if (strstr(info, "aof_last_bgrewrite_status:ok") && strstr(info, "aof_last_write_status:ok"))
        return 1;
    return cb_error_set(err, EXITCODE_FAILURE,
                        "redis-server cannot write the append only file: is the disk full?");
}

static int await_end(struct restore_server *s, struct cb_error *err)
{
    for (int i = 0; i < STOP_LOOKS; i++, pause_ms(LOOK_MS)) {
        int how = 0;
        if (waitpid(s->pid, &how, WNOHANG) != s->pid)
            continue;
        s->pid = 0;
        return WIFEXITED(how) && WEXITSTATUS(how) == 0
                   ? 0
                   : cb_error_set(err, EXITCODE_FAILURE, "redis-server did not end in order");
    }
    return cb_error_set(err, EXITCODE_FAILURE, "redis-server does not end");
}

int restore_server_write(struct restore_server *s, struct progress *progress, struct cb_error *err)
{
    int done;

    if (redis_link_callv(s->link, NULL, err, "CONFIG", "SET", "appendonly", "yes", NULL) != 0)
        return failed(err, "writing");
    while ((done = is_written(s->link, err)) == 0) {
        progress_update(progress, 0, 0, "writing the data");
        pause_ms(LOOK_MS);
    }
    if (done < 0)
        return -1;
    redis_link_free(s->link);
    s->link = NULL;
    (void)kill(s->pid, SIGTERM);
    if (await_end(s, err) != 0)
        return -1;
    if (syncfs(s->dir_fd) != 0)
        return cb_error_set(err, EXITCODE_FAILURE, "%s: %s", s->dir, strerror(errno));
    return 0;
}
