/*
 * upgrade.c: see upgrade.h. The new program is first run with -t, in a process of its own: one that does not start, does not
 * like the configuration, or does not understand what it would inherit is found out while we can still go on. Then it is
 * executed in this process. What it needs (inherit.h) is in a memfd, and the descriptors stay open; everything else is
 * close-on-exec and made anew.
 */
#include "common/compat.h"
#include "supervisor/upgrade.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/sdnotify.h"
#include "common/spawn.h"
#include "supervisor/config.h"
#include "supervisor/control.h"
#include "supervisor/daemonize.h"
#include "supervisor/inherit.h"
#include "supervisor/setup.h"
#include "supervisor/supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { CHECK_SECONDS = 10, ARGS_MAX = 10 };

static void failed(const char *why)
{
    log_event(EV_upgrade_failed, LOG_S("reason", why));
}

/* ---- the question ---- */

/* Our own command line, made from what counts now; `is_check` asks only. */
static void put_args(const struct upgrade *u, bool is_check, char *argv[ARGS_MAX])
{
    const struct config *c = u->supervisor->config;
    int n = 0;

    argv[n++] = u->program;
    if (is_check)
        argv[n++] = (char *)"-t";
    if (c->source.file) {
        argv[n++] = (char *)"-c";
        argv[n++] = c->source.file;
    }
    if (c->pidfile) {
        argv[n++] = (char *)"-p";
        argv[n++] = c->pidfile;
    }
    if (c->args->is_verbose)
        argv[n++] = (char *)"-v";
    if (c->args->is_daemon)
        argv[n++] = (char *)"-d";
    argv[n] = NULL;
}

static void forget_checker(struct upgrade *u)
{
    evtimer_del(u->timer);
    if (u->output_fd >= 0)
        close(u->output_fd);
    u->output_fd = -1;
    u->checker = 0;
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    const struct upgrade *u = arg;
    (void)fd, (void)what;

    kill(u->checker, SIGKILL); /* the reaper says the rest */
}

/* The checker is given it by -c, also when nobody gave that to us: it would name the wrong cause. */
static bool is_config_there(const struct upgrade *u)
{
    const char *file = u->supervisor->config->source.file;
    char *why CB_CLEANUP(mem_free_ptr) = NULL;

    if (!file || access(file, F_OK) == 0)
        return true;
    why = mem_printf("the configuration in force, %s, is not there any more: %s", file,
                     strerror(errno));
    failed(why);
    return false;
}

void upgrade_begin(struct upgrade *u)
{
    const struct timeval bound = {.tv_sec = CHECK_SECONDS};
    struct cb_error err = {0};
    char *argv[ARGS_MAX];

    if (u->checker > 0 || stop_is_stopping(&u->supervisor->stop) || !is_config_there(u))
        return;
    u->output_fd = memfd_create("upgrade-check", MFD_CLOEXEC);
    const struct spawn_fd fds[] = {{u->supervisor->null_fd, STDIN_FILENO},
                                   {u->output_fd, STDOUT_FILENO},
                                   {u->output_fd, STDERR_FILENO}};
    struct spawn_plan plan = {
        .path = u->program, .argv = argv, .fds = fds, .nfds = CB_ARRAY_LEN(fds)};
    put_args(u, true, argv);
    setenv(INHERIT_CHECK_ENV, inherit_versions(), 1);
    pid_t pid = u->output_fd < 0 ? -1 : spawn_process(&plan, &err);
    unsetenv(INHERIT_CHECK_ENV);
    if (pid < 0) {
        failed(err.text[0] ? err.text : strerror(errno));
        forget_checker(u);
        return;
    }
    u->checker = pid;
    evtimer_add(u->timer, &bound);
}

/* ---- what is handed on ---- */

static void put_int(json_object *o, const char *key, int64_t n)
{
    json_object_object_add(o, key, json_object_new_int64(n));
}

static json_object *worker_object(const struct child *c)
{
    json_object *o = json_object_new_object();

    json_object_object_add(o, "domain", json_object_new_string(c->domain));
    put_int(o, "slot", c->slot);
    put_int(o, "state", c->state);
    put_int(o, "pid", c->pid);
    put_int(o, "fd", c->fd);
    put_int(o, "generation", (int64_t)c->generation);
    put_int(o, "started_ms", c->started_ms);
    put_int(o, "ready_ms", c->ready_ms);
    put_int(o, "restarts", c->restarts);
    put_int(o, "retiring", c->is_retiring);
    return o;
}

static json_object *workers_array(const struct services *s)
{
    json_object *list = json_object_new_array();

    for (size_t i = 0; i < s->len; i++)
        for (size_t j = 0; j < s->items[i].len; j++)
            if (s->items[i].children[j]->pid > 0)
                json_object_array_add(list, worker_object(s->items[i].children[j]));
    return list;
}

