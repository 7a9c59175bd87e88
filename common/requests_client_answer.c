/*
 * requests_client_answer.c: from an open request to a reply that can be taken: what the wire says, and
 * what we have to say ourselves when it says nothing (see requests_client_int.h).
 */
#include "common/compat.h"
#include "common/requests_client_int.h"

#include "common/clock.h"
#include "common/mem.h"

#include <utlist.h>

void requests_reply_done(struct requests_reply *reply)
{
    buf_done(&reply->text);
    *reply = (struct requests_reply)REQUESTS_REPLY_INIT;
}

struct request *request_of(struct requests_client *rc, unsigned slot, uint64_t seq)
{
    if (slot >= rc->window)
        return NULL;
    struct request *rq = &rc->slots[slot];
    return rq->is_open && rq->seq == seq ? rq : NULL;
}

void request_close(struct requests_client *rc, struct request *rq)
{
    DL_DELETE(rc->open, rq);
    free(rq->method);
    free(rq->params);
    rq->method = rq->params = NULL;
    ack_forget(rq);
    rq->is_open = false;
    rc->free_slots[rc->free_count++] = rq->slot;
}

/* Moves an open request to the replies that wait to be taken; the caller fills in the rest. */
static struct requests_reply *answer_new(struct requests_client *rc, struct request *rq,
                                         enum requests_outcome outcome)
{
    struct ready *ready = mem_alloc(sizeof *ready);
    struct requests_reply *reply = &ready->reply;

    reply->tag = rq->tag;
    reply->outcome = outcome;
    reply->retry_after_ms = -1;
    reply->latency_us = clock_mono_us() - rq->started_us;
    snprintf(reply->idem, sizeof reply->idem, "%s", rq->idem);
    DL_APPEND(rc->ready, ready);
    rc->ready_count++;
    request_close(rc, rq);
    return reply;
}

/* No answer: the deadline passed, or nobody may ask. */
void answer_nothing(struct requests_client *rc, struct request *rq)
{
    bool was_sent = rq->is_sent;
    int confirmed = rq->is_held && rq->confirmed < 0 ? 0 : rq->confirmed;
    unsigned wanted = rq->ack.replicas;
    bool is_up = requests_client_is_up(rc, NULL);
    struct requests_reply *reply = answer_new(rc, rq,
                                              was_sent ? REQUESTS_UNKNOWN : REQUESTS_UNSENT);
    if (confirmed >= 0)
        snprintf(reply->message, sizeof reply->message,
                 "done, but confirmed by only %d of %u replicas", confirmed, wanted);
    else if (is_up || !rc->why[0])
        snprintf(reply->message, sizeof reply->message,
                 "no reply in time; is claudebenchd running?");
    else
        snprintf(reply->message, sizeof reply->message, "%.200s%s", rc->why,
                 rc->why_fault == REDIS_LOST ? "; is claudebenchd running?" : "");
}

/* Callers wait for as long as that: more than any limit or circuit can ask for is not believed. */
static int64_t retry_after(int64_t ms)
{
    return ms < 0 ? -1 : ms < REQUESTS_RETRY_MAX_MS ? ms : REQUESTS_RETRY_MAX_MS;
}

static void reply_read_error(struct requests_reply *reply, struct json_span error)
{
    struct json_item item;
    int64_t n;

    reply->code = -32603; /* of an error without a code, or with one that cannot be */
    if (json_find(error, "code", &item) && json_decode_int(item.value, &n) == 0 && n < 0 &&
        n >= INT_MIN)
        reply->code = (int)n;
    if (json_find(error, "message", &item) && item.type == JSON_STRING) {
        struct buf text = BUF_INIT;
        json_decode_string(item.value, &text);
        snprintf(reply->message, sizeof reply->message, "%s", buf_peek(&text));
        buf_done(&text);
    }
    if (!json_find(error, "data", &item))
        return;
    reply->data = item.value;
    if (item.type == JSON_OBJECT && json_find(item.value, "retry_after_ms", &item) &&
        json_decode_int(item.value, &n) == 0)
        reply->retry_after_ms = retry_after(n);
}

/* Fills a reply from its text, which json_check() has accepted. */
static void reply_read(struct requests_reply *reply)
{
    struct json_span document = {reply->text.data, reply->text.len};
    struct json_item item;

    if (json_find(document, "result", &item) && item.type == JSON_OBJECT) { /* as all are */
        reply->outcome = REQUESTS_RESULT;
        reply->result = item.value;
    } else if (json_find(document, "error", &item) && item.type == JSON_OBJECT) {
        reply->outcome = REQUESTS_ERROR;
        reply_read_error(reply, item.value);
    } else {
        reply->outcome = REQUESTS_ERROR;
        reply->code = -32603;
        snprintf(reply->message, sizeof reply->message,
                 "a reply without a result or an error that can be understood");
    }
}

/* An error that we say ourselves, in the shape of the wire. */
void answer_refused(struct requests_client *rc, struct request *rq, int code, const char *message,
                    const char *data)
{
    char id[sizeof rq->id];

    memcpy(id, rq->id, sizeof id);
    struct requests_reply *reply = answer_new(rc, rq, REQUESTS_ERROR);
    buf_puts(&reply->text, "{\"jsonrpc\":\"2.0\",\"id\":");
    json_put_cstr(&reply->text, id);
    buf_printf(&reply->text, ",\"error\":{\"code\":%d,\"message\":", code);
    json_put_cstr(&reply->text, message);
    buf_printf(&reply->text, ",\"data\":%s}}", data);
    reply_read(reply);
}

/* "<random>-<slot>.<sequence>" back to the request; NULL when it is none of ours that is open. */
static struct request *request_by_id(struct requests_client *rc, const char *id)
{
    char *end;

    if (strncmp(id, rc->id_prefix, REQUESTS_ID_PREFIX) != 0 || id[REQUESTS_ID_PREFIX] != '-')
        return NULL;
    unsigned long slot = strtoul(id + REQUESTS_ID_PREFIX + 1, &end, 10);
    if (*end != '.' || slot >= rc->window)
        return NULL;
    struct request *rq = &rc->slots[slot];
    return rq->is_open && strcmp(rq->id, id) == 0 ? rq : NULL;
}

void answer_give(struct requests_client *rc, struct request *rq, const char *text, size_t len)
{
    struct buf copy = BUF_INIT;

    buf_append(&copy, text, len); /* it may be the request's own */
    struct requests_reply *reply = answer_new(rc, rq, REQUESTS_RESULT);
    reply->text = copy;
    reply_read(reply);
}

/* One element of the reply list. What is not a reply to an open request of ours is ignored. */
void answer_take(struct requests_client *rc, const char *text, size_t len)
{
    struct buf copy = BUF_INIT, id = BUF_INIT;
    struct json_span document;
    enum json_type type;
    struct json_item item;

    buf_append(&copy, text, len);
    if (json_check(copy.data, copy.len, &document, &type, NULL) == 0 && type == JSON_OBJECT &&
        json_find(document, "id", &item) && item.type == JSON_STRING) {
        json_decode_string(item.value, &id);
        struct request *rq = request_by_id(rc, buf_peek(&id));
        if (rq && json_find(document, "result", &item) &&
            (wait_is_woken(rq, item.value) || ack_hold(rq, document.at, document.len)))
            rq = NULL;
        if (rq)
            answer_give(rc, rq, document.at, document.len);
    }
    buf_done(&id);
    buf_done(&copy);
}
