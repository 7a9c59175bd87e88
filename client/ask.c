/*
 * ask.c: see ask.h.
 */
#include "common/compat.h"
#include "client/ask.h"

#include "common/clock.h"
#include "common/exitcode.h"
#include "common/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

enum { ANSWER_BYTES_MAX = 4 * 1024 * 1024, READ_CHUNK = 16384 };

/* ---- the configuration ---- */

int ask_load(struct ask *a, const struct cli *cli)
{
    struct options_source source CB_CLEANUP(options_source_done) = {0};
    struct cb_error err = {0};

    if (options_find_client_file(cli_value(cli, "config", NULL), &source, &err) == 0 &&
        options_load_leniently(&source, &a->opts) == 0)
        return -1;
    cli_say("%s", err.text[0] ? err.text : "the configuration cannot be read");
    return EXITCODE_CONFIG;
}

/* ---- the socket ---- */

/* A signal, be it only that we are to go on after a stop, ends a wait with a time-out: it begins anew then. */
static int connect_anyway(int fd, const struct sockaddr_un *address)
{
    int status;

    do
        status = connect(fd, (const struct sockaddr *)address, sizeof *address);
    while (status != 0 && errno == EINTR);
    return status;
}

/* Waits so long for a daemon that has many others to accept first; connect() that does not block (0) fails at once then. */
static int connect_control(const char *path, int64_t patience_ms)
{
    const struct timeval patience = {.tv_sec = patience_ms / 1000,
                                     .tv_usec = patience_ms % 1000 * 1000};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);

    if (len >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, len + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (patience_ms > 0 ? 0 : SOCK_NONBLOCK), 0);
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
                    connect_anyway(fd, &address) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)) {
        int saved = errno == EAGAIN ? ETIMEDOUT : errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* Waits for the fd until the deadline; false when the time is over. */
static bool wait_for(int fd, short events, int64_t until_ms)
{
    struct pollfd pfd = {.fd = fd, .events = events};

    for (;;) {
        int64_t left = until_ms - clock_mono_ms();
        if (left <= 0) {
            errno = ETIMEDOUT;
            return false;
        }
        int n = poll(&pfd, 1, (int)left);
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
    }
}

static int send_line(int fd, const char *line, int64_t until_ms)
{
    size_t len = strlen(line);

    while (len > 0) {
        ssize_t n = send(fd, line, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno != EAGAIN || !wait_for(fd, POLLOUT, until_ms)))
            return -1;
        if (n > 0) {
            line += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* One line, without its newline. */
static int read_line(int fd, struct buf *out, int64_t until_ms)
{
    for (;;) {
        ssize_t n = read(fd, buf_reserve(out, READ_CHUNK), READ_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno != EAGAIN || !wait_for(fd, POLLIN, until_ms)))
            return -1;
        if (n == 0) {
            errno = ECONNRESET;
            return -1;
        }
        size_t from = out->len;
        out->len += n > 0 ? (size_t)n : 0;
        out->data[out->len] = '\0';
        char *eol = n > 0 ? memchr(out->data + from, '\n', (size_t)n) : NULL;
        if (eol) {
            out->len = (size_t)(eol - out->data);
            return 0;
        }
        if (out->len > ANSWER_BYTES_MAX) {
            errno = EMSGSIZE;
            return -1;
        }
    }
}

/* errno stays. */
static void hang_up(struct ask *a)
{
    int saved = errno;

    if (a->is_asked)
        close(a->fd);
    a->is_asked = false;
    errno = saved;
}

/* ---- the answer ---- */

static int fail(struct cb_error *err, int code, const char *fmt, ...) CB_PRINTF(3, 4);
static int fail(struct cb_error *err, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err->code = code;
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return code;
}

static int not_permitted(const char *path, struct cb_error *err)
{
    return fail(err, EXITCODE_NOPERM,
                "%s: you may not ask this daemon: be root, its user, or in its group", path);
}

static bool read_word(const char *path, char *word, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = fd >= 0 ? read(fd, word, size - 1) : -1;

    if (fd >= 0)
        close(fd);
    if (n < 0)
        return false;
    word[n] = '\0';
    word[strcspn(word, "\n")] = '\0';
    return true;
}

/* The pid that the daemon's lock names, if that is one: to try the lock could be in the way of a daemon that starts. 0 when it may not
 * be read. */
static pid_t find_holder(const char *state_dir)
{
    char *lock CB_CLEANUP(mem_free_ptr) = mem_printf("%s/claudebenchd.lock", state_dir);
    char pid[24], name[32];

    if (!read_word(lock, pid, sizeof pid) || strspn(pid, "0123456789") != strlen(pid))
        return 0;
    char *comm CB_CLEANUP(mem_free_ptr) = mem_printf("/proc/%s/comm", pid);
    bool is_one = pid[0] && read_word(comm, name, sizeof name) && strcmp(name, "claudebenchd") == 0;
    return is_one ? (pid_t)strtol(pid, NULL, 10) : 0;
}

/* A daemon outlives its socket, which anybody with rights in its folder can remove; it is there a moment earlier, too. */
static int no_daemon(struct ask *a, const char *path, struct cb_error *err)
{
    a->is_absent = true;
    a->holder = find_holder(a->opts->supervisor.state_dir);
    if (a->holder == 0)
        return fail(err, EXITCODE_UNAVAILABLE, "%s: no daemon there; start claudebenchd", path);
    return fail(err, EXITCODE_UNAVAILABLE,
                "%s: claudebenchd runs, pid %ld, but nobody listens there: it has just started, or "
                "its socket was removed; then end it and start it again",
                path, (long)a->holder);
}

static int not_asked(struct ask *a, int error, struct cb_error *err)
{
    const char *path = a->opts->supervisor.control_socket;

    if (error == EACCES || error == EPERM)
        return not_permitted(path, err);
    if (error == ENOENT || error == ECONNREFUSED)
        return no_daemon(a, path, err);
    return fail(err, EXITCODE_UNAVAILABLE, "%s: %s", path, strerror(error));
}

bool ask_error(const struct ask *a, struct buf *out)
{
    struct json_item error;

    if (!json_find(a->json, "error", &error) || error.type != JSON_STRING)
        return false;
    json_decode_string(error.value, out);
    return true;
}

static int begin(struct ask *a, const char *line, int64_t patience_ms, int64_t timeout_ms,
                 struct cb_error *err)
{
    const char *path = a->opts->supervisor.control_socket;

    hang_up(a);
    buf_reset(&a->answer);
    a->is_absent = false;
    a->holder = 0;
    a->until_ms = clock_mono_ms() + timeout_ms;
    a->fd = connect_control(path, patience_ms);
    a->is_asked = a->fd >= 0;
    if (a->is_asked && (send_line(a->fd, line, a->until_ms) == 0 || errno == EPIPE ||
                        errno == ECONNRESET)) /* turned away: it says why */
        return -1;
    hang_up(a);
    return not_asked(a, errno, err);
}

/* An answer that is there. */
static int read_answer(struct ask *a, struct cb_error *err)
{
    struct buf why CB_CLEANUP(buf_done) = BUF_INIT;
    const char *path = a->opts->supervisor.control_socket;
    enum json_type type;

    if (json_check(a->answer.data, a->answer.len, &a->json, &type, NULL) != 0 ||
        type != JSON_OBJECT)
        return fail(err, EXITCODE_SOFTWARE, "%s: the daemon's answer is not JSON", path);
    if (!ask_error(a, &why))
        return -1;
    if (strcmp(buf_peek(&why), "not permitted") == 0)
        return not_permitted(path, err);
    if (strcmp(buf_peek(&why), "too many clients") != 0)
        return -1;
    return fail(err, EXITCODE_TEMPFAIL, "%s: the daemon refuses: %s", path, buf_peek(&why));
}

/* Reads until then at most. */
static int receive(struct ask *a, int64_t until_ms, struct cb_error *err)
{
    int status = read_line(a->fd, &a->answer, until_ms);

    if (status != 0 && errno == ETIMEDOUT && clock_mono_ms() < a->until_ms)
        return ASK_PENDING;
    hang_up(a);
    return status == 0 ? read_answer(a, err) : not_asked(a, errno, err);
}

int ask_begin(struct ask *a, const char *line, int64_t timeout_ms, struct cb_error *err)
{
    return begin(a, line, 0, timeout_ms, err);
}

int ask_look(struct ask *a, struct cb_error *err)
{
    return receive(a, 0, err);
}

int ask_daemon_quietly(struct ask *a, const char *line, int64_t timeout_ms, struct cb_error *err)
{
    int code = begin(a, line, timeout_ms, timeout_ms, err);

    return code < 0 ? receive(a, a->until_ms, err) : code;
}

int ask_daemon(struct ask *a, const char *line, int64_t timeout_ms)
{
    struct cb_error err = {0};
    int code = ask_daemon_quietly(a, line, timeout_ms, &err);

    if (code >= 0)
        cli_say("%s", err.text);
    return code;
}

void ask_done(struct ask *a)
{
    hang_up(a);
    options_free(a->opts);
    buf_done(&a->answer);
}
