/*
 * control.c: see control.h.
 */
#include "common/compat.h"
#include "supervisor/control.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/config.h"
#include "supervisor/control_commands.h"
#include "supervisor/figures.h"
#include "supervisor/inherit.h"
#include "supervisor/jsonc.h"
#include "supervisor/peer.h"
#include "supervisor/pidfile.h"
#include "supervisor/setup.h"
#include "supervisor/supervisor.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
    CLIENTS_MAX = 32,
    LINE_MAX_BYTES = 4096,
    BACKLOG_MAX = 1 << 20, /* unread answers of one client */
    FIGURES_MS = 100,      /* a status does not wait longer for Redis */
    READ_SECONDS = 60,
    WRITE_SECONDS = 5,
    LOOK_SECONDS = 2,      /* whether the socket is where clients look for it */
    ACCEPT_PAUSE_MS = 500, /* after accept(2) has failed, for want of descriptors */
};

struct client {
    struct client *next;
    struct control *control;
    struct bufferevent *bev;
    json_object *due;        /* an answer that waits for the workers; requests behind it wait too */
    struct figures *awaited; /* what only Redis knows, and what is then made of it; the same */
    json_object *(*make)(struct supervisor *s);
    struct event *patience; /* until it is given all the same */
};

struct control {
    struct supervisor *supervisor;
    char *path;
    /* On <path>.lock: two daemons that start at once would take the socket from each other. */
    struct pidfile lock;
    int fd;
    struct event *acceptable;
    struct event *pause;
    struct event *look;
    struct stat place; /* what the path led to when it was made; st_ino 0: not known */
    struct log_repeat said;
    char problem[512]; /* why nobody can reach us; "" = nothing is wrong */
    struct client *first;
    unsigned len;
};

/* ---- answers ---- */

static void write_answer(struct client *c, json_object *o)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    size_t len = 0;
    const char *text = json_object_to_json_string_length(
        o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);

    evbuffer_add(out, text, len);
    evbuffer_add(out, "\n", 1);
    json_object_put(o);
}

static void answer_error(struct client *c, const char *text, int code)
{
    json_object *o = json_object_new_object();
    json_object_object_add(o, "error", json_object_new_string(text));
    json_object_object_add(o, "code", json_object_new_int(code));
    write_answer(c, o);
}

static bool is_waiting(const struct client *c)
{
    return c->due || c->awaited;
}

/* Who waits is not cut off for its silence. */
static void set_timeouts(struct client *c)
{
    struct timeval reading = {.tv_sec = READ_SECONDS};
    struct timeval writing = {.tv_sec = WRITE_SECONDS};

    bufferevent_set_timeouts(c->bev, is_waiting(c) ? NULL : &reading, &writing);
}

/* It has waited long enough: its answer, and then the requests behind it. */
static void go_on(struct client *c, json_object *o)
{
    evtimer_del(c->patience);
    write_answer(c, o);
    set_timeouts(c);
    bufferevent_trigger(c->bev, EV_READ, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}

static void answer_due(struct client *c, bool is_settled)
{
    json_object *o = c->due;

    c->due = NULL;
    json_object_object_add(o, "settled", json_object_new_boolean(is_settled));
    go_on(c, o);
}

static void answer_with_figures(struct client *c)
{
    c->awaited = NULL;
    go_on(c, c->make(c->control->supervisor));
}

static void on_patience_over(evutil_socket_t fd, short what, void *arg)
{
    struct client *c = arg;
    (void)fd, (void)what;

    if (c->awaited)
        answer_with_figures(c);
    else
        answer_due(c, false);
}

static void start_waiting(struct client *c, int64_t wait_ms)
{
    struct timeval tv = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};

    evtimer_add(c->patience, &tv);
    set_timeouts(c);
}

/* With what is known already when Redis is not there, or has been asked just now. */
static void answer_when_there(struct client *c, struct figures *figures,
                              json_object *(*make)(struct supervisor *s))
{
    if (!figures_ask(figures)) {
        write_answer(c, make(c->control->supervisor));
        return;
    }
    c->awaited = figures;
    c->make = make;
    start_waiting(c, FIGURES_MS);
}

