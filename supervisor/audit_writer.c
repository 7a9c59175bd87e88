/*
 * audit_writer.c: see audit_writer.h. The mutex guards `state`; the job belongs to the thread while that is WRITER_WORKING, else
 * to the event loop. A byte in the pipe says that it is done.
 */
#include "common/compat.h"
#include "supervisor/audit_writer.h"

#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

enum { STACK_BYTES = 1024 * 1024, LEAVE_S = 2 };

enum writer_state { WRITER_IDLE, WRITER_WORKING, WRITER_LEAVING };

struct audit_writer {
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    enum writer_state state;
    int pipe[2];
    struct event *done_event;
    audit_writer_fn *fn;
    void *arg;
    bool is_busy; /* the event loop's: until the callback */
    /* the job */
    struct audit_file file;
    struct buf lines;
    bool is_start;
    enum audit_fsync when;
    struct audit_done done;
};

/* ---- the thread ---- */

static void work(struct audit_writer *w)
{
    struct audit_done *d = &w->done;

    if (d->job == AUDIT_JOB_OPEN)
        d->status = audit_file_open(&w->file, &d->found, &d->err);
    else if (d->job == AUDIT_JOB_APPEND)
        d->status = audit_file_append(&w->file, &w->lines, w->is_start, w->when, &d->found,
                                      &d->err);
    else
        d->status = audit_file_sync(&w->file, &d->err);
    d->is_dirty = w->file.is_dirty;
    d->is_open = w->file.fd >= 0;
    buf_done(&w->lines);
}

static bool wait_for_job(struct audit_writer *w)
{
    pthread_mutex_lock(&w->mutex);
    while (w->state == WRITER_IDLE)
        pthread_cond_wait(&w->wake, &w->mutex);
    bool is_job = w->state == WRITER_WORKING;
    pthread_mutex_unlock(&w->mutex);
    return is_job;
}

static void say_done(struct audit_writer *w)
{
    pthread_mutex_lock(&w->mutex);
    if (w->state == WRITER_WORKING)
        w->state = WRITER_IDLE;
    pthread_mutex_unlock(&w->mutex);
    while (write(w->pipe[1], "", 1) < 0 && errno == EINTR)
        ;
}

static void *writer_main(void *arg)
{
    struct audit_writer *w = arg;

    while (wait_for_job(w)) {
        work(w);
        say_done(w);
    }
    return NULL;
}

/* Every signal is the event loop's. With the first job, and again with each one until the system has a thread for us. */
static int start_thread(struct audit_writer *w)
{
    sigset_t all, before;
    pthread_attr_t attr;

    if (w->has_thread)
        return 0;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&w->thread, &attr, writer_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    w->has_thread = code == 0;
    return code;
}

/* ---- the event loop ---- */

static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct audit_writer *w = arg;
    char byte;
    (void)what;

    if (read(fd, &byte, 1) != 1)
        return;
    struct audit_done done = w->done; /* the callback may begin the next one */
    w->is_busy = false;
    w->fn(w->arg, &done);
}

static void begin(struct audit_writer *w, enum audit_job job)
{
    cb_assert(!w->is_busy);
    w->is_busy = true;
    w->done = (struct audit_done){.job = job};
    int code = start_thread(w);
    if (code != 0) {
        w->done.status = cb_error_set(&w->done.err, code, "no thread for it: %s", strerror(code));
        buf_done(&w->lines);
        say_done(w);
        return;
    }
    pthread_mutex_lock(&w->mutex);
    w->state = WRITER_WORKING;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
}

bool audit_writer_is_busy(const struct audit_writer *w)
{
    return w->is_busy;
}

void audit_writer_open(struct audit_writer *w)
{
    begin(w, AUDIT_JOB_OPEN);
}

void audit_writer_append(struct audit_writer *w, struct buf *lines, bool is_start,
                         enum audit_fsync when)
{
    w->lines = *lines;
    *lines = (struct buf)BUF_INIT;
    w->is_start = is_start;
    w->when = when;
    begin(w, AUDIT_JOB_APPEND);
}

void audit_writer_sync(struct audit_writer *w)
{
    begin(w, AUDIT_JOB_SYNC);
}

struct audit_writer *audit_writer_new(struct event_base *base, const char *path,
                                      audit_writer_fn *fn, void *arg, struct cb_error *err)
{
    struct audit_writer *w = mem_alloc(sizeof *w);

    *w = (struct audit_writer){.fn = fn, .arg = arg, .lines = BUF_INIT};
    audit_file_init(&w->file, path);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->wake, NULL);
    if (pipe2(w->pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        cb_error_set(err, errno, "a pipe for the audit file: %s", strerror(errno));
        free(w);
        return NULL;
    }
    w->done_event = event_new(base, w->pipe[0], EV_READ | EV_PERSIST, on_done, w);
    cb_assert(w->done_event);
    event_add(w->done_event, NULL);
    return w;
}

/* A disk that hangs must not keep the supervisor from ending: its end is the thread's. */
void audit_writer_free(struct audit_writer *w)
{
    struct timespec until;

    if (!w)
        return;
    event_free(w->done_event);
    pthread_mutex_lock(&w->mutex);
    w->state = WRITER_LEAVING;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LEAVE_S;
    if (w->has_thread && pthread_timedjoin_np(w->thread, NULL, &until) != 0)
        return;
    audit_file_sync(&w->file, NULL);
    audit_file_close(&w->file);
    close(w->pipe[0]);
    close(w->pipe[1]);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->wake);
    buf_done(&w->lines);
    free(w);
}
