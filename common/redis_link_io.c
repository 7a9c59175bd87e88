/*
 * redis_link_io.c: commands out, replies in, and waiting in between (redis_link.h).
 *
 * Commands are encoded straight into one output buffer; a write takes as much of it as the socket
 * does. The blocking calls read while they write, so that two full socket buffers cannot lock each
 * other, and keep at most IN_MAX of unread replies meanwhile.
 */
#include "common/compat.h"
#include "common/redis_link_int.h"

#include "common/clock.h"

#include <poll.h>
#include <sys/socket.h>

enum {
    IN_MAX = 1 << 20,     /* received and unread, while there is something to write */
    OUT_KEEP = 256 << 10, /* memory of the output buffer kept while it is empty */
    OUT_SHIFT = 64 << 10, /* move the rest to the front when this much of it is written */
    WAKES_MAX = 16,       /* an unread wake fd must not spin us */
    HEADER_MAX = 1 + 20 + 2,
    ARGS_MAX = 32, /* of the calls with "..." */
};

/* ---- encoding ---- */

/* "<type><n>\r\n" at `to`; returns where it ends. */
static char *put_header(char *to, char type, size_t n)
{
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    *to++ = type;
    while (count > 0)
        *to++ = digits[--count];
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

static char *put_bulk(char *to, const char *data, size_t len)
{
    to = put_header(to, '$', len);
    if (len)
        memcpy(to, data, len);
    to += len;
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

void link_encode(struct redis_link *link, int argc, const char *const *argv, const size_t *lens)
{
    cb_assert(argc > 0);
    if (link->state == LINK_LOST)
        return;
    size_t count = (size_t)argc;
    size_t size = HEADER_MAX;
    for (size_t i = 0; i < count; i++)
        size += HEADER_MAX + (lens ? lens[i] : strlen(argv[i])) + 2;
    char *start = buf_reserve(&link->out, size);
    char *to = put_header(start, '*', count);
    for (size_t i = 0; i < count; i++)
        to = put_bulk(to, argv[i], lens ? lens[i] : strlen(argv[i]));
    *to = '\0';
    link->out.len += (size_t)(to - start);
}

void redis_link_append(struct redis_link *link, int argc, const char *const *argv,
                       const size_t *lens)
{
    /* What is there already would be taken for the answer, and each answer for that of the command before. */
    if (link->state == LINK_READY && link->nawaited == 0 && !link->is_listening &&
        redis_link_reader_pending(&link->reader) > 0)
        link_lose(link, REDIS_PROTOCOL, NULL, "protocol error: a reply nobody asked for");
    link_encode(link, argc, argv, lens);
    link->nawaited++;
}

static int collect_args(va_list ap, const char *argv[ARGS_MAX])
{
    int argc = 0;
    for (const char *arg; (arg = va_arg(ap, const char *)) != NULL; argc++) {
        cb_assert(argc < ARGS_MAX);
        argv[argc] = arg;
    }
    return argc;
}

void redis_link_appendv(struct redis_link *link, ...)
{
    const char *argv[ARGS_MAX];
    va_list ap;
    va_start(ap, link);
    int argc = collect_args(ap, argv);
    va_end(ap);
    redis_link_append(link, argc, argv, NULL);
}

size_t redis_link_queued(const struct redis_link *link)
{
    return link->out.len - link->out_at;
}

/* ---- moving bytes ---- */

static void out_written(struct redis_link *link, size_t n)
{
    link->out_at += n;
    if (link->out_at == link->out.len) {
        if (link->out.cap > OUT_KEEP)
            buf_done(&link->out);
        buf_reset(&link->out);
        link->out_at = 0;
    } else if (link->out_at > OUT_SHIFT && link->out_at > link->out.len / 2) {
        buf_consume(&link->out, link->out_at);
        link->out_at = 0;
    }
}

int link_write(struct redis_link *link, struct cb_error *err)
{
    if (link->state != LINK_HANDSHAKE && link->state != LINK_READY)
        return link_check(link, err);
    while (!link->is_out_closed && redis_link_queued(link) > 0) {
        ssize_t n = send(link->fd, link->out.data + link->out_at, redis_link_queued(link),
                         MSG_NOSIGNAL);
        if (n >= 0) {
            out_written(link, (size_t)n);
        } else if (errno == EAGAIN) {
            return 0;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            /* Why it hung up ("max number of clients") may be waiting to be read. */
            link->is_out_closed = true;
            out_written(link, redis_link_queued(link));
        } else if (errno != EINTR) {
            return link_lose(link, REDIS_LOST, err, "cannot write: %s", strerror(errno));
        }
    }
    return 0;
}

static int link_receive(struct redis_link *link, struct cb_error *err)
{
    size_t size;
    char *room = redis_link_reader_room(&link->reader, &size);
    ssize_t n = recv(link->fd, room, size, 0);
    if (n > 0) {
        redis_link_reader_added(&link->reader, (size_t)n);
        return 0;
    }
    if (n == 0)
        return link_lose(link, REDIS_LOST, err, "the connection was closed by Redis");
    if (errno == EINTR)
        return 0;
    if (errno != EAGAIN)
        return link_lose(link, REDIS_LOST, err, "cannot read: %s", strerror(errno));
    if (link->is_out_closed)
        return link_lose(link, REDIS_LOST, err, "cannot write: %s", strerror(EPIPE));
    return 0;
}

int link_next(struct redis_link *link, reply_t **ret_reply, struct cb_error *err)
{
    struct cb_error why = {0};
    reply_t *reply = NULL;
    *ret_reply = NULL;
    if (link_check(link, err) < 0)
        return -1;
    for (;;) {
        if (redis_link_reader_next(&link->reader, &reply, &why) < 0)
            return link_lose(link, REDIS_PROTOCOL, err, "%s", why.text);
        if (!reply || link->step == link->nsteps)
            break;
        if (link_handshake_reply(link, reply, err) < 0)
            return -1;
    }
    if (reply && link->nawaited == 0 && !link->is_listening) {
        reply_free(reply);
        return link_lose(link, REDIS_PROTOCOL, err, "protocol error: a reply nobody asked for");
    }
    if (reply_is_error(reply) && link_cluster_error(link, reply, err) < 0) {
        reply_free(reply);
        return -1;
    }
    *ret_reply = reply;
    return 0;
}

/* ---- waiting ---- */

/* The hook is called when it is due, or when the wake fd wants it. */
static int call_idle(struct redis_link *link, bool is_woken, struct cb_error *err)
{
    int64_t now = clock_mono_ms();
    if (!link->idle || (!is_woken && now - link->idle_at_ms < REDIS_LINK_IDLE_MS))
        return 0;
    link->idle_at_ms = now;
    if (link->idle(link->idle_arg))
        return 0;
    return cb_error_set(err, REDIS_LOST, "interrupted while waiting for Redis");
}

/* How long poll may sleep: to the deadline, the hook's next turn, the next try to connect. */
static int wait_ms(const struct redis_link *link, int64_t deadline_ms)
{
    int64_t now = clock_mono_ms();
    int64_t until = deadline_ms;
    if (link->idle && link->idle_at_ms + REDIS_LINK_IDLE_MS < until)
        until = link->idle_at_ms + REDIS_LINK_IDLE_MS;
    if (link->state == LINK_RETRY && now + LINK_RETRY_MS < until)
        until = now + LINK_RETRY_MS;
    return until > now ? (int)(until - now < INT_MAX ? until - now : INT_MAX) : 0;
}

static short wanted_events(const struct redis_link *link)
{
    if (link->state == LINK_CONNECTING)
        return POLLOUT;
    if (link->state == LINK_SEARCHING)
        return POLLIN;
    int events = redis_link_reader_pending(&link->reader) < IN_MAX ? POLLIN : 0;
    return (short)(redis_link_queued(link) > 0 ? events | POLLOUT : events);
}

/* What poll has found out about the socket. */
static int on_events(struct redis_link *link, short revents, struct cb_error *err)
{
    if (link->state == LINK_RETRY)
        return link_retry(link, err);
    if (revents == 0)
        return 0;
    if (link->state == LINK_SEARCHING)
        return link_search(link, err);
    if (link->state == LINK_CONNECTING)
        return link_connected(link, err);
    return revents & ~POLLOUT ? link_receive(link, err) : 0;
}

/* Past the deadline one more look is taken (we may have been stopped ourselves), but only one: a
 * peer that sends a byte now and then must not keep us for ever. */
static int check_deadline(struct redis_link *link, int64_t deadline_ms, struct cb_error *err)
{
    bool was_late = link->is_late;
    link->is_late = clock_mono_ms() >= deadline_ms;
    if (was_late && link->is_late)
        return link_lose(link, REDIS_LOST, err, "no answer in time");
    return 0;
}

int link_wait(struct redis_link *link, int64_t deadline_ms, struct cb_error *err)
{
    if (check_deadline(link, deadline_ms, err) < 0)
        return -1;
    /* A socket in LINK_RETRY would be reported as hung up at once. */
    struct pollfd fds[2] = {
        {.fd = link->state == LINK_RETRY ? -1 : link->fd, .events = wanted_events(link)},
        {.fd = link->idle && link->wakes < WAKES_MAX ? link->wake_fd : -1, .events = POLLIN},
    };
    int n = poll(fds, 2, wait_ms(link, deadline_ms));
    if (n < 0 && errno != EINTR)
        return link_lose(link, REDIS_LOST, err, "poll: %s", strerror(errno));
    bool is_woken = n > 0 && fds[1].revents != 0;
    link->wakes = is_woken ? link->wakes + 1 : 0;
    if (call_idle(link, is_woken, err) < 0)
        return -1;
    return n >= 0 ? on_events(link, fds[0].revents, err) : 0;
}

/* ---- blocking use ---- */

static void give_ready(struct redis_link *link, reply_t **ret_reply)
{
    *ret_reply = link->ready;
    link->ready = NULL;
    link->nawaited--;
}

/* A reply is kept back while there is something to write, unless reading on would cost memory. */
static bool can_give(const struct redis_link *link)
{
    return link->ready && (redis_link_queued(link) == 0 || link->is_out_closed ||
                           redis_link_reader_pending(&link->reader) >= IN_MAX);
}

int redis_link_read(struct redis_link *link, int timeout_ms, reply_t **ret_reply,
                    struct cb_error *err)
{
    if (link_check(link, err) < 0)
        return -1;
    cb_assert(link->nawaited > 0);
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    link->is_late = false;
    for (;;) {
        if (link_write(link, err) < 0)
            return -1;
        if (!link->ready && link_next(link, &link->ready, err) < 0)
            return -1;
        if (can_give(link))
            break;
        if (link_wait(link, deadline_ms, err) < 0)
            return -1;
    }
    give_ready(link, ret_reply);
    return 0;
}

int redis_link_call(struct redis_link *link, reply_t **ret_reply, struct cb_error *err, int argc,
                    const char *const *argv, const size_t *lens)
{
    reply_t *reply = NULL;
    struct cb_error why = {0};
    if (link_check(link, err) < 0)
        return -1;
    cb_assert(link->nawaited == 0);
    redis_link_append(link, argc, argv, lens);
    if (redis_link_read(link, link->target->timeout_ms, &reply, &why) < 0)
        /* Stopped by the hook or not: the next call would take this one's reply for its own. */
        return link_lose(link, (enum redis_fault)why.code, err, "%s", why.text);
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
    const char *argv[ARGS_MAX];
    va_list ap;
    va_start(ap, err);
    int argc = collect_args(ap, argv);
    va_end(ap);
    return redis_link_call(link, ret_reply, err, argc, argv, NULL);
}

/* ---- event-loop use ---- */

bool redis_link_wants_write(const struct redis_link *link)
{
    if (link->state == LINK_LOST || link->state == LINK_SEARCHING)
        return false;
    return link->state == LINK_CONNECTING || (redis_link_queued(link) > 0 && !link->is_out_closed);
}

int redis_link_on_writable(struct redis_link *link, struct cb_error *err)
{
    if (link->state == LINK_CONNECTING && link_connected(link, err) < 0)
        return -1;
    return link_write(link, err);
}

int redis_link_on_readable(struct redis_link *link, struct cb_error *err)
{
    if (link_check(link, err) < 0)
        return -1;
    if (link->state == LINK_SEARCHING)
        return link_search(link, err);
    if (link->state == LINK_CONNECTING)
        return redis_link_on_writable(link, err);
    /* Whoever does not take the replies gets no more of them. */
    return redis_link_reader_pending(&link->reader) < IN_MAX ? link_receive(link, err) : 0;
}

int redis_link_take(struct redis_link *link, reply_t **ret_reply, struct cb_error *err)
{
    reply_t *reply = link->ready;
    link->ready = NULL;
    if (!reply && link_next(link, &reply, err) < 0)
        return -1;
    if (reply && link->nawaited > 0)
        link->nawaited--;
    *ret_reply = reply;
    return 0;
}
