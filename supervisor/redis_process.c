/*
 * redis_process.c: see redis_process.h.
 *
 * redis-server writes its log to a file; only what it says before it has read its configuration, and the
 * cries of its run-time libraries, come through the pipe. Both ends of the pipe are non-blocking: a
 * supervisor that is stopped must not stop Redis.
 */
#include "common/compat.h"
#include "supervisor/redis_process.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/spawn.h"
#include "supervisor/redis_config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { LINE_MAX_BYTES = 400, LOCK_FD = 3 };

/* ---- find ---- */

int redis_process_find(char **ret, struct cb_error *err)
{
    *ret = spawn_find("redis-server");
    if (!*ret)
        *ret = spawn_find("valkey-server");
    if (*ret)
        return 0;
    return cb_error_set(err, EXITCODE_UNAVAILABLE,
                        "redis-server was not found in PATH: install it (Debian: apt install "
                        "redis-server), or set redis.embedded: false and redis.url");
}

/* ---- start ---- */

static int make_config(const struct redis_process_plan *plan, struct cb_error *err)
{
    CB_CLEANUP(buf_done) struct buf text = BUF_INIT;
    struct redis_config cfg = {.opts = plan->opts,
                               .socket = plan->dir->socket,
                               .daemon_hash = plan->dir->daemon_hash,
                               .client_hash = plan->dir->client_hash,
                               .backup_hash = plan->dir->backup_hash};
    int fd = memfd_create("redis-config", MFD_CLOEXEC);

    if (fd < 0)
        return cb_error_set(err, errno, "memfd_create: %s", strerror(errno));
    redis_config_put(&cfg, &text);
    if (write(fd, text.data, text.len) != (ssize_t)text.len || lseek(fd, 0, SEEK_SET) < 0) {
        cb_error_set(err, errno, "memfd: %s", strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static pid_t spawn(const struct redis_process_plan *plan, int config_fd, int output_fd,
                   struct cb_error *err)
{
    char *const argv[] = {(char *)"redis-server", (char *)"-", NULL};
    const struct spawn_fd fds[] = {{config_fd, STDIN_FILENO},
                                   {output_fd, STDOUT_FILENO},
                                   {output_fd, STDERR_FILENO},
                                   {plan->lock_fd, LOCK_FD}};
    struct spawn_plan s = {.path = plan->binary,
                           .argv = argv,
                           .fds = fds,
                           .nfds = CB_ARRAY_LEN(fds),
                           .cwd = plan->dir->path,
                           .new_group = true};
    return spawn_process(&s, err);
}

pid_t redis_process_start(const struct redis_process_plan *plan, int *ret_output,
                          struct cb_error *err)
{
    int output[2];
    int config_fd = make_config(plan, err);
    pid_t pid = -1;

    if (config_fd < 0)
        return -1;
    if (pipe2(output, O_CLOEXEC | O_NONBLOCK) < 0) {
        cb_error_set(err, errno, "pipe: %s", strerror(errno));
    } else {
        pid = spawn(plan, config_fd, output[1], err);
        close(output[1]);
        if (pid < 0)
            close(output[0]);
        else
            *ret_output = output[0];
    }
    close(config_fd);
    return pid;
}

/* ---- what it writes ---- */

struct redis_output {
    int fd;
    struct event *event;
    char line[LINE_MAX_BYTES];
    size_t len;
};

static void end_line(struct redis_output *o)
{
    if (o->len > 0)
        log_event(EV_redis_output, LOG_SN("line", o->line, o->len));
    o->len = 0;
}

static void add_bytes(struct redis_output *o, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n' || o->len == sizeof o->line)
            end_line(o);
        if (data[i] != '\n')
            o->line[o->len++] = data[i];
    }
}

/* False at the end of the file. */
static bool read_some(struct redis_output *o)
{
    char chunk[4096];
    ssize_t n = read(o->fd, chunk, sizeof chunk);

    if (n > 0)
        add_bytes(o, chunk, (size_t)n);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void on_output(evutil_socket_t fd, short what, void *arg)
{
    struct redis_output *o = arg;
    (void)fd, (void)what;

    if (!read_some(o)) {
        end_line(o);
        event_del(o->event);
    }
}

struct redis_output *redis_output_new(struct event_base *base, int fd)
{
    struct redis_output *o = mem_alloc(sizeof *o);

    o->fd = fd;
    o->event = event_new(base, fd, EV_READ | EV_PERSIST, on_output, o);
    cb_assert(o->event);
    event_add(o->event, NULL);
    return o;
}

void redis_output_drain(struct redis_output *o)
{
    if (!o)
        return;
    for (int i = 0; i < 16 && read_some(o); i++)
        ;
    end_line(o);
}

void redis_output_free(struct redis_output *o)
{
    if (!o)
        return;
    event_free(o->event);
    close(o->fd);
    free(o);
}
