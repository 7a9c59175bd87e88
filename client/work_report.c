/*
 * work_report.c: what `work` asks of the task domain, and what it makes of the answers (see
 * work.h).
 *
 * Requests have no deadline: the request client repeats them with the same idempotency key until
 * they are answered, so an outcome is told exactly once whatever breaks in between. What a lease
 * lost meanwhile is refused by its token.
 */
#include "common/compat.h"
#include "client/work.h"

#include "common/clock.h"
#include "common/exitcode.h"
#include "common/fault.h"
#include "common/rfc3339.h"

enum { RETRY_MS = 500, WAIT_MS = 30000, LEASE_MAX_MS = 86400000 };

/* ---- small parts ---- */

void work_say(struct work *w, const char *fmt, ...)
{
    struct buf text = BUF_INIT, line = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    term_put(&line, buf_peek(&text), text.len);
    buf_putc(&line, '\n');
    progress_clear(&w->progress);
    fwrite(line.data, 1, line.len, stderr);
    buf_done(&text);
    buf_done(&line);
}

unsigned work_count(const struct work *w, enum job_state state)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->njobs; i++)
        n += w->jobs[i].state == state;
    return n;
}

/* Slots that no job has and no claim on the way may fill. */
static unsigned free_slots(const struct work *w)
{
    unsigned n = work_count(w, JOB_FREE);
    return n > w->promised ? n - w->promised : 0;
}

uint64_t work_tag(const struct work *w, enum work_tag kind, const struct job *job)
{
    uint64_t tag = (uint64_t)kind << 56 | w->registration;

    return job ? tag | (uint64_t)job->index << 40 | (uint64_t)(uint8_t)job->serial << 32 : tag;
}

void work_submit(struct work *w, const char *method, struct buf *params, uint64_t tag)
{
    struct requests_call call = {
        .method = method,
        .params = buf_peek(params),
        .params_len = params->len,
        .tag = tag,
    };

    requests_client_submit(w->s.rc, &call);
    buf_done(params);
}

/* Members that task.claim and the `next` of task.complete have in common. */
static void put_claim(const struct work *w, struct buf *params, unsigned max)
{
    json_put_int(params, "maxTasks", max);
    json_put_text(params, "queue", w->queue);
    if (w->roles.len > 2) {
        json_put_key(params, "roles");
        buf_append(params, w->roles.data, w->roles.len);
    }
    json_put_text(params, "incarnation", w->incarnation);
    if (w->lease_ms)
        json_put_int(params, "lease_ms", w->lease_ms);
}

/* ---- asking for tasks ---- */

static bool wants_tasks(const struct work *w)
{
    return w->is_registered && w->stop == STOP_NO && !(w->is_once && w->started > 0);
}

void report_claim(struct work *w, int64_t now_ms)
{
    struct buf params = BUF_INIT;
    unsigned max = free_slots(w);

    if (!wants_tasks(w) || w->is_claiming || max == 0 || now_ms < w->next_claim_ms)
        return;
    buf_puts(&params, "{");
    json_put_text(&params, "workerId", w->id);
    put_claim(w, &params, w->is_once ? 1 : max);
    if (!w->is_drain)
        json_put_int(&params, "wait_ms", WAIT_MS);
    buf_puts(&params, "}");
    w->is_claiming = true;
    w->promised += max;
    work_submit(w, "task.claim", &params, work_tag(w, TAG_CLAIM, NULL));
}

/* ---- telling outcomes ---- */

static void report_release(struct work *w, struct job *job)
{
    struct buf params = BUF_INIT;

    buf_puts(&params, "{");
    json_put_text(&params, "id", job->id);
    json_put_text(&params, "lease_token", job->token);
    buf_puts(&params, "}");
    job->state = JOB_REPORTING;
    work_submit(w, "task.release", &params, work_tag(w, TAG_RELEASE, job));
}

static void report_failure(struct work *w, struct job *job)
{
    struct buf params = BUF_INIT, error = BUF_INIT;

    job_put_error(job, &error);
    buf_puts(&params, "{");
    json_put_text(&params, "id", job->id);
    json_put_text(&params, "lease_token", job->token);
    json_put_key(&params, "error");
    json_put_string(&params, error.data, error.len);
    job_put_crash(job, &params);
    json_put_key(&params, "retry");
    buf_puts(&params, job->is_final ? "false}" : "true}");
    job->state = JOB_REPORTING;
    work_submit(w, "task.fail", &params, work_tag(w, TAG_FAIL, job));
    buf_done(&error);
}