static void answer_when_settled(struct client *c, json_object *o, int64_t wait_ms)
{
    c->due = o;
    start_waiting(c, wait_ms);
    services_settle_soon(&c->control->supervisor->services);
}

/* ---- requests ---- */

static void handle_request(struct client *c, json_object *request)
{
    struct supervisor *s = c->control->supervisor;
    struct control_answer answer = {0};

    control_command(s, request, &answer);
    if (answer.make)
        answer_when_there(c, answer.figures, answer.make);
    else if (!answer.json)
        answer_error(c, answer.error, answer.code);
    else if (answer.wait_ms > 0)
        answer_when_settled(c, answer.json, answer.wait_ms);
    else
        write_answer(c, answer.json);
    if (answer.after)
        answer.after(s);
}

static void handle_line(struct client *c, const char *line, size_t len)
{
    json_tokener *tok = json_tokener_new_ex(8);

    cb_assert(tok);
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
    json_object *o = json_tokener_parse_ex(tok, line, (int)len + 1); /* with its NUL: all of it */
    if (o && json_object_is_type(o, json_type_object))
        handle_request(c, o);
    else
        answer_error(c, "not a JSON object", EXITCODE_USAGE);
    json_object_put(o);
    json_tokener_free(tok);
}

/* ---- one client ---- */

static void client_free(struct client *c)
{
    struct client **at = &c->control->first;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->control->len--;
    bufferevent_free(c->bev);
    event_free(c->patience);
    json_object_put(c->due);
    free(c);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct client *c = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    size_t len = 0;
    char *line;

    while (!is_waiting(c) && (line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF))) {
        handle_line(c, line, len);
        free(line);
        if (evbuffer_get_length(bufferevent_get_output(bev)) > BACKLOG_MAX) {
            client_free(c);
            return;
        }
    }
    if (!is_waiting(c) && evbuffer_get_length(in) >= LINE_MAX_BYTES) {
        log_event(EV_control_client_error, LOG_S("problem", "line too long"));
        client_free(c);
    }
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev, (void)what; /* end of file, an error, or too slow: all the same to us */
    client_free(arg);
}

static void client_new(struct control *ctl, int fd)
{
    struct client *c = mem_alloc(sizeof *c);

    c->control = ctl;
    c->patience = evtimer_new(ctl->supervisor->base, on_patience_over, c);
    c->bev = bufferevent_socket_new(ctl->supervisor->base, fd, BEV_OPT_CLOSE_ON_FREE);
    cb_assert(c->bev && c->patience);
    c->next = ctl->first;
    ctl->first = c;
    ctl->len++;
    bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, LINE_MAX_BYTES);
    set_timeouts(c);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* ---- the listening socket ---- */

static void pause_accepting(struct control *ctl)
{
    struct timeval tv = {.tv_usec = ACCEPT_PAUSE_MS * 1000};

    event_del(ctl->acceptable);
    evtimer_add(ctl->pause, &tv);
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    struct control *ctl = arg;
    (void)fd, (void)what;
    event_add(ctl->acceptable, NULL);
}

/* With a word, so that the client can say more than that it was cut off. */
static void turn_away(int peer, const char *problem, int code, const char *text)
{
    char answer[80];
    snprintf(answer, sizeof answer, "{\"error\":\"%s\",\"code\":%d}\n", text, code);
    ssize_t ignored = send(peer, answer, strlen(answer), MSG_NOSIGNAL | MSG_DONTWAIT);

    (void)ignored;
    log_event(EV_control_client_error, LOG_S("problem", problem));
    close(peer);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    struct control *ctl = arg;
    /* cppcheck-suppress nullPointer ; who it is tells SO_PEERCRED */
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    (void)what;

    if (peer < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            pause_accepting(ctl);
        return;
    }
    if (!peer_is_allowed(peer))
        turn_away(peer, "peer is of another user and group", EXITCODE_NOPERM, "not permitted");
    else if (ctl->len >= CLIENTS_MAX)
        turn_away(peer, "too many clients", EXITCODE_TEMPFAIL, "too many clients");
    else
        client_new(ctl, peer);
}

