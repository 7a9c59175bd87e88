/*
 * fuzz_restore.c: any replies of the private server and of the one to restore to, to `claudebench restore` (client/restore_server.c,
 * restore_copy.c).
 *
 * The first byte says what is done: m the private server's data are mended, c they are copied, else both. What follows is RESP: one reply for
 * each command in the order in which they are waited for. The status LOST stands for a lost connection.
 *
 * Whatever comes: no key of ours is removed; each value is restored byte by byte as it was dumped, with its own time to live; cb:meta comes
 * last; and that all is well is said only when it is.
 */
#include "common/compat.h"
#include "client/restore.h"

#include "common/buf.h"
#include "tests/fuzz/fake_link.h"
#include "tests/fuzz/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define PREFIX "cb"

struct input {
    struct redis_link_reader reader;
    struct redis_link *from, *to;
    struct buf value;   /* the last text that the private server has sent */
    int64_t until;      /* the last number */
    bool has_nonsense;  /* the private server has refused something, or was lost */
    bool is_refused;    /* the other one */
    bool has_meta;      /* it was restored */
    bool may_have_meta; /* it was seen that it is not there yet */
};

/* ---- the servers ---- */

static void note(struct input *in, const struct redis_link *link, const reply_t *reply)
{
    bool is_from = link == in->from;

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct redis_target target = {.timeout_ms = 5000};
    struct input in = {.value = BUF_INIT};
    struct cb_error err = {0};

    if (len == 0)
        return 0;
    redis_link_reader_init(&in.reader);
    feed(&in.reader, (const char *)data + 1, len - 1);
    fake_server = (struct fake_server){.command = take_command, .more = next_reply, .arg = &in};
    cb_assert(redis_link_start(&target, NULL, &in.from, &err) == 0);
    cb_assert(redis_link_start(&target, NULL, &in.to, &err) == 0);
    cb_assert(restore(&in, (char)data[0], &err) == 0 || (err.text[0] && err.code));
    redis_link_free(in.from);
    redis_link_free(in.to);
    buf_done(&in.value);
    redis_link_reader_done(&in.reader);
    return 0;
}
