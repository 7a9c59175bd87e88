/*
 * redis_connect.c: see redis_connect.h.
 *
 * Names are looked up in a thread, which a dead name server may hold up while the supervisor goes on
 * reaping. A look-up that was not ready in time stays in a list of this process for whoever asks for
 * that host again; others, which may give us a new name each time, take the place of what nobody came
 * back for. The list belongs to the main thread; the result changes hands through a pipe.
 */
#include "common/compat.h"
#include "common/redis_connect.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/redis_link.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Together 9 s, whatever redis.timeout_ms is. */
enum { KEEPALIVE_IDLE_S = 3, KEEPALIVE_EVERY_S = 2, KEEPALIVE_TRIES = 3, UNACKED_MS = 9000 };
/* Who wants a result tries again within seconds. */
enum { LOOKUPS_MAX = 32, LOOKUP_KEEP_MS = 60000 };

/* A look-up under way: its result comes through the pipe. */
struct lookup {
    struct lookup *next;
    char *host;
    int port;
    int read_fd;
    int64_t asked_ms; /* monotonic, when somebody wanted it last */
};

/* What the thread is given, and what it writes into the pipe. */
struct lookup_job {
    char *host;
    int port;
    int write_fd;
};
struct lookup_result {
    int code; /* EAI_… */
    int error;
    struct addrinfo *list;
};

static struct lookup *lookups;

static const struct addrinfo tcp_hints = {
    .ai_family = AF_UNSPEC,
    .ai_socktype = SOCK_STREAM,
    .ai_flags = AI_NUMERICSERV,
};

static int resolve(const char *host, int port, int flags, struct addrinfo **ret_list)
{
    char service[12];
    struct addrinfo hints = tcp_hints;
    hints.ai_flags |= flags;
    snprintf(service, sizeof service, "%d", port);
    return getaddrinfo(host, service, &hints, ret_list);
}

static int resolve_failed(const char *host, int code, int error, struct cb_error *err)
{
    return cb_error_set(err, REDIS_LOST, "cannot resolve %s: %s", host,
                        code == EAI_SYSTEM ? strerror(error) : gai_strerror(code));
}

static void *lookup_run(void *arg)
{
    struct lookup_job *job = arg;
    struct lookup_result result = {0};
    result.code = resolve(job->host, job->port, AI_ADDRCONFIG, &result.list);
    result.error = errno;
    /* A pipe takes so few bytes at once, and this process keeps its other end open. */
    if (write(job->write_fd, &result, sizeof result) != sizeof result && result.code == 0)
        freeaddrinfo(result.list);
    close(job->write_fd);
    free(job->host);
    free(job);
    return NULL;
}

/* A detached thread that takes no signals: they belong to the program's own. Returns an errno. */
static int thread_start(struct lookup_job *job)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int code = pthread_create(&thread, &attr, lookup_run, job);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static struct lookup *lookup_find(const char *host, int port)
{
    for (struct lookup *l = lookups; l; l = l->next)
        if (strcmp(l->host, host) == 0 && l->port == port)
            return l;
    return NULL;
}

static void lookup_free(struct lookup *lookup)
{
    struct lookup **at = &lookups;
    while (*at != lookup)
        at = &(*at)->next;
    *at = lookup->next;
    close(lookup->read_fd);
    free(lookup->host);
    free(lookup);
}

/* Waits for the pipe; true when there is a result to read. */
static bool lookup_wait(const struct lookup *lookup, int patience_ms)
{
    int64_t deadline_ms = clock_mono_ms() + patience_ms;
    struct pollfd p = {.fd = lookup->read_fd, .events = POLLIN};
    for (;;) {
        int64_t left = deadline_ms - clock_mono_ms();
        int n = poll(&p, 1, left > 0 ? (int)left : 0);
        if (n > 0)
            return true;
        if (n == 0 || errno != EINTR || left <= 0)
            return false;
    }
}

/* The end of a look-up that is ready. */
static struct lookup_result lookup_take(struct lookup *lookup)
{
    struct lookup_result result = {0};
    if (read(lookup->read_fd, &result, sizeof result) != sizeof result)
        result = (struct lookup_result){.code = EAI_SYSTEM, .error = EIO};
    lookup_free(lookup);
    return result;
}

/* Forgets what is ready and was not asked for in so long. Returns how many are left. */
static size_t lookups_reap(int64_t idle_ms)
{
    int64_t before = clock_mono_ms() - idle_ms;
    size_t left = 0;
    for (struct lookup *l = lookups, *next; l; l = next) {
        next = l->next;
        if (l->asked_ms > before || !lookup_wait(l, 0)) {
            left++;
            continue;
        }
        struct lookup_result result = lookup_take(l);
        if (result.code == 0)
            freeaddrinfo(result.list);
    }
    return left;
}

