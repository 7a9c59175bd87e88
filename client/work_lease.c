/*
 * work_lease.c: registration, beats and leases of `work` (see work.h).
 *
 * One beat renews the instance and all leases. It is sent every third of the shortest lease; what
 * was renewed counts from the moment the beat was sent, so that we never believe in a lease longer
 * than the server does.
 */
#include "common/compat.h"
#include "client/work.h"

#include "common/clock.h"
#include "common/exitcode.h"

enum { BEAT_MIN_MS = 50 };

static int64_t beat_every_ms(const struct work *w)
{
    int64_t lease = w->lease_ms ? w->lease_ms : w->s.opts->cluster.agent_lease_ms;

    for (unsigned i = 0; i < w->njobs; i++)
        if (w->jobs[i].state == JOB_RUNNING && w->jobs[i].lease_ms < lease)
            lease = w->jobs[i].lease_ms;
    return lease / 3 > BEAT_MIN_MS ? lease / 3 : BEAT_MIN_MS;
}

void lease_added(struct work *w, const struct job *job)
{
    int64_t soon = job->renewed_ms + job->lease_ms / 3;

    if (soon < w->next_beat_ms)
        w->next_beat_ms = soon;
}

/* ---- registration ---- */

void lease_register(struct work *w)
{
    struct buf params = BUF_INIT;

    buf_puts(&params, "{");
    json_put_text(&params, "id", w->id);
    json_put_key(&params, "roles");
    buf_append(&params, w->roles.data, w->roles.len);
    json_put_key(&params, "queues");
    buf_puts(&params, "[");
    json_put_cstr(&params, w->queue);
    buf_puts(&params, "]");
    json_put_int(&params, "capacity", w->njobs);
    if (w->lease_ms)
        json_put_int(&params, "lease_ms", w->lease_ms);
    /* At our start we replace an older process of our name; later an other one has replaced us. */
    json_put_key(&params, "takeover");
    buf_puts(&params, w->registration == 0 ? "true" : "false");
    json_put_key(&params, "metadata");
    buf_printf(&params, "{\"pid\":%d}}", (int)getpid());
    w->is_registering = true;
    work_submit(w, "system.register", &params, work_tag(w, TAG_REGISTER, NULL));
}

static void read_incarnation(struct work *w, struct json_span result)
{
    struct json_item item;
    struct buf text = BUF_INIT;

    if (json_find(result, "incarnation", &item) && item.type == JSON_STRING)
        json_decode_string(item.value, &text);
    snprintf(w->incarnation, sizeof w->incarnation, "%s", buf_peek(&text));
    buf_done(&text);
}

void lease_take_register(struct work *w, const struct requests_reply *reply)
{
    w->is_registering = false;
    if (reply->outcome == REQUESTS_RESULT) {
        read_incarnation(w, reply->result);
        w->registration++;
        w->is_registered = true;
        w->next_claim_ms = 0;
        w->next_beat_ms = clock_mono_ms() - reply->latency_us / 1000 + beat_every_ms(w);
        return;
    }
    if (w->registration > 0 && reply->outcome == REQUESTS_ERROR && reply->code == -32005) {
        lease_taken_over(w);
        return;
    }
    w->exit_code = session_report("system.register", reply);
    w->stop = STOP_NOW;
}

void lease_unregister(struct work *w)
{
    struct buf params = BUF_INIT;

    buf_puts(&params, "{");
    json_put_text(&params, "id", w->id);
    json_put_text(&params, "incarnation", w->incarnation);
    buf_puts(&params, "}");
    w->is_unregistering = true;
    work_submit(w, "system.unregister", &params, work_tag(w, TAG_UNREGISTER, NULL));
}

bool lease_is_stale_incarnation(const struct requests_reply *reply)
{
    struct json_item item;

    return reply->outcome == REQUESTS_ERROR && reply->code == -32005 && reply->data.len > 0 &&
           json_type_of(reply->data) == JSON_OBJECT && json_find(reply->data, "reason", &item) &&
           json_string_equals(item.value, "stale_incarnation");
}

