/*
 * log_syslog.c: see log_syslog.h. The form is that of RFC 3164, as the C library writes it to /dev/log: priority, local
 * time, name and pid. A receiver with a stream socket, which no current one has, gets its lines by syslog(3).
 */
#include "common/compat.h"
#include "common/log_syslog.h"

#include "common/clock.h"
#include "common/mem.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>

static int log_fd = -1;

static int connect_type(int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = _PATH_LOG};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

bool log_syslog_is_there(void)
{
    int fd = connect_type(SOCK_DGRAM);

    if (fd < 0 && errno == EPROTOTYPE)
        fd = connect_type(SOCK_STREAM);
    bool is_busy = fd < 0 && errno == EAGAIN;
    if (fd >= 0)
        close(fd);
    return fd >= 0 || is_busy;
}

/* "Nov  9 05:06:07": without the names of a locale. */
static void put_time(char *to, size_t size)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm = {0};

    localtime_r(&now, &tm);
    snprintf(to, size, "%s %2d %02d:%02d:%02d", months[tm.tm_mon % 12], tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec);
}

/* Whether the old connection is of no use: the receiver has ended. */
static bool is_gone(int error)
{
    return error == ECONNREFUSED || error == ENOTCONN || error == ECONNRESET || error == EPIPE;
}

bool log_syslog_send(int priority, const char *program, int pid, const char *text)
{
    char stamp[32];

    put_time(stamp, sizeof stamp);
    char *line = mem_printf("<%d>%s %s[%d]: %s", priority, stamp, program, pid, text);
    bool is_sent = false;
    for (int attempt = 0; attempt < 2 && !is_sent; attempt++) {
        if (log_fd < 0 && (log_fd = connect_type(SOCK_DGRAM)) < 0) {
            if ((is_sent = errno == EPROTOTYPE))
                syslog(priority, "%s", text);
            break;
        }
        is_sent = send(log_fd, line, strlen(line), MSG_NOSIGNAL) >= 0;
        if (is_sent || !is_gone(errno))
            break;
        log_syslog_close();
    }
    free(line);
    return is_sent;
}

void log_syslog_close(void)
{
    if (log_fd >= 0)
        close(log_fd);
    log_fd = -1;
}
