/*
 * sdnotify.c: see sdnotify.h. The protocol is one datagram a message to a unix socket, whose name may
 * begin with '@' (abstract).
 */
#include "common/compat.h"
#include "common/sdnotify.h"

#include <sys/socket.h>
#include <sys/un.h>

static int notify_fd = -1;
static int64_t watchdog_ms;
static char notify_path[sizeof((struct sockaddr_un *)0)->sun_path + 1];

/* WATCHDOG_PID, if set, says whom the watchdog means. */
static int64_t read_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");

    if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    return strtoll(usec, NULL, 10) / 2000;
}

static int connect_notify(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(path);

    if (len < 2 || len >= sizeof addr.sun_path || (path[0] != '/' && path[0] != '@'))
        return -1;
    memcpy(addr.sun_path, path, len);
    if (path[0] == '@')
        addr.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (connect(fd, (struct sockaddr *)&addr, size) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void sdnotify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET");

    sdnotify_done();
    if (path) {
        notify_fd = connect_notify(path);
        watchdog_ms = read_watchdog_ms();
        snprintf(notify_path, sizeof notify_path, "%s", path);
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void sdnotify_restore_env(void)
{
    char usec[24];

    if (notify_fd < 0)
        return;
    setenv("NOTIFY_SOCKET", notify_path, 1);
    snprintf(usec, sizeof usec, "%" PRId64, watchdog_ms * 2000);
    if (watchdog_ms > 0)
        setenv("WATCHDOG_USEC", usec, 1);
}

void sdnotify_done(void)
{
    if (notify_fd >= 0)
        close(notify_fd);
    notify_fd = -1;
    watchdog_ms = 0;
}

void sdnotify_send(const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (notify_fd < 0)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n <= 0)
        return;
    size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    ssize_t ignored = send(notify_fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
}

int64_t sdnotify_watchdog_ms(void)
{
    return watchdog_ms;
}
