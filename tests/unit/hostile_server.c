/*
 * hostile_server.c: see hostile_server.h. The socket listens before the child is born, so that a test
 * has nothing to wait for.
 */
#include "common/compat.h"
#include "hostile_server.h"

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

/* False when the client has gone. */
static bool send_all(int fd, const char *data, size_t len, const struct hostile_plan *plan)
{
    while (len > 0) {
        size_t bite = plan->chunk && plan->chunk < len ? plan->chunk : len;
        ssize_t n = send(fd, data, bite, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
        if (plan->pause_ms)
            poll(NULL, 0, plan->pause_ms);
    }
    return true;
}

/* Reads up to the letters GO. */
static bool await_go(int fd)
{
    char byte, last = '\0';
    while (recv(fd, &byte, 1, 0) == 1) {
        if (last == 'G' && byte == 'O')
            return true;
        last = byte;
    }
    return false;
}

/* What remains of the GO command, "\r\n", is answered with OK. */
static void echo(int fd)
{
    char bite[512];
    ssize_t n = recv(fd, bite, 2, MSG_WAITALL);
    if (n > 0)
        n = send(fd, "+OK\r\n", 5, MSG_NOSIGNAL);
    while (n > 0 && (n = recv(fd, bite, sizeof bite, 0)) > 0)
        for (ssize_t sent = 0; sent < n;) {
            ssize_t m = send(fd, bite + sent, (size_t)(n - sent), MSG_NOSIGNAL);
            if (m < 0)
                return;
            sent += m;
        }
}

static void await_hangup(int fd)
{
    char sink[4096];
    while (recv(fd, sink, sizeof sink, 0) > 0)
        ;
}

static void play(int fd, const struct hostile_plan *plan)
{
    const struct hostile_plan plain = {0};
    size_t len = plan->payload_len ? plan->payload_len : strlen(plan->payload ? plan->payload : "");
    if (!send_all(fd, plan->handshake, strlen(plan->handshake), &plain))
        return;
    if (plan->handshake[0] && !await_go(fd))
        return;
    if (plan->is_echo) {
        echo(fd);
        return;
    }
    do {
        if (!send_all(fd, plan->payload, len, plan))
            return;
    } while (plan->is_endless);
    if (!plan->is_closing)
        await_hangup(fd);
}

static CB_NORETURN void serve(int listen_fd, const struct hostile_plan *plan, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    for (int fd = STDERR_FILENO + 1; fd < 256; fd++)
        if (fd != listen_fd)
            close(fd); /* among them the pipes that keepers wait for */
    if (plan->is_deaf)
        for (;;)
            pause();
    for (;;) {
        int fd = accept(listen_fd, NULL, NULL);
        if (fd < 0)
            _exit(1);
        play(fd, plan);
        close(fd);
    }
}

void hostile_server_start(struct hostile_server *server, const struct hostile_plan *plan)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char url[112];
    struct cb_error err;
    fixture_folder_make(&server->folder);
    snprintf(un.sun_path, sizeof un.sun_path, "%s/hostile.sock", server->folder.path);
    snprintf(url, sizeof url, "unix://%s/hostile.sock", server->folder.path);
    ck_assert_int_eq(redis_target_parse(url, &server->target, &err), 0);
    server->target.timeout_ms = 2000;
    server->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server->listen_fd, (struct sockaddr *)&un, sizeof un), 0);
    ck_assert_int_eq(listen(server->listen_fd, plan->is_deaf ? 0 : 16), 0);
    pid_t parent = getpid();
    server->pid = fork();
    ck_assert_int_ge(server->pid, 0);
    if (server->pid == 0)
        serve(server->listen_fd, plan, parent);
}

void hostile_server_done(struct hostile_server *server)
{
    kill(server->pid, SIGKILL);
    while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(server->listen_fd);
    fixture_folder_remove(&server->folder);
    redis_target_done(&server->target);
}
