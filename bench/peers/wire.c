/*
 * wire.c: see wire.h.
 */
#include "common/compat.h"
#include "bench/peers/wire.h"

#include "bench/peers/driver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { READ_SIZE = 65536 };

static int open_unix(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        driver_failed("%s: %s", path, strerror(errno));
    return fd;
}

static int open_tcp(const char *address)
{
    const char *colon = strchr(address, ':');
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    to.sin_port = htons((uint16_t)strtoul(colon ? colon + 1 : "0", NULL, 10));
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        driver_failed("%s: %s", address, strerror(errno));
    return fd;
}

void wire_open(struct wire *w, const char *address)
{
    *w = (struct wire){.fd = address[0] == '/' ? open_unix(address) : open_tcp(address)};
}

static void flush(struct wire *w)
{
    size_t done = 0;

    while (done < w->out.len) {
        ssize_t n = send(w->fd, w->out.data + done, w->out.len - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            driver_failed("the server cannot be written to: %s", strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    buf_reset(&w->out);
}

static void read_more(struct wire *w)
{
    flush(w);
    if (w->taken > 0) {
        buf_consume(&w->in, w->taken);
        w->taken = 0;
    }
    ssize_t n = read(w->fd, buf_reserve(&w->in, READ_SIZE), READ_SIZE);
    if (n == 0)
        driver_failed("the server has closed the connection");
    if (n < 0 && errno != EINTR)
        driver_failed("the server cannot be read from: %s", strerror(errno));
    w->in.len += n > 0 ? (size_t)n : 0;
}

/* Waits until `len` bytes have come that are not taken yet. */
static const char *need(struct wire *w, size_t len)
{
    while (w->in.len - w->taken < len)
        read_more(w);
    return w->in.data + w->taken;
}

const char *wire_take(struct wire *w, size_t len)
{
    const char *at = need(w, len);
    w->taken += len;
    return at;
}

const char *wire_line(struct wire *w)
{
    char *end = NULL;

    while (!end) {
        size_t len = w->in.len - w->taken;
        end = len > 0 ? memmem(w->in.data + w->taken, len, "\r\n", 2) : NULL;
        if (!end)
            read_more(w);
    }
    *end = '\0';
    const char *line = w->in.data + w->taken;
    w->taken = (size_t)(end - w->in.data) + 2;
    return line;
}
