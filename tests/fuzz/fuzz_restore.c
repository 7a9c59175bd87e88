/*
 * fuzz_restore.c: any replies of the private server and of the one to restore to, to `claudebench restore` (client/restore_server.c,
 * restore_copy.c).
 *
 * The first byte says what is done: m the private server's data are mended, c they are copied, r replicas are waited for, w the data are
 * written by the private server (a byte more says how that ends: enum ending), else m and c. What follows is RESP: one reply for each command
 * in the order in which they are waited for. The status LOST stands for a lost connection.
 *
 * Whatever comes: no key of ours is removed; each value is restored byte by byte as it was dumped, with its own time to live; cb:meta comes
 * last; a server is told to end once, when it has written all; and that all is well is said only when it is.
 */
#include "common/compat.h"
#include "client/restore.h"

#include "common/buf.h"
#include "tests/fuzz/fake_link.h"
#include "tests/fuzz/feed.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define PREFIX "cb"

/* ---- the private server's process ---- */

enum ending { ENDS_WELL, ENDS_WITH_ERROR, ENDS_KILLED, ENDS_NEVER, ENDS_LATE, DISK_FAILS, ENDINGS };
enum { PID = 4711, LATE_LOOKS = 5 };

static struct {
    enum ending ending;
    unsigned signals, looks, syncs;
    bool has_ended, may_end;
} server;

/* Instead of those of libc: there is no such process, and nobody waits. */
int kill(pid_t pid, int sig)
{
    cb_assert(pid == PID && sig == SIGTERM && server.may_end);
    server.signals++;
    return 0;
}

pid_t waitpid(pid_t pid, int *how, int flags)
{
    cb_assert(pid == PID && flags == WNOHANG && server.signals == 1 && !server.has_ended);
    server.looks++;
    if (server.ending == ENDS_NEVER || (server.ending == ENDS_LATE && server.looks < LATE_LOOKS))
        return 0;
    server.has_ended = true;
    *how = server.ending == ENDS_WITH_ERROR ? 1 << 8 : server.ending == ENDS_KILLED ? SIGKILL : 0;
    return PID;
}

int syncfs(int fd)
{
    (void)fd;
    cb_assert(server.has_ended);
    server.syncs++;
    errno = EIO;
    return server.ending == DISK_FAILS ? -1 : 0;
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)time, (void)left;
    return 0;
}

struct input {
    struct redis_link_reader reader;
    struct redis_link *from, *to;
    struct buf value;   /* the last text that the private server has sent */
    int64_t until;      /* the last number */
    bool has_nonsense;  /* the private server has refused something, or was lost */
    bool is_refused;    /* the other one */
    bool has_meta;      /* it was restored */
    bool may_have_meta; /* it was seen that it is not there yet */
    int64_t confirmed;  /* replicas */
};

/* ---- the servers ---- */

static void note(struct input *in, const struct redis_link *link, const reply_t *reply)
{
    bool is_from = link == in->from;

    if (!is_from && reply_type(reply) == REPLY_INT)
        in->confirmed = reply_int(reply);
    if (is_from && reply_type(reply) == REPLY_STRING)
        server.may_end = strstr(reply_str(reply), "aof_last_bgrewrite_status:ok") &&
                         strstr(reply_str(reply), "aof_last_write_status:ok") &&
                         !strstr(reply_str(reply), "aof_rewrite_in_progress:1") &&
                         !strstr(reply_str(reply), "aof_rewrite_scheduled:1");
    if (reply_is_error(reply)) {
        in->has_nonsense |= is_from;
        in->is_refused |= !is_from;
    } else if (is_from && reply_type(reply) == REPLY_STRING) {
        buf_reset(&in->value);
        buf_append(&in->value, reply_str(reply), reply_bytes(reply));
    } else if (is_from && reply_type(reply) == REPLY_INT) {
        in->until = reply_int(reply);
    }
}

static bool next_reply(void *arg, struct redis_link *link)
{
    struct input *in = arg;
    reply_t *reply = NULL;

    if (redis_link_reader_next(&in->reader, &reply, NULL) != 0 || !reply)
        return false;
    if (reply_type(reply) == REPLY_STATUS && strcmp(reply_str(reply), "LOST") == 0) {
        reply_free(reply);
        return false;
    }
    note(in, link, reply);
    cb_assert(fake_link_give(link, reply));
    return true;
}

static bool is_key(const char *arg, size_t len, const char *key)
{
    return len == strlen(key) && memcmp(arg, key, len) == 0;
}