/* What the job told; else JSON on stdout goes as it is, anything else as a string; nothing is no result. */
static void put_result(const struct job *job, struct buf *params)
{
    struct json_span value;
    bool is_told = job->told == TOLD_COMPLETION && job->told_text.len > 0;

    if (job->out.len == 0 && !is_told)
        return;
    json_put_key(params, "result");
    if (is_told)
        buf_append(params, job->told_text.data, job->told_text.len);
    else if (json_check(job->out.data, job->out.len, &value, NULL, NULL) == 0)
        buf_append(params, value.at, value.len);
    else
        json_put_string(params, job->out.data, job->out.len);
}

static void put_next(struct work *w, struct job *job, struct buf *params)
{
    job->promised = 0;
    job->has_next = wants_tasks(w) && !w->is_once && !job->is_next_refused;
    if (!job->has_next)
        return;
    job->promised = free_slots(w);
    json_put_key(params, "next");
    buf_puts(params, "{");
    put_claim(w, params, 1 + job->promised);
    buf_puts(params, "}");
    w->promised += job->promised;
}

static void report_completion(struct work *w, struct job *job)
{
    struct buf params = BUF_INIT;
    size_t limit = (size_t)w->s.opts->limits.params_bytes;

    fault_point("work_job_ended");
    buf_puts(&params, "{");
    json_put_text(&params, "id", job->id);
    json_put_text(&params, "workerId", w->id);
    json_put_text(&params, "lease_token", job->token);
    put_result(job, &params);
    put_next(w, job, &params);
    buf_puts(&params, "}");
    if (params.len > limit) {
        w->promised -= job->promised;
        snprintf(job->why, sizeof job->why, "the result is too large: %zu bytes as JSON, limit %zu",
                 params.len, limit);
        job->is_final = true;
        buf_done(&params);
        report_failure(w, job);
        return;
    }
    job->state = JOB_REPORTING;
    work_submit(w, "task.complete", &params, work_tag(w, TAG_COMPLETE, job));
}

static const char *took(const struct job *job, char out[32])
{
    snprintf(out, 32, "%.2f s", (double)(clock_mono_ms() - job->started_ms) / 1000.0);
    return out;
}

void report_job(struct work *w, struct job *job)
{
    char time[32];

    if (job->fate == FATE_CANCELLED || job->fate == FATE_LOST) {
        work_say(w, "%s dropped: %s (attempt %" PRId64 ", %s)", job->id,
                 job->fate == FATE_CANCELLED ? "it was cancelled" : "its lease was lost",
                 job->attempt, took(job, time));
        w->dropped++;
        job_clear(job);
    } else if (job->fate == FATE_RELEASED) {
        report_release(w, job);
    } else if (job->told == TOLD_RELEASE) {
        /* Else it might have the same task again at once, and so on. */
        w->next_claim_ms = clock_mono_ms() + backoff_next_full_jitter(&w->release_backoff);
        report_release(w, job);
    } else if (job->told == TOLD_FAILURE) {
        report_failure(w, job);
    } else if (job->is_out_too_large && job->told_text.len == 0) {
        snprintf(job->why, sizeof job->why,
                 "the result is too large: more than 262144 bytes on stdout");
        job->is_final = true;
        report_failure(w, job);
    } else if (job->why[0] || (job->status != 0 && job->told == TOLD_NOTHING)) {
        report_failure(w, job);
    } else {
        report_completion(w, job);
    }
}

/* ---- tasks that come ---- */

static struct job *free_job(struct work *w)
{
    for (unsigned i = 0; i < w->njobs; i++)
        if (w->jobs[i].state == JOB_FREE)
            return &w->jobs[i];
    return NULL;
}

/* False when there is no such text, or none of that size. */
static bool read_text(struct json_span object, const char *name, char *out, size_t size)
{
    struct json_item item;
    struct buf text = BUF_INIT;

    if (json_find(object, name, &item))
        json_decode_string(item.value, &text);
    bool is_whole = text.len > 0 && text.len < size && strlen(text.data) == text.len;
    snprintf(out, size, "%s", buf_peek(&text));
    buf_done(&text);
    return is_whole;
}

static int64_t read_time(struct json_span object, const char *name)
{
    char text[40];
    int64_t ms;

    read_text(object, name, text, sizeof text);
    return rfc3339_parse(text, strlen(text), &ms) == 0 ? ms : 0;
}

