/*
 * redis_link_reader.c: see redis_link_reader.h.
 *
 * hiredis is fed one reply at a time and asked for it only when it is whole: its own buffer then
 * never holds a pipeline, which it would move to the front again after each kilobyte, and a long
 * reply that comes in pieces is parsed once.
 */
#include "common/compat.h"
#include "common/redis_link_reader.h"

#include "common/exitcode.h"
#include "common/mem.h"

#include <hiredis/hiredis.h>

enum {
    ROOM_MIN = 16 << 10,
    ROOM_MAX = 256 << 10,
    KEEP_MAX = 512 << 10,    /* memory kept while idle: ours … */
    HIREDIS_KEEP = 64 << 10, /* … and hiredis's */
};

/* hiredis could not allocate within our limits: the same end as in mem.h. */
static CB_NORETURN void out_of_memory(void)
{
    fprintf(stderr, "event=out_of_memory in=hiredis next=exit code=%d\n", EXITCODE_NOMEM);
    _exit(EXITCODE_NOMEM);
}

void redis_link_reader_init(struct redis_link_reader *reader)
{
    *reader = (struct redis_link_reader){.in = BUF_INIT};
    resp_check_init(&reader->check);
    reader->hiredis = redisReaderCreate();
    if (!reader->hiredis)
        out_of_memory();
    reader->hiredis->maxbuf = HIREDIS_KEEP;
}

void redis_link_reader_done(struct redis_link_reader *reader)
{
    if (reader->hiredis)
        redisReaderFree(reader->hiredis);
    reader->hiredis = NULL;
    buf_done(&reader->in);
}

char *redis_link_reader_room(struct redis_link_reader *reader, size_t *ret_size)
{
    struct buf *in = &reader->in;
    if (reader->at == in->len && in->cap > KEEP_MAX)
        buf_done(in);
    else
        buf_consume(in, reader->at);
    reader->at = 0;
    size_t size = reader->check.bytes_due;
    if (size < ROOM_MIN)
        size = ROOM_MIN;
    if (size > ROOM_MAX)
        size = ROOM_MAX;
    *ret_size = size;
    return buf_reserve(in, size);
}

void redis_link_reader_added(struct redis_link_reader *reader, size_t len)
{
    reader->in.len += len;
    reader->in.data[reader->in.len] = '\0';
}

size_t redis_link_reader_pending(const struct redis_link_reader *reader)
{
    return reader->in.len - reader->at;
}

/* The checker has seen the end of a reply: hiredis must find exactly that reply. */
static int fetch_reply(struct redis_link_reader *reader, reply_t **ret_reply, struct cb_error *err)
{
    void *reply = NULL;
    if (redisReaderGetReply(reader->hiredis, &reply) != 0) {
        if (reader->hiredis->err == REDIS_ERR_OOM)
            out_of_memory();
        return cb_error_set(err, REDIS_PROTOCOL, "protocol error: %s", reader->hiredis->errstr);
    }
    if (!reply)
        return cb_error_set(err, REDIS_PROTOCOL, "protocol error: a reply without an end");
    *ret_reply = reply;
    return 0;
}

int redis_link_reader_next(struct redis_link_reader *reader, reply_t **ret_reply,
                           struct cb_error *err)
{
    bool is_complete;
    const char *reason;
    *ret_reply = NULL;
    size_t len = redis_link_reader_pending(reader);
    if (len == 0)
        return 0;
    const char *data = reader->in.data + reader->at;
    ssize_t n = resp_check_scan(&reader->check, data, len, &is_complete, &reason);
    if (n < 0)
        return cb_error_set(err, REDIS_PROTOCOL, "protocol error: %s", reason);
    if (redisReaderFeed(reader->hiredis, data, (size_t)n) != 0)
        out_of_memory();
    reader->at += (size_t)n;
    return is_complete ? fetch_reply(reader, ret_reply, err) : 0;
}