static void check_restore(struct input *in, const char *const *argv, const size_t *lens)
{
    cb_assert(lens[3] == in->value.len && memcmp(argv[3], buf_peek(&in->value), lens[3]) == 0);
    cb_assert(in->until != -2); /* it is not there any more */
    cb_assert(strtoll(argv[2], NULL, 10) == (in->until > 0 ? in->until : 0));
    cb_assert(!in->has_meta);
    in->has_meta = is_key(argv[1], lens[1], PREFIX ":meta");
    cb_assert(!in->has_meta || in->may_have_meta);
}

/* What is removed is not of our prefix, or what somebody waited for. */
static void check_removal(const char *key, size_t len)
{
    static const char own[] = PREFIX ":";
    size_t n = sizeof own - 1;

    if (len <= n || memcmp(key, own, n) != 0)
        return;
    cb_assert((len >= n + 6 && memcmp(key + n, "reply:", 6) == 0) ||
              (len >= n + 7 && memcmp(key + n, "waiters", 7) == 0));
}

static void take_command(void *arg, struct redis_link *link, int argc, const char *const *argv,
                         const size_t *lens)
{
    struct input *in = arg;

    (void)argc;
    if (strcmp(argv[0], "RESTORE") == 0) {
        cb_assert(link == in->to);
        check_restore(in, argv, lens);
    } else if (strcmp(argv[0], "EXISTS") == 0) {
        in->may_have_meta = true;
    } else if (strcmp(argv[0], "UNLINK") == 0) {
        cb_assert(link == in->from);
        check_removal(argv[1], lens[1]);
    }
}

/* ---- what is done ---- */

static int restore(struct input *in, char what, struct cb_error *err)
{
    struct restore_server s = {.link = in->from};
    struct progress progress = {.label = "restore"};
    int64_t keys = 0;

    if (what != 'c' && restore_server_mend(&s, PREFIX, 3, "generation", &keys, err) != 0)
        return -1;
    if (what == 'm')
        return 0;
    if (restore_copy_check(in->to, PREFIX, err) != 0 ||
        restore_copy(in->from, in->to, PREFIX, keys, &progress, err) != 0)
        return -1;
    cb_assert(!in->is_refused && !in->has_nonsense && in->has_meta);
    cb_assert(redis_link_awaited(in->to) == 0 && redis_link_awaited(in->from) == 0);
    return 0;
}

static int write_data(struct input *in, uint8_t ending, struct cb_error *err)
{
    struct restore_server s = {.link = in->from, .pid = PID, .dir = (char *)"dir", .dir_fd = -1};
    struct progress progress = {.label = "restore"};

    memset(&server, 0, sizeof server);
    server.ending = (enum ending)(ending % ENDINGS);
    int status = restore_server_write(&s, &progress, err);
    in->from = s.link;
    cb_assert((s.pid == 0) == server.has_ended);
    cb_assert(status != 0 || (server.signals == 1 && server.syncs == 1 && !in->has_nonsense &&
                              (server.ending == ENDS_WELL || server.ending == ENDS_LATE)));
    return status;
}

static int await(struct input *in, struct cb_error *err)
{
    int64_t replicas = restore_copy_replicas(in->to);
    bool is_allowed = true;

    cb_assert(replicas >= 0);
    in->is_refused = false;
    int status = restore_copy_await(in->to, replicas, err);
    is_allowed = !in->is_refused; /* who may not wait does not */
    cb_assert(status != 0 || replicas == 0 || !is_allowed || in->confirmed >= replicas);
    return status;
}

static int carry_out(struct input *in, const uint8_t *data, struct cb_error *err)
{
    if (data[0] == 'w')
        return write_data(in, data[1], err);
    return data[0] == 'r' ? await(in, err) : restore(in, (char)data[0], err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t head = len > 0 && data[0] == 'w' ? 2 : 1;
    static const struct redis_target target = {.timeout_ms = 5000};
    struct input in = {.value = BUF_INIT};
    struct cb_error err = {0};

    if (len < head)
        return 0;
    redis_link_reader_init(&in.reader);
    feed(&in.reader, (const char *)data + head, len - head);
    fake_server = (struct fake_server){.command = take_command, .more = next_reply, .arg = &in};
    cb_assert(redis_link_start(&target, NULL, &in.from, &err) == 0);
    cb_assert(redis_link_start(&target, NULL, &in.to, &err) == 0);
    cb_assert(carry_out(&in, data, &err) == 0 || (err.text[0] && err.code));
    redis_link_free(in.from);
    redis_link_free(in.to);
    buf_done(&in.value);
    redis_link_reader_done(&in.reader);
    return 0;
}
