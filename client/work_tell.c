/*
 * work_tell.c: what jobs tell `work` about themselves (see work.h; the other side is tell.c): how far they are, and how they
 * end, whatever their exit status.
 *
 * An outcome that was told is kept with the job and told to the server when its process has ended, so that a job never runs
 * on without a lease. Of progress the newest counts: at most one is on its way, and not more than a few a second.
 */
#include "common/compat.h"
#include "client/work.h"

#include "client/tell.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/rnd.h"

#include <poll.h>

enum {
    TELL_WITHIN_MS = 3000,  /* for a whole message */
    TELL_EVERY_MS = 200,    /* between two of one task's progress */
    TELL_MORE_BYTES = 4096, /* of a message beside its largest member */
    NOTE_BYTES = 500,       /* limit of task.progress' note */
};

/* ---- the socket ---- */

void tell_open(struct work *w)
{
    struct sockaddr_un address;
    socklen_t len;
    char secret[17];

    for (size_t i = 0; i < CB_ARRAY_LEN(w->tells); i++)
        w->tells[i].fd = -1;
    rnd_token(secret, sizeof secret - 1);
    snprintf(w->tell_name, sizeof w->tell_name, TELL_NAME_PREFIX "%u-%d-%s", (unsigned)geteuid(),
             (int)getpid(), secret);
    w->tell_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (w->tell_fd >= 0 && tell_address(w->tell_name, &address, &len) &&
        bind(w->tell_fd, (const struct sockaddr *)&address, len) == 0 &&
        listen(w->tell_fd, WORK_TELLS_MAX) == 0)
        return;
    work_say(w, "no socket for the jobs (%s): they cannot tell their progress", strerror(errno));
    if (w->tell_fd >= 0)
        close(w->tell_fd);
    w->tell_fd = -1;
}

static void hang_up(struct tell *t)
{
    if (t->fd >= 0)
        close(t->fd);
    buf_done(&t->in);
    t->fd = -1;
}

void tell_close(struct work *w)
{
    for (size_t i = 0; w->tell_fd >= 0 && i < CB_ARRAY_LEN(w->tells); i++)
        hang_up(&w->tells[i]);
    if (w->tell_fd >= 0)
        close(w->tell_fd);
    w->tell_fd = -1;
}

/* ---- what is told ---- */

/* A text member of 1 to `most` bytes; the reader of a too long one learns the limit. NULL, or what is wrong. */
static const char *read_told(struct json_span message, const char *name, size_t most,
                             struct json_item *ret)
{
    static char why[80];
    size_t len = 0;

    if (json_find(message, name, ret) && ret->type == JSON_STRING)
        len = json_decoded_len(ret->value);
    if (len >= 1 && len <= most)
        return NULL;
    snprintf(why, sizeof why, "%s: a text of 1 to %zu bytes is wanted", name, most);
    return why;
}

static const char *tell_progress(struct job *job, struct json_span message)
{
    struct json_item percent, note;
    double value = -1;
    bool has_note = json_find(message, "note", &note);

    if (!json_find(message, "percent", &percent) || percent.type != JSON_NUMBER ||
        json_decode_double(percent.value, &value) != 0 || !(value >= 0 && value <= 100))
        return "the percentage is a number from 0 to 100";
    const char *why = has_note ? read_told(message, "note", NOTE_BYTES, &note) : NULL;
    if (why)
        return why;
    buf_reset(&job->progress);
    json_put_key(&job->progress, "percent");
    buf_append(&job->progress, percent.value.at, percent.value.len);
    if (has_note) {
        json_put_key(&job->progress, "note");
        buf_append(&job->progress, note.value.at, note.value.len);
    }
    return NULL;
}

static const char *tell_failure(struct job *job, struct json_span message)
{
    struct json_item error, retry;
    const char *why = read_told(message, "error", WORK_ERROR_BYTES, &error);

    if (why)
        return why;
    buf_reset(&job->told_text);
    json_decode_string(error.value, &job->told_text);
    job->is_final = json_find(message, "retry", &retry) && retry.type == JSON_BOOL &&
                    retry.value.at[0] == 'f';
    job->told = TOLD_FAILURE;
    return NULL;
}

static const char *tell_completion(struct job *job, struct json_span message)
{
    struct json_item result;

    buf_reset(&job->told_text);
    if (json_find(message, "result", &result))
        buf_append(&job->told_text, result.value.at, result.value.len);
    job->is_final = false;
    job->told = TOLD_COMPLETION;
    return NULL;
}

static const char *tell_release(struct job *job, struct json_span message)
{
    (void)message;
    job->is_final = false;
    job->told = TOLD_RELEASE;
    return NULL;
}

static const struct {
    const char *name;
    const char *(*take)(struct job *job, struct json_span message);
} verbs[] = {
    {"progress", tell_progress},
    {"fail", tell_failure},
    {"complete", tell_completion},
    {"release", tell_release},
};

/* ---- one message ---- */

static struct job *find_job(struct work *w, struct json_span message)
{
    struct json_item id, attempt;
    int64_t n;

    if (!json_find(message, "id", &id) || !json_find(message, "attempt", &attempt) ||
        json_decode_int(attempt.value, &n) != 0)
        return NULL;
    for (unsigned i = 0; i < w->njobs; i++)
        if (w->jobs[i].state == JOB_RUNNING && w->jobs[i].attempt == n &&
            json_string_equals(id.value, w->jobs[i].id))
            return &w->jobs[i];
    return NULL;
}

