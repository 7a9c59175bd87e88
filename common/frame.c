/*
 * frame.c: see frame.h. A packet is four bytes of header (magic, version, type, length of the body)
 * and a body of fixed length, little-endian. The version is that of this layout; the protocol number
 * inside HELLO is what supervisor and worker agree on above it.
 */
#include "common/compat.h"
#include "common/frame.h"

#include <sys/socket.h>

enum { FRAME_MAGIC = 0xCB, FRAME_LAYOUT = 1, FRAME_HEADER = 4 };

struct frame_row {
    const char *name;
    size_t body;
};

static const struct frame_row rows[] = {
    [FRAME_HELLO] = {"hello", 4 + 8}, [FRAME_READY] = {"ready", 8}, [FRAME_GO] = {"go", 0},
    [FRAME_DRAIN] = {"drain", 0},     [FRAME_BYE] = {"bye", 4},
};

static const struct frame_row *frame_row(unsigned type)
{
    return type < CB_ARRAY_LEN(rows) && rows[type].name ? &rows[type] : NULL;
}

const char *frame_name(enum frame_type type)
{
    const struct frame_row *row = frame_row(type);
    return row ? row->name : "unknown";
}

static void put_le(unsigned char *out, uint64_t n, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(n >> (8 * i));
}

static uint64_t get_le(const unsigned char *in, size_t bytes)
{
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n |= (uint64_t)in[i] << (8 * i);
    return n;
}

size_t frame_encode(const struct frame *f, unsigned char out[FRAME_MAX])
{
    const struct frame_row *row = frame_row(f->type);
    unsigned char *body = out + FRAME_HEADER;

    cb_assert(row);
    out[0] = FRAME_MAGIC;
    out[1] = FRAME_LAYOUT;
    out[2] = (unsigned char)f->type;
    out[3] = (unsigned char)row->body;
    if (f->type == FRAME_HELLO) {
        put_le(body, f->protocol, 4);
        put_le(body + 4, f->generation, 8);
    } else if (f->type == FRAME_READY) {
        put_le(body, (uint64_t)f->redis_id, 8);
    } else if (f->type == FRAME_BYE) {
        put_le(body, f->reason, 4);
    }
    return FRAME_HEADER + row->body;
}

/* The values that a type's fields may have. */
static int frame_check(const struct frame *f, struct cb_error *err)
{
    if (f->type == FRAME_READY && f->redis_id <= 0)
        return cb_error_set(err, EBADMSG, "ready with redis_id %" PRId64, f->redis_id);
    if (f->type == FRAME_BYE && (f->reason < BYE_DRAINED || f->reason > BYE_FAILED))
        return cb_error_set(err, EBADMSG, "bye with reason %u", (unsigned)f->reason);
    return 0;
}

static void frame_read_body(struct frame *f, const unsigned char *body)
{
    if (f->type == FRAME_HELLO) {
        f->protocol = (uint32_t)get_le(body, 4);
        f->generation = get_le(body + 4, 8);
    } else if (f->type == FRAME_READY) {
        f->redis_id = (int64_t)get_le(body, 8);
    } else if (f->type == FRAME_BYE) {
        f->reason = (uint32_t)get_le(body, 4);
    }
}

int frame_decode(const unsigned char *data, size_t len, struct frame *ret, struct cb_error *err)
{
    if (len < FRAME_HEADER)
        return cb_error_set(err, EBADMSG, "packet of %zu bytes", len);
    if (data[0] != FRAME_MAGIC || data[1] != FRAME_LAYOUT)
        return cb_error_set(err, EBADMSG, "magic %02x, layout %u", data[0], data[1]);
    const struct frame_row *row = frame_row(data[2]);
    if (!row)
        return cb_error_set(err, EBADMSG, "unknown type %u", data[2]);
    if (data[3] != row->body || len != FRAME_HEADER + row->body)
        return cb_error_set(err, EBADMSG, "%s with a body of %u in %zu bytes, expected %zu",
                            row->name, data[3], len, row->body);

    struct frame f = {.type = (enum frame_type)data[2]};
    frame_read_body(&f, data + FRAME_HEADER);
    if (frame_check(&f, err) < 0)
        return -1;
    *ret = f;
    return 0;
}

int frame_send(int fd, const struct frame *f)
{
    unsigned char packet[FRAME_MAX];
    size_t len = frame_encode(f, packet);
    ssize_t n;

    do
        n = send(fd, packet, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -1;
    cb_assert((size_t)n == len); /* SOCK_SEQPACKET sends all or nothing */
    return 0;
}

int frame_recv(int fd, struct frame *ret, struct cb_error *err)
{
    unsigned char packet[FRAME_MAX];
    ssize_t n;

    do
        n = recv(fd, packet, sizeof packet, MSG_DONTWAIT | MSG_TRUNC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n < 0)
        return cb_error_set(err, errno, "recv: %s", strerror(errno));
    if (n == 0)
        return cb_error_set(err, 0, "end of file");
    if ((size_t)n > sizeof packet)
        return cb_error_set(err, EBADMSG, "packet of %zd bytes", n);
    return frame_decode(packet, (size_t)n, ret, err) < 0 ? -1 : 1;
}