/* NULL, with err, when there are too many, or the system gives no pipe or no thread. */
static struct lookup *lookup_start(const char *host, int port, struct cb_error *err)
{
    int ends[2];
    if (lookups_reap(LOOKUP_KEEP_MS) >= LOOKUPS_MAX && lookups_reap(0) >= LOOKUPS_MAX) {
        cb_error_set(err, REDIS_LOST,
                     "cannot resolve %s: %d look-ups of other names have no answer yet", host,
                     LOOKUPS_MAX);
        return NULL;
    }
    if (pipe2(ends, O_CLOEXEC) < 0) {
        resolve_failed(host, EAI_SYSTEM, errno, err);
        return NULL;
    }
    struct lookup_job *job = mem_alloc(sizeof *job);
    *job = (struct lookup_job){.host = mem_strdup(host), .port = port, .write_fd = ends[1]};
    int code = thread_start(job);
    if (code != 0) {
        close(ends[0]);
        close(ends[1]);
        free(job->host);
        free(job);
        resolve_failed(host, EAI_SYSTEM, code, err);
        return NULL;
    }
    struct lookup *l = mem_alloc(sizeof *l);
    *l = (struct lookup){
        .next = lookups, .host = mem_strdup(host), .port = port, .read_fd = ends[0]};
    lookups = l;
    return l;
}

static int resolve_name(const char *host, int port, int patience_ms, struct addrinfo **ret_list,
                        struct cb_error *err)
{
    struct lookup *l = lookup_find(host, port);
    if (!l)
        l = lookup_start(host, port, err);
    if (!l)
        return -1;
    l->asked_ms = clock_mono_ms();
    if (!lookup_wait(l, patience_ms))
        return cb_error_set(err, REDIS_LOST, "cannot resolve %s: no answer within %d ms", host,
                            patience_ms);
    struct lookup_result result = lookup_take(l);
    if (result.code != 0)
        return resolve_failed(host, result.code, result.error, err);
    *ret_list = result.list;
    return 0;
}

int redis_connect_resolve(const char *host, int port, int patience_ms, struct addrinfo **ret_list,
                          struct cb_error *err)
{
    int code = resolve(host, port, AI_NUMERICHOST, ret_list);
    if (code == 0)
        return 0;
    if (code != EAI_NONAME)
        return resolve_failed(host, code, errno, err);
    return resolve_name(host, port, patience_ms, ret_list, err);
}

static enum redis_connect connect_failed(int code, struct cb_error *err)
{
    cb_error_set(err, REDIS_LOST, "cannot connect: %s", strerror(code));
    return REDIS_CONNECT_FAILED;
}

static int open_socket(int family, int *ret_fd, struct cb_error *err)
{
    *ret_fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*ret_fd < 0)
        return cb_error_set(err, REDIS_LOST, "cannot create a socket: %s", strerror(errno));
    return 0;
}

/* A peer whose host has vanished sends nothing: without these a link would look alive for hours. */
static void set_tcp_options(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_TRIES},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(options); i++)
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

static void close_failed(enum redis_connect outcome, int *fd)
{
    if (outcome != REDIS_CONNECT_FAILED)
        return;
    close(*fd);
    *fd = -1;
}

enum redis_connect redis_connect_tcp(const struct addrinfo *address, int *ret_fd,
                                     struct cb_error *err)
{
    enum redis_connect outcome = REDIS_CONNECT_DONE;
    if (open_socket(address->ai_family, ret_fd, err) < 0)
        return REDIS_CONNECT_FAILED;
    set_tcp_options(*ret_fd);
    /* EINTR: the connection goes on in the background, as with EINPROGRESS. */
    if (connect(*ret_fd, address->ai_addr, address->ai_addrlen) < 0)
        outcome = errno == EINPROGRESS || errno == EINTR ? REDIS_CONNECT_PENDING
                                                         : connect_failed(errno, err);
    /* A refusal by this host is known already; then the next address can be tried at once. */
    struct pollfd p = {.fd = *ret_fd, .events = POLLOUT};
    if (outcome == REDIS_CONNECT_PENDING && poll(&p, 1, 0) == 1)
        outcome = redis_connect_result(*ret_fd, err);
    close_failed(outcome, ret_fd);
    return outcome;
}

enum redis_connect redis_connect_unix_again(int fd, const char *path, struct cb_error *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    if (connect(fd, (const struct sockaddr *)&un, sizeof un) == 0 || errno == EISCONN)
        return REDIS_CONNECT_DONE;
    if (errno == EAGAIN || errno == EINTR)
        return REDIS_CONNECT_RETRY;
    return connect_failed(errno, err);
}

enum redis_connect redis_connect_unix(const char *path, int *ret_fd, struct cb_error *err)
{
    if (open_socket(AF_UNIX, ret_fd, err) < 0)
        return REDIS_CONNECT_FAILED;
    enum redis_connect outcome = redis_connect_unix_again(*ret_fd, path, err);
    close_failed(outcome, ret_fd);
    return outcome;
}

enum redis_connect redis_connect_result(int fd, struct cb_error *err)
{
    int code = 0;
    socklen_t len = sizeof code;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
        code = errno;
    return code == 0 ? REDIS_CONNECT_DONE : connect_failed(code, err);
}
