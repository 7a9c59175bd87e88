/*
 * requests_client_wait.c: claims that wait for tasks on the other side (see requests_client_int.h).
 *
 * A worker that finds no task for a task.claim with wait_ms parks it: there is no answer until a task comes, which wakes
 * it, or until its time is over. A wake is repeated as the same request under the same idempotency key: nothing was kept
 * of its first coming, so it claims now, and whatever breaks then is repaired as with any other request. What is left of
 * its time goes with it as ttl_ms, so that it does not wait longer in all than it was meant to. Who is woken for nothing all the time is
 * not to ask all the time: there is a pause between two repeats.
 */
#include "common/compat.h"
#include "common/requests_client_int.h"

#include "common/clock.h"
#include "common/methods.h"

#include <utlist.h>

enum {
    TTL_MIN_MS = 1000, /* time for a worker to look once more */
    LATE_MS = 5000,    /* an answer that is later than this is lost (Redis was emptied, …) */
    LATE_MAX_MS = 60000,
    PARKED_MS = 250, /* a worker has seen the claim by then */
    WAKE_MS = 20,    /* at least, from one repeat for a wake to the next */
};

void wait_read(struct request *rq)
{
    struct json_span params;
    enum json_type type;
    struct json_item item;
    int64_t ms;

    if (strcmp(rq->method, methods[METHOD_task_claim].name) != 0 ||
        json_check(rq->params, rq->params_len, &params, &type, NULL) != 0 || type != JSON_OBJECT ||
        !json_find(params, "wait_ms", &item) || json_decode_int(item.value, &ms) != 0 || ms <= 0 ||
        ms > INT32_MAX)
        return;
    rq->is_waiting = true;
    rq->wait_until_ms = clock_mono_ms() + ms;
    rq->resend_gap_ms = LATE_MS;
    rq->resend_ms = rq->wait_until_ms + LATE_MS;
}

const char *wait_ttl(const struct request *rq, char out[24])
{
    int64_t left = rq->wait_until_ms - clock_mono_ms();

    if (!rq->is_waiting || !rq->is_sent)
        return rq->ttl;
    if (left < TTL_MIN_MS)
        left = TTL_MIN_MS;
    if (rq->ttl[0] && strtoll(rq->ttl, NULL, 10) < left)
        return rq->ttl;
    snprintf(out, 24, "%" PRId64, left);
    return out;
}

int64_t wait_check(struct requests_client *rc, int64_t now_ms)
{
    struct request *rq;
    int64_t due = 0;

    for (rq = rc->open; rq; rq = rq->next) {
        if (!rq->is_waiting || !rq->is_queued || rq->is_held)
            continue;
        int64_t late_ms = rq->wait_until_ms + LATE_MS;
        if (now_ms >= rq->resend_ms && now_ms < late_ms) { /* woken, and put off */
            rq->is_queued = false;
            rq->resend_ms = late_ms;
        } else if (now_ms >= rq->resend_ms) {
            rq->is_queued = false;
            rq->resend_ms = now_ms + rq->resend_gap_ms;
            rq->resend_gap_ms = rq->resend_gap_ms * 2 < LATE_MAX_MS ? rq->resend_gap_ms * 2
                                                                    : LATE_MAX_MS;
        }
        if (due == 0 || rq->resend_ms < due)
            due = rq->resend_ms;
    }
    return due;
}

bool wait_is_woken(struct request *rq, struct json_span result)
{
    struct json_item item;

    if (!rq->is_waiting || rq->is_wait_over || json_type_of(result) != JSON_OBJECT ||
        !json_find(result, "wake", &item) || item.value.at[0] != 't')
        return false;
    int64_t now = clock_mono_ms();
    if (now < rq->repeated_ms) /* it is put off already */
        return true;
    bool is_soon = rq->repeated_ms && now < rq->repeated_ms + WAKE_MS;
    rq->repeated_ms = is_soon ? rq->repeated_ms + WAKE_MS : now;
    rq->is_queued = is_soon;
    if (is_soon)
        rq->resend_ms = rq->repeated_ms;
    return true;
}

bool wait_is_all(const struct requests_client *rc)
{
    const struct request *rq;

    for (rq = rc->open; rq; rq = rq->next)
        if (!rq->is_waiting)
            return false;
    return rc->open != NULL;
}

void requests_client_stop_waiting(struct requests_client *rc)
{
    struct request *rq;

    for (rq = rc->open; rq; rq = rq->next)
        rq->is_wait_over = true;
}

bool requests_client_is_parked(const struct requests_client *rc)
{
    int64_t now = clock_mono_ms();
    const struct request *rq;

    for (rq = rc->open; rq; rq = rq->next)
        if (!rq->is_waiting || !rq->is_sent || !rq->is_queued || now - rq->queued_ms < PARKED_MS)
            return false;
    return !rc->ready;
}
