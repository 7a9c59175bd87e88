/*
 * fake_link.c: see fake_link.h.
 */
#include "common/compat.h"
#include "tests/fuzz/fake_link.h"

#include "common/mem.h"
#include "common/redis_link_reader.h"
#include "common/rnd.h"

#include <sys/socket.h>

enum { READS_MAX = 1000 }; /* for one reply, of a server that only ever says that there is more */

struct redis_link {
    struct redis_link_reader reader;
    reply_t *given[FAKE_GIVEN_MAX]; /* before what the reader has */
    size_t ngiven;
    size_t awaited;
    bool is_unwritten, is_listening, is_lost;
};

struct fake_server fake_server;

/* ---- what is drawn ---- */

void rnd_seed(uint64_t seed)
{
    (void)seed;
}

uint64_t rnd_u64(void)
{
    return UINT64_C(0x8000000000000000);
}

void rnd_secret(void *out, size_t len)
{
    memset(out, 7, len);
}

void rnd_token(char *out, size_t len)
{
    memset(out, FAKE_TOKEN, len);
    out[len] = '\0';
}

/* ---- life ---- */

int redis_link_start(const struct redis_target *target, const char *client_name,
                     struct redis_link **ret_link, struct cb_error *err)
{
    (void)target, (void)client_name;
    if (fake_server.closed)
        return cb_error_set(err, fake_server.closed, "closed");
    fake_server.opened++;
    struct redis_link *link = mem_alloc(sizeof *link);
    redis_link_reader_init(&link->reader);
    *ret_link = link;
    return 0;
}

int redis_link_open(const struct redis_target *target, const char *client_name,
                    struct redis_link **ret_link, struct cb_error *err)
{
    return redis_link_start(target, client_name, ret_link, err);
}

int redis_link_await(struct redis_link *link, struct cb_error *err)
{
    (void)link, (void)err;
    return 0;
}

void redis_link_free(struct redis_link *link)
{
    if (!link)
        return;
    for (size_t i = 0; i < link->ngiven; i++)
        reply_free(link->given[i]);
    redis_link_reader_done(&link->reader);
    free(link);
}

/* ---- what there is to know ---- */

int64_t redis_link_id(const struct redis_link *link)
{
    (void)link;
    return 1;
}

/* Something that can always be read from and written to. */
int redis_link_fd(const struct redis_link *link)
{
    static int pair[2] = {-1, -1};
    (void)link;

    if (pair[0] < 0) {
        cb_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        cb_assert(send(pair[1], ".", 1, 0) == 1);
    }
    return pair[0];
}

bool redis_link_is_lost(const struct redis_link *link)
{
    return link->is_lost;
}

bool redis_link_is_open(const struct redis_link *link)
{
    return !link->is_lost;
}

size_t redis_link_awaited(const struct redis_link *link)
{
    return link->awaited;
}

size_t redis_link_queued(const struct redis_link *link)
{
    return link->is_unwritten;
}

const char *redis_link_canary(const struct redis_link *link)
{
    (void)link;
    return NULL;
}

void redis_link_set_idle(struct redis_link *link, redis_idle_fn *fn, void *arg)
{
    (void)link, (void)fn, (void)arg;
}

void redis_link_set_wake_fd(struct redis_link *link, int fd)
{
    (void)link, (void)fd;
}

void redis_link_set_listening(struct redis_link *link)
{
    link->is_listening = true;
}

bool fake_link_is_listening(const struct redis_link *link)
{
    return link->is_listening;
}

/* ---- writing ---- */

void redis_link_append(struct redis_link *link, int argc, const char *const *argv,
                       const size_t *lens)
{
    volatile unsigned sum = 0;

    for (int i = 0; i < argc; i++) /* all of it is read, as the link would */
        for (size_t at = 0; at < (lens ? lens[i] : strlen(argv[i])); at++)
            sum += (unsigned char)argv[i][at];
    (void)sum;
    link->awaited++;
    link->is_unwritten = true;
    fake_server.command(fake_server.arg, link, argc, argv, lens);
}