/* How long the lease holds: both times are the server's. No lease is longer than a day, so what says more is not believed: else
 * it would not be renewed. */
static int64_t read_lease(const struct work *w, struct json_span task)
{
    int64_t lease = read_time(task, "lease_until") - read_time(task, "updatedAt");

    return lease > 0 && lease <= LEASE_MAX_MS ? lease : w->s.opts->task.lease_ms;
}

/* Returns false when it is no task that could be reported on. */
static bool take_task(struct work *w, struct json_span task, int64_t sent_ms)
{
    struct job *job = free_job(w);
    struct json_item item;

    fault_point("work_claimed");
    cb_assert(job != NULL);
    if (!read_text(task, "id", job->id, sizeof job->id) ||
        !read_text(task, "lease_token", job->token, sizeof job->token))
        return false;
    read_text(task, "queue", job->queue, sizeof job->queue);
    if (!json_find(task, "attempt", &item) || json_decode_int(item.value, &job->attempt) != 0)
        job->attempt = 1;
    job->serial = ++w->claims;
    job->lease_ms = read_lease(w, task);
    job->renewed_ms = sent_ms;
    if (w->stop != STOP_NO) {
        job->started_ms = clock_mono_ms();
        report_release(w, job);
        return true;
    }
    lease_added(w, job);
    job_start(w, job, task);
    return true;
}

/* Starts what was claimed; returns how many tasks there were. */
static unsigned take_tasks(struct work *w, struct json_span result, int64_t sent_ms)
{
    struct json_item tasks, task;
    struct json_iter it;
    unsigned n = 0;

    if (!json_find(result, "tasks", &tasks) || tasks.type != JSON_ARRAY)
        return 0;
    json_iter_init(&it, tasks.value);
    while (json_iter_next(&it, &task) && free_job(w)) {
        n += take_task(w, task.value, sent_ms);
    }
    return n;
}

/* ---- replies ---- */

void report_claim_later(struct work *w)
{
    w->next_claim_ms = clock_mono_ms() + backoff_next_full_jitter(&w->claim_backoff);
}

static bool is_present(const struct work *w, const struct requests_reply *reply)
{
    return (reply->tag & 0xffffffff) == w->registration && w->is_registered;
}

/* Nothing to run, nothing running: --drain has done its work. */
static void queue_is_empty(struct work *w)
{
    if (w->is_drain && w->stop == STOP_NO && work_count(w, JOB_FREE) == w->njobs)
        w->stop = STOP_DRAIN;
}

/* The caller is not, or no more, the instance that it says. */
static bool is_registration_refused(const struct requests_reply *reply)
{
    return lease_is_stale_incarnation(reply) ||
           (reply->outcome == REQUESTS_ERROR && reply->code == -32004);
}

static void take_claim(struct work *w, const struct requests_reply *reply, int64_t sent_ms)
{
    w->is_claiming = false;
    w->promised = 0;
    for (unsigned i = 0; i < w->njobs; i++) /* what completions on the way ask for stays promised */
        w->promised += w->jobs[i].state == JOB_REPORTING ? w->jobs[i].promised : 0;
    if (reply->outcome != REQUESTS_RESULT) {
        report_claim_later(w);
        if (!is_present(w, reply))
            return;
        if (lease_is_stale_incarnation(reply))
            lease_taken_over(w);
        else if (is_registration_refused(reply))
            lease_forgotten(w);
        else if (session_reply_exit(reply) != EXITCODE_TEMPFAIL)
            session_report("task.claim", reply);
        return;
    }
    if (take_tasks(w, reply->result, sent_ms) > 0) {
        backoff_reset(&w->claim_backoff);
        w->next_claim_ms = 0;
    } else {
        if (reply->latency_us / 1000 < WAIT_MS / 2) /* it has not waited: not at once again */
            report_claim_later(w);
        queue_is_empty(w);
    }
}

/* A refusal that says nothing about the job's own outcome: told again later. */
static bool tries_again(struct job *job, enum work_tag kind, const struct requests_reply *reply)
{
    if (reply->outcome != REQUESTS_ERROR || session_exit_code(reply->code) != EXITCODE_TEMPFAIL)
        return false;
    int64_t wait = reply->retry_after_ms > RETRY_MS ? reply->retry_after_ms : RETRY_MS;
    job->retry_ms = clock_mono_ms() + wait;
    job->retry_kind = kind;
    return true;
}