static void end_jobs(struct work *w, enum job_fate fate)
{
    for (unsigned i = 0; i < w->njobs; i++)
        if (w->jobs[i].state == JOB_RUNNING)
            job_end(&w->jobs[i], fate, w->kill_after_ms);
}

void lease_taken_over(struct work *w)
{
    if (w->exit_code == EXITCODE_CONFLICT)
        return;
    work_say(w, "another process has registered as %s: leaving", w->id);
    w->exit_code = EXITCODE_CONFLICT;
    w->is_registered = false;
    w->is_unregistered = true; /* there is nothing of ours to give back */
    if (w->stop == STOP_NO)
        w->stop = STOP_DRAIN;
    w->give_up_ms = clock_mono_ms() + w->kill_after_ms + WORK_STOP_KILL_MS;
    end_jobs(w, FATE_LOST);
}

void lease_forgotten(struct work *w)
{
    w->is_registered = false;
    if (work_count(w, JOB_RUNNING) > 0)
        work_say(w, "%s was given up as lost; its running jobs end, and it registers again", w->id);
    end_jobs(w, FATE_LOST);
}

/* ---- beats ---- */

/* A job that is to be released keeps its lease until it has ended. */
static bool is_held(const struct job *job)
{
    return job->state == JOB_RUNNING && (job->fate == FATE_NONE || job->fate == FATE_RELEASED);
}

static void put_lease(struct buf *params, const struct job *job)
{
    buf_puts(params, "{");
    json_put_text(params, "id", job->id);
    json_put_text(params, "lease_token", job->token);
}

/* A beat renews by the task's own length; with --lease each job is renewed by that. */
static void send_renewals(struct work *w)
{
    for (unsigned i = 0; i < w->njobs; i++) {
        struct job *job = &w->jobs[i];
        struct buf params = BUF_INIT;
        if (!is_held(job) || job->is_renewing)
            continue;
        put_lease(&params, job);
        json_put_int(&params, "extend_ms", w->lease_ms);
        buf_puts(&params, "}");
        job->is_renewing = true;
        work_submit(w, "task.renew", &params, work_tag(w, TAG_RENEW, job));
    }
}

static void put_leases(const struct work *w, struct buf *params)
{
    for (unsigned i = 0; i < w->njobs && !w->lease_ms; i++) {
        if (!is_held(&w->jobs[i]))
            continue;
        json_put_comma(params);
        put_lease(params, &w->jobs[i]);
        buf_puts(params, "}");
    }
}

static void send_beat(struct work *w, int64_t now_ms)
{
    struct buf params = BUF_INIT;

    buf_puts(&params, "{");
    json_put_text(&params, "instanceId", w->id);
    json_put_text(&params, "incarnation", w->incarnation);
    json_put_key(&params, "health");
    buf_puts(&params, "\"healthy\"");
    json_put_key(&params, "load");
    buf_printf(&params, "%.3f", (double)work_count(w, JOB_RUNNING) / w->njobs);
    json_put_key(&params, "renew");
    buf_puts(&params, "[");
    put_leases(w, &params);
    buf_puts(&params, "]}");
    w->is_beating = true;
    w->beat_sent_ms = now_ms;
    work_submit(w, "system.heartbeat", &params, work_tag(w, TAG_BEAT, NULL));
    if (w->lease_ms)
        send_renewals(w);
}

/* The jobs that were running when the beat was sent hold their leases from then on. */
static void renewed(struct work *w)
{
    for (unsigned i = 0; i < w->njobs; i++) {
        struct job *job = &w->jobs[i];
        if (is_held(job) && job->renewed_ms < w->beat_sent_ms && job->started_ms <= w->beat_sent_ms)
            job->renewed_ms = w->beat_sent_ms;
    }
}