static json_object *make_document(const struct upgrade *u)
{
    const struct supervisor *s = u->supervisor;
    json_object *doc = json_object_new_object();
    json_object *fds = json_object_new_object();

    put_int(fds, "pidfile", u->pidfile_fd);
    put_int(fds, "state", s->state_fd);
    put_int(fds, "scoreboard", s->scoreboard_fd);
    put_int(fds, "options", s->options_fd);
    put_int(fds, "control", control_fd(s->control));
    put_int(fds, "control_lock", control_lock_fd(s->control));
    json_object_object_add(doc, "fds", fds);
    json_object_object_add(doc, "workers", workers_array(&s->services));
    put_int(doc, "next_generation", (int64_t)s->services.env.next_generation);
    put_int(doc, "started_ms", s->started_ms);
    put_int(doc, "background", daemonize_is_on());
    json_object_object_add(doc, "version", json_object_new_string(PACKAGE_VERSION));
    if (instance_is_registered(s->instance))
        json_object_object_add(doc, "incarnation",
                               json_object_new_string(instance_incarnation(s->instance)));
    return doc;
}

/* Returns 0, or -1 when one of the descriptors is none. */
static int keep_open(json_object *doc, bool is_kept)
{
    json_object *fds = json_object_object_get(doc, "fds");
    json_object *workers = json_object_object_get(doc, "workers");
    struct json_object_iterator it = json_object_iter_begin(fds);
    struct json_object_iterator end = json_object_iter_end(fds);
    int flags = is_kept ? 0 : FD_CLOEXEC;
    int status = 0;

    for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it))
        if (fcntl(json_object_get_int(json_object_iter_peek_value(&it)), F_SETFD, flags) < 0)
            status = -1;
    for (size_t i = 0; i < json_object_array_length(workers); i++) {
        int fd = json_object_get_int(
            json_object_object_get(json_object_array_get_idx(workers, i), "fd"));
        if (fd >= 0 && fcntl(fd, F_SETFD, flags) < 0)
            status = -1;
    }
    return status;
}

/* ---- in our place ---- */

static int write_document(json_object *doc)
{
    size_t len = 0;
    const char *text = json_object_to_json_string_length(doc, JSON_C_TO_STRING_PLAIN, &len);
    int fd = memfd_create("claudebenchd-inherit", 0);

    if (fd >= 0 && write(fd, text, len) != (ssize_t)len) {
        close(fd);
        return -1;
    }
    return fd;
}

/* What the workers have read may lack the last changes that only concern us. */
static int renew_options(struct supervisor *s, struct cb_error *err)
{
    int fd = setup_options_fd(s->opts, err);

    if (fd < 0)
        return -1;
    close(s->options_fd);
    s->options_fd = s->services.env.options_fd = fd;
    return 0;
}

static void take_over(const struct upgrade *u)
{
    struct cb_error err = {0};
    char *argv[ARGS_MAX];
    char number[16];

    if (renew_options(u->supervisor, &err) < 0) {
        failed(err.text);
        return;
    }
    json_object *doc = make_document(u);
    int fd = write_document(doc);
    put_args(u, false, argv);
    snprintf(number, sizeof number, "%d", fd);
    setenv(INHERIT_ENV, number, 1);
    sdnotify_restore_env();
    log_event(EV_upgrade_started, LOG_S("program", u->program));
    if (fd >= 0 && keep_open(doc, true) == 0)
        execv(u->program, argv);
    failed(strerror(errno));
    if (fd >= 0)
        close(fd);
    keep_open(doc, false);
    json_object_put(doc);
    unsetenv(INHERIT_ENV);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
}

/* Its first line, for the log. */
static void read_answer(const struct upgrade *u, char *out, size_t size)
{
    ssize_t n = pread(u->output_fd, out, size - 1, 0);

    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

bool upgrade_reaped(struct upgrade *u, pid_t pid, int status)
{
    char answer[256];
    bool is_able = WIFEXITED(status) && WEXITSTATUS(status) == EXITCODE_OK;

    if (u->checker <= 0 || pid != u->checker)
        return false;
    read_answer(u, answer, sizeof answer);
    forget_checker(u);
    if (stop_is_stopping(&u->supervisor->stop))
        return true;
    if (is_able)
        take_over(u);
    else
        failed(answer[0] ? answer : "the new program does not run");
    return true;
}

/* ---- */

static char *own_program(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

    path[n > 0 ? n : 0] = '\0';
    return mem_strdup(path);
}

void upgrade_init(struct upgrade *u, struct supervisor *s, int pidfile_fd)
{
    *u = (struct upgrade){
        .supervisor = s, .program = own_program(), .pidfile_fd = pidfile_fd, .output_fd = -1};
    u->timer = evtimer_new(s->base, on_late, u);
    cb_assert(u->timer);
}

void upgrade_done(struct upgrade *u)
{
    if (!u->timer)
        return;
    if (u->checker > 0)
        kill(u->checker, SIGKILL);
    forget_checker(u);
    event_free(u->timer);
    free(u->program);
    *u = (struct upgrade){0};
}