int64_t report_again(struct work *w, struct job *job, int64_t now_ms)
{
    if (job->retry_ms == 0 || now_ms < job->retry_ms)
        return job->retry_ms;
    job->retry_ms = 0;
    if (job->retry_kind == TAG_COMPLETE)
        report_completion(w, job);
    else if (job->retry_kind == TAG_FAIL)
        report_failure(w, job);
    else
        report_release(w, job);
    return 0;
}

static void say_refused(struct work *w, const struct job *job, const char *what,
                        const struct requests_reply *reply)
{
    bool is_stale = reply->outcome == REQUESTS_ERROR &&
                    (reply->code == -32005 || reply->code == -32004);

    w->dropped++;
    work_say(w, "%s dropped: %s%s%s (attempt %" PRId64 ")", job->id,
             is_stale ? "its lease had been lost before it was " : "could not be ", what,
             is_stale ? "" : reply->message, job->attempt);
}

static void take_completion(struct work *w, struct job *job, const struct requests_reply *reply,
                            int64_t sent_ms)
{
    char time[32];
    unsigned promised = job->promised;

    job->promised = 0;
    w->promised -= promised < w->promised ? promised : w->promised;
    fault_point("work_completed");
    if (tries_again(job, TAG_COMPLETE, reply))
        return;
    if (job->has_next && is_registration_refused(reply)) {
        job->is_next_refused = true; /* the outcome itself depends on the lease alone */
        report_completion(w, job);
        return;
    }
    if (reply->outcome == REQUESTS_ERROR && reply->code == -32602) {
        snprintf(job->why, sizeof job->why, "the result was refused: %.90s", reply->message);
        job->is_final = true;
        report_failure(w, job);
        return;
    }
    if (reply->outcome == REQUESTS_RESULT) {
        backoff_reset(&w->release_backoff);
        w->completed++;
        work_say(w, "%s completed (attempt %" PRId64 ", %s)", job->id, job->attempt,
                 took(job, time));
    } else {
        say_refused(w, job, "completed", reply);
    }
    job_clear(job);
    if (reply->outcome != REQUESTS_RESULT)
        return;
    if (take_tasks(w, reply->result, sent_ms) > 0)
        backoff_reset(&w->claim_backoff);
    else if (!w->is_claiming)
        report_claim_later(w);
}

static void take_failure(struct work *w, struct job *job, const struct requests_reply *reply)
{
    struct buf error CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item item;
    char time[32];

    if (tries_again(job, TAG_FAIL, reply))
        return;
    backoff_reset(&w->release_backoff);
    if (reply->outcome == REQUESTS_RESULT) {
        bool is_dead = json_find(reply->result, "dead", &item) && item.value.at[0] == 't';
        job_put_error(job, &error);
        w->failed++;
        work_say(w, "%s failed%s (attempt %" PRId64 ", %s): %s", job->id,
                 is_dead ? " for good" : "", job->attempt, took(job, time), buf_peek(&error));
    } else {
        say_refused(w, job, "failed", reply);
    }
    job_clear(job);
}

static void take_release(struct work *w, struct job *job, const struct requests_reply *reply)
{
    if (tries_again(job, TAG_RELEASE, reply))
        return;
    if (reply->outcome == REQUESTS_RESULT) {
        w->released++;
        work_say(w, "%s released (attempt %" PRId64 " is not charged)", job->id, job->attempt);
    } else {
        say_refused(w, job, "released", reply);
    }
    job_clear(job);
}

void report_take(struct work *w, const struct requests_reply *reply)
{
    struct job *job = &w->jobs[(reply->tag >> 40 & 0xffff) % w->njobs];
    int64_t sent_ms = clock_mono_ms() - reply->latency_us / 1000 - 1;

    switch ((enum work_tag)(reply->tag >> 56)) {
    case TAG_REGISTER:
        lease_take_register(w, reply);
        break;
    case TAG_CLAIM:
        take_claim(w, reply, sent_ms);
        break;
    case TAG_COMPLETE:
        take_completion(w, job, reply, sent_ms);
        break;
    case TAG_FAIL:
        take_failure(w, job, reply);
        break;
    case TAG_RELEASE:
        take_release(w, job, reply);
        break;
    case TAG_BEAT:
        lease_take_beat(w, reply);
        break;
    case TAG_RENEW:
        lease_take_renewal(w, job, reply);
        break;
    case TAG_PROGRESS:
        tell_take_progress(job, reply);
        break;
    case TAG_UNREGISTER:
        w->is_unregistered = true;
        break;
    }
}