static void answer(struct tell *t, int code, const char *text)
{
    struct buf line CB_CLEANUP(buf_done) = BUF_INIT;

    buf_printf(&line, "%d %s\n", code, text);
    /* Short enough for any socket's buffer; who does not want it has gone. */
    ssize_t sent = send(t->fd, line.data, line.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent;
    hang_up(t);
}

static void take_message(struct work *w, struct tell *t)
{
    struct json_span message;
    struct json_item verb;
    enum json_type type;
    char result[96];
    size_t i = 0;

    if (json_check(t->in.data, t->in.len, &message, &type, NULL) != 0 || type != JSON_OBJECT ||
        !json_find(message, "do", &verb)) {
        answer(t, EXITCODE_DATAERR, "not a message");
        return;
    }
    while (i < CB_ARRAY_LEN(verbs) && !json_string_equals(verb.value, verbs[i].name))
        i++;
    struct job *job = find_job(w, message);
    if (i == CB_ARRAY_LEN(verbs)) {
        answer(t, EXITCODE_USAGE, "not known to this `claudebench work`");
    } else if (!job || job->fate == FATE_CANCELLED || job->fate == FATE_LOST) {
        answer(t, EXITCODE_CONFLICT,
               "this attempt is over: its task was cancelled or its lease lost");
    } else {
        const char *why = verbs[i].take(job, message);
        snprintf(result, sizeof result, "{\"id\":\"%s\",\"status\":\"in_progress\"}", job->id);
        answer(t, why ? EXITCODE_DATAERR : EXITCODE_OK, why ? why : i == 0 ? "{}" : result);
    }
}

/* ---- connections ---- */

static bool is_ours(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

static struct tell *free_tell(struct work *w)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(w->tells); i++)
        if (w->tells[i].fd < 0)
            return &w->tells[i];
    return NULL;
}

/* Not more at once than may wait: a stranger who calls without end (he can read the name in /proc/net/unix) keeps us from nothing. */
static void take_call(struct work *w)
{
    struct tell *t;
    int fd, left = WORK_TELLS_MAX;

    while (left-- > 0 && (t = free_tell(w))) {
        /* cppcheck-suppress nullPointer ; who it is tells SO_PEERCRED */
        fd = accept4(w->tell_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            break;
        if (!is_ours(fd)) {
            close(fd);
            continue;
        }
        *t = (struct tell){.fd = fd, .until_ms = clock_mono_ms() + TELL_WITHIN_MS};
    }
}

static void read_call(struct work *w, struct tell *t)
{
    size_t limit = (size_t)w->s.opts->limits.params_bytes + TELL_MORE_BYTES;

    while (t->fd >= 0) {
        ssize_t n = read(t->fd, buf_reserve(&t->in, 4096), 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            hang_up(t);
        } else if (n == 0) {
            take_message(w, t);
        } else {
            t->in.len += (size_t)n;
            if (t->in.len > limit)
                answer(t, EXITCODE_DATAERR, "too large");
        }
    }
}

size_t tell_poll(struct work *w, struct pollfd *fds)
{
    size_t n = 0;

    if (w->tell_fd < 0)
        return 0;
    for (size_t i = 0; i < CB_ARRAY_LEN(w->tells); i++)
        if (w->tells[i].fd >= 0)
            fds[n++] = (struct pollfd){.fd = w->tells[i].fd, .events = POLLIN};
    if (free_tell(w))
        fds[n++] = (struct pollfd){.fd = w->tell_fd, .events = POLLIN};
    return n;
}

void tell_read(struct work *w, const struct pollfd *fds, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; fds[k].revents && i < CB_ARRAY_LEN(w->tells); i++)
            if (w->tells[i].fd == fds[k].fd)
                read_call(w, &w->tells[i]);
    }
    if (n > 0 && fds[n - 1].fd == w->tell_fd && fds[n - 1].revents)
        take_call(w);
}

/* ---- time, and what goes on to the server ---- */

static void send_progress(struct work *w, struct job *job, int64_t now_ms)
{
    struct buf params = BUF_INIT;

    buf_puts(&params, "{");
    json_put_text(&params, "id", job->id);
    json_put_text(&params, "lease_token", job->token);
    buf_puts(&params, ",");
    buf_append(&params, job->progress.data, job->progress.len);
    buf_puts(&params, "}");
    buf_reset(&job->progress);
    job->is_telling = true;
    job->next_tell_ms = now_ms + TELL_EVERY_MS;
    work_submit(w, "task.progress", &params, work_tag(w, TAG_PROGRESS, job));
}

int64_t tell_check(struct work *w, int64_t now_ms)
{
    int64_t due = 0;

    for (size_t i = 0; w->tell_fd >= 0 && i < CB_ARRAY_LEN(w->tells); i++) {
        struct tell *t = &w->tells[i];
        if (t->fd >= 0 && now_ms >= t->until_ms)
            hang_up(t);
        if (t->fd >= 0 && (due == 0 || t->until_ms < due))
            due = t->until_ms;
    }
    for (unsigned i = 0; i < w->njobs; i++) {
        struct job *job = &w->jobs[i];
        if (job->state != JOB_RUNNING || job->progress.len == 0 || job->is_telling)
            continue;
        if (now_ms >= job->next_tell_ms)
            send_progress(w, job, now_ms);
        else if (due == 0 || job->next_tell_ms < due)
            due = job->next_tell_ms;
    }
    return due;
}

/* A refusal is not looked at: that the lease is lost, the next beat says. */
void tell_take_progress(struct job *job, const struct requests_reply *reply)
{
    if (job->state == JOB_RUNNING && (uint8_t)job->serial == (uint8_t)(reply->tag >> 32))
        job->is_telling = false;
}
