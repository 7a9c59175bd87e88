/*
 * lines.c: see lines.h. Holds at most one line and one chunk.
 */
#include "common/compat.h"
#include "client/lines.h"

#include <poll.h>

enum { CHUNK = 65536 };

void lines_init(struct lines *l, int fd, size_t max)
{
    *l = (struct lines){.fd = fd, .max = max};
}

void lines_done(struct lines *l)
{
    buf_done(&l->data);
}

/* Reads a chunk behind what is there. False at the end of the file. */
static bool fill(struct lines *l)
{
    if (l->is_eof)
        return false;
    buf_consume(&l->data, l->at);
    l->at = 0;
    for (;;) {
        ssize_t n = read(l->fd, buf_reserve(&l->data, CHUNK), CHUNK);
        if (n < 0 && errno == EINTR && !(l->has_to_stop && l->has_to_stop()))
            continue;
        if (n < 0 && errno != EINTR)
            l->error = errno;
        if (n <= 0) {
            l->is_eof = true;
            return false;
        }
        l->data.len += (size_t)n;
        return true;
    }
}

bool lines_is_ready(struct lines *l)
{
    for (size_t seen = 0;;) {
        size_t have = l->data.len - l->at;
        struct pollfd pfd = {.fd = l->fd, .events = POLLIN};
        if (l->is_eof || have > l->max ||
            (have > seen && memchr(l->data.data + l->at + seen, '\n', have - seen)))
            return true;
        if (poll(&pfd, 1, 0) != 1)
            return false;
        seen = have;
        fill(l);
    }
}

static void hand_out(struct lines *l, size_t n)
{
    l->at += n;
    l->offset += (int64_t)n;
}

/* Drops the rest of a line that is too long. */
static void skip_line(struct lines *l)
{
    do {
        const char *from = l->data.data + l->at;
        const char *eol = memchr(from, '\n', l->data.len - l->at);
        hand_out(l, eol ? (size_t)(eol - from) + 1 : l->data.len - l->at);
        if (eol)
            return;
    } while (fill(l));
}

bool lines_next(struct lines *l, const char **ret, size_t *ret_len)
{
    size_t seen = 0;

    for (;;) {
        size_t have = l->data.len - l->at;
        const char *from = have ? l->data.data + l->at : "";
        const char *eol = have > seen ? memchr(from + seen, '\n', have - seen) : NULL;
        size_t len = eol ? (size_t)(eol - from) : have;
        if (len > l->max) {
            l->number++;
            skip_line(l);
            *ret = NULL;
            *ret_len = 0;
            return true;
        }
        if (eol || (l->is_eof && have > 0)) {
            hand_out(l, len + (eol != NULL));
            if (++l->number == 1 && len >= 3 && memcmp(from, "\xef\xbb\xbf", 3) == 0) {
                from += 3;
                len -= 3;
            }
            *ret = from;
            *ret_len = len;
            return !l->error || eol;
        }
        if (l->is_eof)
            return false;
        seen = have;
        fill(l);
    }
}
