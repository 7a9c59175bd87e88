/*
 * textfile.c: see textfile.h. A job has a thread of its own, which begins and ends with it; it touches nothing but the job, and a
 * byte in the pipe says that it is done.
 */
#include "common/compat.h"
#include "supervisor/textfile.h"

#include "common/exitcode.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/figures.h"
#include "supervisor/measure.h"
#include "supervisor/supervisor.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

enum {
    STACK_BYTES = 256 * 1024,
    LEAVE_S = 2,
    FILE_MODE = 0644,
    FIRST_MS = 1000 /* Redis is found by then */
};

struct textfile {
    struct supervisor *s;
    struct event *timer;
    struct event *done_event;
    int pipe[2];
    char *written;       /* where our file is; NULL: nowhere */
    bool awaits_figures; /* to write when they are there */
    struct log_repeat said;
    bool is_said; /* that it is written */
    /* the job */
    pthread_t thread;
    bool has_thread;
    char *path;
    char *temporary;
    char *text; /* NULL: the file is to be removed */
    size_t len;
    const char *failed; /* the call, NULL: none */
    int code;           /* its errno */
};

/* ---- the thread ---- */

static void fail(struct textfile *t, const char *what)
{
    t->code = errno;
    t->failed = what;
    unlink(t->temporary);
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* O_EXCL: in a folder that others may write to, nobody's link is followed. Not forced to disk: after a crash there are new figures. */
static void write_file(struct textfile *t)
{
    unlink(t->temporary); /* left by a program that was killed */
    int fd = open(t->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        t->code = errno;
        t->failed = "open";
        return;
    }
    if (fchmod(fd, FILE_MODE) < 0 || write_all(fd, t->text, t->len) < 0) {
        fail(t, "write");
        close(fd);
        return;
    }
    if (close(fd) < 0)
        fail(t, "close");
    else if (rename(t->temporary, t->path) < 0)
        fail(t, "rename");
}

static void *job_main(void *arg)
{
    struct textfile *t = arg;

    if (t->text)
        write_file(t);
    else
        unlink(t->path);
    while (write(t->pipe[1], "", 1) < 0 && errno == EINTR)
        ;
    return NULL;
}

/* ---- jobs ---- */

static void job_done(struct textfile *t)
{
    free(t->path);
    free(t->temporary);
    free(t->text);
    t->path = t->temporary = t->text = NULL;
}

/* Every signal is the event loop's. Takes the text over; NULL: removes the file. */
static int job_begin(struct textfile *t, const char *path, char *text, size_t len)
{
    sigset_t all, before;
    pthread_attr_t attr;

    t->path = mem_strdup(path);
    t->temporary = mem_printf("%s.tmp", path); /* the collector reads only what ends in .prom */
    t->text = text;
    t->len = len;
    t->failed = NULL;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&t->thread, &attr, job_main, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    t->has_thread = code == 0;
    if (code != 0)
        job_done(t);
    return code;
}

static void complain(struct textfile *t, const char *what, int code)
{
    char why[160];
    unsigned times;

    snprintf(why, sizeof why, "%s: %s", what, strerror(code));
    t->is_said = false;
    if (log_repeat_may(&t->said, why, &times))
        log_event(EV_textfile_failed, LOG_S("file", t->s->opts->metrics.textfile),
                  LOG_S("error", why), LOG_I("times", times));
}

static void wrote(struct textfile *t)
{
    free(t->written);
    t->written = mem_strdup(t->path);
    log_repeat_over(&t->said);
    if (!t->is_said)
        log_event(EV_textfile_written, LOG_S("file", t->path));
    t->is_said = true;
}

static void write_now(struct textfile *t)
{
    struct metrics all CB_CLEANUP(metrics_done) = METRICS_INIT;
    struct buf text = BUF_INIT;

    t->awaits_figures = false;
    if (t->has_thread) {
        complain(t, "the write before this one", ETIMEDOUT);
        return;
    }
    measure(t->s, &all);
    metrics_put_text(&all, &text);
    size_t len = text.len;
    int code = job_begin(t, t->s->opts->metrics.textfile, buf_take(&text), len);
    if (code != 0)
        complain(t, "no thread for it", code);
}

/* ---- events ---- */

static void arm(struct textfile *t, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    evtimer_add(t->timer, &tv);
}

/* A Redis that has not answered since the last time is waited for no longer. */
static void go(struct textfile *t)
{
    const char *path = t->s->opts->metrics.textfile;

    if (t->written && strcmp(t->written, path) != 0) {
        if (t->has_thread || job_begin(t, t->written, NULL, 0) != 0)
            return;
        free(t->written);
        t->written = NULL;
        t->is_said = false;
        return; /* on_done() goes on */
    }
    if (!path[0])
        return;
    if (!t->awaits_figures && figures_ask(t->s->metrics_figures))
        t->awaits_figures = true;
    else
        write_now(t);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct textfile *t = arg;
    (void)fd, (void)what;

    go(t);
    if (t->s->opts->metrics.textfile[0] || t->written)
        arm(t, t->s->opts->metrics.interval_ms);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct textfile *t = arg;
    char byte;
    (void)what;

    if (read(fd, &byte, 1) != 1)
        return;
    pthread_join(t->thread, NULL);
    t->has_thread = false;
    bool was_removal = !t->text;
    if (t->failed)
        complain(t, t->failed, t->code);
    else if (!was_removal)
        wrote(t);
    job_done(t);
    if (was_removal || (t->written && strcmp(t->written, t->s->opts->metrics.textfile) != 0))
        go(t);
}

/* ---- interface ---- */

void textfile_figures_came(struct textfile *t)
{
    if (t && t->awaits_figures)
        write_now(t);
}

void textfile_options_changed(struct textfile *t)
{
    evtimer_del(t->timer);
    event_active(t->timer, EV_TIMEOUT, 0);
}

struct textfile *textfile_new(struct supervisor *s, struct cb_error *err)
{
    struct textfile *t = mem_alloc(sizeof *t);

    *t = (struct textfile){.s = s, .pipe = {-1, -1}};
    if (pipe2(t->pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        cb_error_set(err, EXITCODE_SOFTWARE, "a pipe for metrics.textfile: %s", strerror(errno));
        free(t);
        return NULL;
    }
    t->timer = evtimer_new(s->base, on_timer, t);
    t->done_event = event_new(s->base, t->pipe[0], EV_READ | EV_PERSIST, on_done, t);
    cb_assert(t->timer && t->done_event);
    event_add(t->done_event, NULL);
    if (s->opts->metrics.textfile[0])
        arm(t, FIRST_MS);
    return t;
}

/* False when it hangs: then it is left behind, with all that is its own. */
static bool wait_for_thread(struct textfile *t)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LEAVE_S;
    if (t->has_thread && pthread_timedjoin_np(t->thread, NULL, &until) != 0)
        return false;
    if (t->has_thread && t->text && !t->failed) {
        free(t->written);
        t->written = mem_strdup(t->path);
    }
    t->has_thread = false;
    job_done(t);
    return true;
}

void textfile_free(struct textfile *t)
{
    if (!t)
        return;
    event_free(t->timer);
    event_free(t->done_event);
    if (!wait_for_thread(t))
        return;
    if (t->written && job_begin(t, t->written, NULL, 0) == 0 && !wait_for_thread(t))
        return;
    close(t->pipe[0]);
    close(t->pipe[1]);
    free(t->written);
    free(t);
}