static void take_cancel(struct work *w, struct json_span cancel)
{
    struct json_item id, token, reason;

    if (!json_find(cancel, "id", &id) || !json_find(cancel, "lease_token", &token) ||
        !json_find(cancel, "reason", &reason))
        return;
    for (unsigned i = 0; i < w->njobs; i++) {
        struct job *job = &w->jobs[i];
        if (job->state == JOB_RUNNING && json_string_equals(id.value, job->id) &&
            json_string_equals(token.value, job->token))
            job_end(job, json_string_equals(reason.value, "cancelled") ? FATE_CANCELLED : FATE_LOST,
                    w->kill_after_ms);
    }
}

static bool is_alive(struct json_span result)
{
    struct json_item item;

    return json_find(result, "alive", &item) && item.type == JSON_BOOL && item.value.at[0] == 't';
}

void lease_take_beat(struct work *w, const struct requests_reply *reply)
{
    struct json_item list, item;
    struct json_iter it;

    w->is_beating = false;
    if (!w->is_registered || (reply->tag & 0xffffffff) != w->registration)
        return;
    if (lease_is_stale_incarnation(reply)) {
        lease_taken_over(w);
        return;
    }
    if (reply->outcome != REQUESTS_RESULT) {
        if (session_reply_exit(reply) != EXITCODE_TEMPFAIL)
            session_report("system.heartbeat", reply);
        w->next_beat_ms = clock_mono_ms() + BEAT_MIN_MS + beat_every_ms(w) / 4;
        return;
    }
    if (!is_alive(reply->result)) {
        lease_forgotten(w);
        return;
    }
    if (!w->lease_ms)
        renewed(w);
    if (json_find(reply->result, "cancel", &list) && list.type == JSON_ARRAY) {
        json_iter_init(&it, list.value);
        while (json_iter_next(&it, &item))
            take_cancel(w, item.value);
    }
}

void lease_take_renewal(struct work *w, struct job *job, const struct requests_reply *reply)
{
    struct json_item state;

    if (job->state != JOB_RUNNING || (uint8_t)job->serial != (uint8_t)(reply->tag >> 32))
        return; /* the job of the renewal is gone */
    job->is_renewing = false;
    if (reply->outcome == REQUESTS_RESULT) {
        job->renewed_ms = clock_mono_ms() - reply->latency_us / 1000 - 1;
        job->lease_ms = w->lease_ms;
    } else if (reply->code == -32005 || reply->code == -32004) {
        bool is_cancelled = reply->data.len > 0 && json_type_of(reply->data) == JSON_OBJECT &&
                            json_find(reply->data, "state", &state) &&
                            json_string_equals(state.value, "cancelled");
        job_end(job, is_cancelled ? FATE_CANCELLED : FATE_LOST, w->kill_after_ms);
    }
}

/* A job whose lease has run out without a renewal may run elsewhere by now. It is given back, in
 * case it does not. */
static void check_leases(struct work *w, int64_t now_ms)
{
    for (unsigned i = 0; i < w->njobs; i++) {
        struct job *job = &w->jobs[i];
        if (job->state != JOB_RUNNING || job->fate != FATE_NONE || job->pid == 0 ||
            now_ms - job->renewed_ms <= job->lease_ms)
            continue;
        work_say(w, "%s: no renewal for %" PRId64 " ms, its lease is over: ending it", job->id,
                 now_ms - job->renewed_ms);
        job_end(job, FATE_RELEASED, w->kill_after_ms);
    }
}

void lease_check(struct work *w, int64_t now_ms)
{
    check_leases(w, now_ms);
    if (!w->is_registered) {
        if (!w->is_registering && w->stop == STOP_NO)
            lease_register(w);
        return;
    }
    if (w->is_beating || now_ms < w->next_beat_ms || w->is_unregistering)
        return;
    send_beat(w, now_ms);
    w->next_beat_ms = now_ms + beat_every_ms(w);
}
