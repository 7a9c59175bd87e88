/*
 * tell.c: see tell.h. The side of the job.
 */
#include "common/compat.h"
#include "client/tell.h"

#include "common/exitcode.h"
#include "common/json.h"

#include <sys/time.h>

enum { TELL_TIMEOUT_S = 10, TELL_REPLY_MAX = 4096 };

bool tell_address(const char *name, struct sockaddr_un *ret, socklen_t *ret_len)
{
    size_t len = strlen(name);

    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len == 0 || len + 1 > sizeof ret->sun_path)
        return false;
    memcpy(ret->sun_path + 1, name, len); /* the NUL before it makes it abstract */
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
    return true;
}

bool tell_is_own_task(const char *id)
{
    const char *own = getenv(TELL_ENV_ID), *attempt = getenv(TELL_ENV_ATTEMPT);

    return getenv(TELL_ENV_SOCKET) && own && attempt && attempt[0] && strcmp(own, id) == 0 &&
           attempt[strspn(attempt, "0123456789")] == '\0';
}

void tell_put_attempt(struct buf *message)
{
    const char *id = getenv(TELL_ENV_ID), *attempt = getenv(TELL_ENV_ATTEMPT);

    cb_assert(id && attempt);
    buf_puts(message, "{");
    json_put_text(message, "id", id);
    json_put_int(message, "attempt", strtoll(attempt, NULL, 10));
}

static bool send_all(int fd, const struct buf *message)
{
    for (size_t done = 0; done < message->len;) {
        ssize_t n = send(fd, message->data + done, message->len - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return shutdown(fd, SHUT_WR) == 0;
}

static bool receive_all(int fd, struct buf *line)
{
    while (line->len < TELL_REPLY_MAX) {
        ssize_t n = read(fd, buf_reserve(line, 512), 512);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 && line->len > 0;
        line->len += (size_t)n;
        line->data[line->len] = '\0';
    }
    return true;
}

/* Is it who gave us the name? Ourselves counts too: in a user namespace the uids are others. */
static bool is_of_work(int fd, const char *name)
{
    size_t prefix = strlen(TELL_NAME_PREFIX);
    struct ucred peer;
    socklen_t len = sizeof peer;
    char *end;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    if (peer.uid == geteuid())
        return true;
    if (strncmp(name, TELL_NAME_PREFIX, prefix) != 0)
        return false;
    unsigned long uid = strtoul(name + prefix, &end, 10);
    return end != name + prefix && *end == '-' && uid == peer.uid;
}

/* An open connection, or -1 with errno. */
static int dial(void)
{
    const char *name = getenv(TELL_ENV_SOCKET);
    struct sockaddr_un address;
    socklen_t len;
    const struct timeval patience = {.tv_sec = TELL_TIMEOUT_S};

    if (!name || !tell_address(name, &address, &len)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int why = EPERM;
    if (connect(fd, (const struct sockaddr *)&address, len) != 0)
        why = errno;
    else if (is_of_work(fd, name))
        return fd;
    close(fd);
    errno = why;
    return -1;
}

int tell_work(const struct buf *message, struct buf *reply)
{
    struct buf line CB_CLEANUP(buf_done) = BUF_INIT;
    char *text = NULL;
    int fd = dial();

    if (fd < 0) {
        buf_printf(reply, "cannot reach the `claudebench work` of this job: %s", strerror(errno));
        return EXITCODE_UNAVAILABLE;
    }
    /* An answer may have come before all was sent: what is too large is refused early. */
    bool is_sent = send_all(fd, message);
    bool is_answered = receive_all(fd, &line);
    close(fd);
    long code = is_answered ? strtol(line.data, &text, 10) : -1;
    if (!text || text == line.data || *text != ' ' || code < 0 || code > 255) {
        buf_printf(reply, "the `claudebench work` of this job gave no answer%s",
                   is_sent ? "; whether it took this is unknown" : "");
        return EXITCODE_UNAVAILABLE;
    }
    buf_append(reply, text + 1, strcspn(text + 1, "\n"));
    return (int)code;
}