static int in_use(const char *path, long pid, struct cb_error *err)
{
    if (pid > 0)
        return cb_error_set(err, EXITCODE_TEMPFAIL,
                            "supervisor.control_socket: %s is in use by another daemon, pid %ld",
                            path, pid);
    return cb_error_set(err, EXITCODE_TEMPFAIL,
                        "supervisor.control_socket: %s is in use by another daemon", path);
}

/* A socket file that somebody listens on is not ours to take, whatever pid file he has; one that nobody listens on
 * was left by a daemon that died. Anything else there is no socket of anybody's. */
static int make_way(const struct sockaddr_un *addr, struct cb_error *err)
{
    const char *path = addr->sun_path;
    struct stat st;

    if (lstat(path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return cb_error_set(err, EXITCODE_CONFIG, "%s: is there already, and is no socket", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return cb_error_set(err, EXITCODE_SOFTWARE, "socket: %s", strerror(errno));
    /* EAGAIN: somebody listens and has much to do. */
    bool is_in_use = connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 ||
                     errno == EAGAIN;
    long pid = is_in_use ? (long)peer_pid(fd) : 0;
    close(fd);
    if (!is_in_use) {
        unlink(path);
        return 0;
    }
    return in_use(path, pid, err);
}

static int bind_socket(const char *path, struct cb_error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = -1;

    if (strlen(path) >= sizeof addr.sun_path)
        return cb_error_set(err, EXITCODE_CONFIG, "%s: longer than %zu bytes", path,
                            sizeof addr.sun_path - 1);
    memcpy(addr.sun_path, path, strlen(path) + 1);
    if (make_way(&addr, err) < 0)
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return cb_error_set(err, EXITCODE_SOFTWARE, "socket: %s", strerror(errno));
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 || chmod(path, 0660) < 0 ||
        listen(fd, 64) < 0) {
        cb_error_set(err, EXITCODE_CONFIG, "%s: %s", path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static int lock_path(const char *path, struct pidfile *lock, struct cb_error *err)
{
    char *name CB_CLEANUP(mem_free_ptr) = mem_printf("%s.lock", path);

    if (pidfile_open(lock, name, err) == 0)
        return 0;
    return err->code == EXITCODE_TEMPFAIL ? in_use(path, (long)pidfile_holder(name), err) : -1;
}

static int listen_anew(const char *path, struct pidfile *lock, struct cb_error *err)
{
    if (lock_path(path, lock, err) < 0)
        return -1;
    int fd = bind_socket(path, err);
    if (fd < 0)
        pidfile_close(lock);
    return fd;
}

static int listen_on(const char *path, struct inherit *in, struct pidfile *lock)
{
    char *name CB_CLEANUP(mem_free_ptr) = mem_printf("%s.lock", path);

    pidfile_inherit(lock, name, inherit_take_fd(in, "control_lock"));
    return inherit_take_fd(in, "control");
}

static void listen_with(struct control *ctl, int fd)
{
    ctl->fd = fd;
    if (stat(ctl->path, &ctl->place) < 0)
        ctl->place = (struct stat){0};
    ctl->acceptable = event_new(ctl->supervisor->base, fd, EV_READ | EV_PERSIST, on_acceptable,
                                ctl);
    cb_assert(ctl->acceptable);
    event_add(ctl->acceptable, NULL);
}

/* ---- a socket that is gone ---- */

/* A user's runtime folder goes with his last session, and cleaners remove what they take for old: the daemon lives on, and
 * nobody can reach it. */
static bool is_at_its_place(const struct control *ctl)
{
    struct stat st;

    return stat(ctl->path, &st) == 0 && st.st_dev == ctl->place.st_dev &&
           st.st_ino == ctl->place.st_ino;
}

/* Whatever has our name by now is not ours to take, as at the start. Connections that there are go on. */
static int listen_again(struct control *ctl, struct cb_error *err)
{
    const struct supervisor *s = ctl->supervisor;
    struct pidfile lock = PIDFILE_INIT;
    struct stat st;
    int fd;

    if (lstat(ctl->path, &st) == 0)
        return cb_error_set(err, EXITCODE_CONFIG, "something else is there");
    if (setup_run_dirs(s->opts, s->config->is_system, err) < 0)
        return -1;
    bool has_lock = pidfile_is_there(&ctl->lock);
    fd = has_lock ? bind_socket(ctl->path, err) : listen_anew(ctl->path, &lock, err);
    if (fd < 0)
        return -1;
    if (!has_lock) {
        pidfile_close(&ctl->lock);
        ctl->lock = lock;
    }
    event_free(ctl->acceptable);
    evtimer_del(ctl->pause);
    close(ctl->fd);
    listen_with(ctl, fd);
    return 0;
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct control *ctl = arg;
    struct cb_error err = {0};
    unsigned times;
    (void)fd, (void)what;

    if (is_at_its_place(ctl)) {
        ctl->problem[0] = '\0';
    } else if (listen_again(ctl, &err) == 0) {
        log_event(EV_control_socket_renewed, LOG_S("path", ctl->path));
        log_repeat_over(&ctl->said);
        ctl->problem[0] = '\0';
    } else {
        snprintf(ctl->problem, sizeof ctl->problem, "%s: %s", ctl->path, err.text);
        if (log_repeat_may(&ctl->said, err.text, &times))
            log_event(EV_control_socket_gone, LOG_S("path", ctl->path), LOG_S("error", err.text),
                      LOG_I("times", times));
    }
}

static void start_looking(struct control *ctl)
{
    const struct timeval every = {.tv_sec = LOOK_SECONDS};

    ctl->look = event_new(ctl->supervisor->base, -1, EV_PERSIST, on_look, ctl);
    cb_assert(ctl->look);
    evtimer_add(ctl->look, &every);
}

const char *control_problem(const struct control *ctl)
{
    return ctl ? ctl->problem : "";
}

int control_open(struct supervisor *s, const char *path, struct inherit *in, struct control **ret,
                 struct cb_error *err)
{
    struct pidfile lock = PIDFILE_INIT;
    int fd = in ? listen_on(path, in, &lock) : listen_anew(path, &lock, err);

    if (fd < 0)
        return -1;
    struct control *ctl = mem_alloc(sizeof *ctl);
    ctl->supervisor = s;
    ctl->lock = lock;
    ctl->path = mem_strdup(path);
    listen_with(ctl, fd);
    ctl->pause = evtimer_new(s->base, on_pause_over, ctl);
    cb_assert(ctl->pause);
    start_looking(ctl);
    *ret = ctl;
    return 0;
}

/* What is still to be sent, as far as the socket takes it: the answer to `stop`. */
static void flush(struct client *c)
{
    char rest[LINE_MAX_BYTES];
    ev_ssize_t n = evbuffer_copyout(bufferevent_get_output(c->bev), rest, sizeof rest);

    if (n > 0) {
        ssize_t ignored = send(bufferevent_getfd(c->bev), rest, (size_t)n,
                               MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)ignored;
    }
}

int control_fd(const struct control *c)
{
    return c->fd;
}

int control_lock_fd(const struct control *c)
{
    return c->lock.fd;
}

void control_settled(struct control *ctl)
{
    for (struct client *c = ctl ? ctl->first : NULL; c; c = c->next)
        if (c->due)
            answer_due(c, true);
}

void control_figures_came(struct control *ctl, const struct figures *figures)
{
    for (struct client *c = ctl ? ctl->first : NULL; c; c = c->next)
        if (c->awaited == figures)
            answer_with_figures(c);
}

void control_free(struct control *ctl)
{
    if (!ctl)
        return;
    struct client *next;
    for (struct client *c = ctl->first; c; c = next) {
        next = c->next;
        flush(c);
        client_free(c);
    }
    event_free(ctl->acceptable);
    event_free(ctl->pause);
    event_free(ctl->look);
    unlink(ctl->path);
    close(ctl->fd);
    pidfile_close(&ctl->lock);
    free(ctl->path);
    free(ctl);
}