static int collect(const char **argv, size_t max, va_list ap)
{
    int argc = 0;

    for (const char *s; (s = va_arg(ap, const char *)) != NULL; argc++) {
        cb_assert(argc < (int)max);
        argv[argc] = s;
    }
    return argc;
}

void redis_link_appendv(struct redis_link *link, ...)
{
    const char *argv[32];
    va_list ap;

    va_start(ap, link);
    int argc = collect(argv, CB_ARRAY_LEN(argv), ap);
    va_end(ap);
    redis_link_append(link, argc, argv, NULL);
}

bool redis_link_wants_write(const struct redis_link *link)
{
    return link->is_unwritten;
}

int redis_link_on_writable(struct redis_link *link, struct cb_error *err)
{
    (void)err;
    link->is_unwritten = false;
    return 0;
}

/* ---- reading ---- */

void fake_link_feed(struct redis_link *link, const char *data, size_t len)
{
    while (len > 0) {
        size_t room;
        char *to = redis_link_reader_room(&link->reader, &room);
        size_t n = len < room ? len : room;
        memcpy(to, data, n);
        redis_link_reader_added(&link->reader, n);
        data += n;
        len -= n;
    }
}

bool fake_link_give(struct redis_link *link, reply_t *reply)
{
    if (link->ngiven == FAKE_GIVEN_MAX)
        return false;
    link->given[link->ngiven++] = reply;
    return true;
}

static int lose(struct redis_link *link, struct cb_error *err)
{
    link->is_lost = true;
    return cb_error_set(err, REDIS_LOST, "the connection was closed");
}

int redis_link_on_readable(struct redis_link *link, struct cb_error *err)
{
    return !link->is_lost && fake_server.more(fake_server.arg, link) ? 0 : lose(link, err);
}

int redis_link_take(struct redis_link *link, reply_t **ret_reply, struct cb_error *err)
{
    reply_t *reply = NULL;

    if (link->ngiven > 0) {
        reply = link->given[0];
        link->ngiven--;
        for (size_t i = 0; i < link->ngiven; i++)
            link->given[i] = link->given[i + 1];
    } else if (redis_link_reader_next(&link->reader, &reply, err) != 0) {
        return -1;
    }
    if (reply && link->awaited == 0 && !link->is_listening) {
        reply_free(reply);
        return cb_error_set(err, REDIS_PROTOCOL, "a reply that nobody asked for");
    }
    link->awaited -= reply && link->awaited > 0;
    *ret_reply = reply;
    return 0;
}

/* ---- blocking use ---- */

int redis_link_read(struct redis_link *link, int timeout_ms, reply_t **ret_reply,
                    struct cb_error *err)
{
    (void)timeout_ms;
    cb_assert(link->is_lost || link->awaited > 0);
    link->is_unwritten = false;
    for (int i = 0; i < READS_MAX && !link->is_lost; i++) {
        reply_t *reply = NULL;
        if (redis_link_take(link, &reply, err) != 0)
            break;
        if (reply) {
            *ret_reply = reply;
            return 0;
        }
        if (redis_link_on_readable(link, err) != 0)
            break;
    }
    return lose(link, err);
}

int redis_link_call(struct redis_link *link, reply_t **ret_reply, struct cb_error *err, int argc,
                    const char *const *argv, const size_t *lens)
{
    reply_t *reply = NULL;

    cb_assert(link->is_lost || link->awaited == 0);
    if (link->is_lost)
        return lose(link, err);
    redis_link_append(link, argc, argv, lens);
    if (redis_link_read(link, 0, &reply, err) != 0)
        return -1;
    if (reply_is_error(reply)) {
        reply_error(reply, err);
        reply_free(reply);
        return -1;
    }
    if (ret_reply)
        *ret_reply = reply;
    else
        reply_free(reply);
    return 0;
}

int redis_link_callv(struct redis_link *link, reply_t **ret_reply, struct cb_error *err, ...)
{
    const char *argv[32];
    va_list ap;

    va_start(ap, err);
    int argc = collect(argv, CB_ARRAY_LEN(argv), ap);
    va_end(ap);
    return redis_link_call(link, ret_reply, err, argc, argv, NULL);
}
