/*
 * requests_client.c: see requests_client.h. Used by the client's verbs, by the bench and by tests.
 *
 * Every request has a slot; its id on the wire is "<random>-<slot>.<sequence>", so that a reply
 * finds its slot without a search and a late reply to an older request of the same slot is known as
 * such. Open requests hang in the order of their submission in one list, and are repeated in that
 * order.
 */
#include "common/compat.h"
#include "common/requests_client_int.h"

#include "common/clock.h"
#include "common/connect.h"
#include "common/exitcode.h"
#include "common/mem.h"
#include "common/methods.h"
#include "common/rnd.h"

#include <utlist.h>

enum {
    POP_MS = 1000,
    PATIENCE_MS = 5000,
    LOADING_MIN_MS = 50,
    LOADING_MAX_MS = 1000,
    IDEM_RANDOM = 24,
};

/* ---- small parts ---- */

bool requests_is_traceparent(const char *s)
{
    static const char shape[] = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    size_t len = sizeof shape - 1;

    if (!s || strlen(s) != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool is_hex = (s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f');
        if (shape[i] == 'x' ? !is_hex : s[i] != shape[i])
            return false;
    }
    return strspn(s + 3, "0") < 32 && strspn(s + 36, "0") < 16;
}

static char *copy_optional(const char *s)
{
    return s && *s ? mem_strdup(s) : NULL;
}

/* ---- time ---- */

static void expire_requests(struct requests_client *rc, int64_t now_ms)
{
    struct request *next;

    for (struct request *rq = rc->open; rq; rq = next) {
        next = rq->next;
        if (rq->deadline_ms && now_ms >= rq->deadline_ms)
            answer_nothing(rc, rq);
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    if (a == 0)
        return b;
    return b == 0 || a < b ? a : b;
}

static int64_t silence_limit_ms(const struct requests_client *rc)
{
    return earlier(wire_silence_limit_ms(rc, &rc->main), wire_silence_limit_ms(rc, &rc->side));
}

static int64_t next_due_ms(struct requests_client *rc)
{
    int64_t due = silence_limit_ms(rc);
    const struct request *rq;

    if (rc->open && !rc->main.link)
        due = earlier(due, rc->retry_at_ms);
    for (rq = rc->open; rq; rq = rq->next)
        due = earlier(due, rq->deadline_ms);
    return earlier(due, wait_check(rc, clock_mono_ms()));
}

static void check_time(struct requests_client *rc)
{
    int64_t now = clock_mono_ms();
    int64_t limit = silence_limit_ms(rc);

    if (limit && now >= limit)
        wire_lost(rc, REDIS_LOST, "Redis does not answer");
    expire_requests(rc, now);
    wait_check(rc, now);
    if (rc->open && !rc->main.link && now >= rc->retry_at_ms)
        wire_start(rc);
}

/* ---- life ---- */

static int open_exit_code(int fault)
{
    return fault == REDIS_AUTH ? EXITCODE_NOPERM : EXITCODE_UNAVAILABLE;
}

/* Connects, waiting while Redis loads its data, or a cluster moves ours. */
static int open_link(struct requests_client *rc, int patience_ms, struct cb_error *err)
{
    struct cb_error why = {0};
    int64_t until = clock_mono_ms() + patience_ms;
    struct backoff loading;

    backoff_init(&loading, LOADING_MIN_MS, LOADING_MAX_MS);
    wire_new_token(rc);
    while (redis_link_open(rc->target, rc->client_name, &rc->main.link, &why) != 0) {
        rc->main.link = NULL;
        int64_t wait = backoff_next_full_jitter(&loading);
        if (redis_fault_passes((enum redis_fault)why.code) && clock_mono_ms() + wait < until) {
            poll(NULL, 0, (int)wait);
            continue;
        }
        return cb_error_set(
            err, open_exit_code(why.code), "cannot reach Redis at %.200s%s",
            why.text, /* begins with the address */
            why.code == REDIS_LOST && !rc->target->sentinels ? "; is claudebenchd running?" : "");
    }
    rc->main.is_greeted = true;
    rc->main.last_io_ms = clock_mono_ms();
    return 0;
}

int requests_client_open(const struct requests_config *config, struct requests_client **ret,
                         struct cb_error *err)
{
    struct requests_client *rc = mem_alloc(sizeof *rc);

    rc->target = config->target;
    rc->prefix = mem_strdup(config->prefix);
    rc->actor = copy_optional(config->actor);
    rc->session = copy_optional(config->session);
    rc->agent = copy_optional(config->agent);
    rc->trace = requests_is_traceparent(config->trace) ? mem_strdup(config->trace) : NULL;
    rc->client_name = copy_optional(config->client_name);
    rc->ack = config->ack;
    rc->pop_ms = config->pop_ms > 0 ? config->pop_ms : POP_MS;
    rc->window = config->window ? config->window : REQUESTS_WINDOW_DEFAULT;
    cb_assert(rc->window <= REQUESTS_WINDOW_MAX);
    rc->slots = mem_calloc(rc->window, sizeof *rc->slots);
    rc->free_slots = mem_calloc(rc->window, sizeof *rc->free_slots);
    for (unsigned i = rc->window; i-- > 0;)
        rc->free_slots[rc->free_count++] = i;
    rnd_token(rc->id_prefix, REQUESTS_ID_PREFIX);
    connect_backoff(config->target, CONNECT_CLIENT, &rc->backoff);
    if (open_link(rc, config->patience_ms > 0 ? config->patience_ms : PATIENCE_MS, err) != 0) {
        requests_client_free(rc);
        return -1;
    }
    *ret = rc;
    return 0;
}

void requests_client_free(struct requests_client *rc)
{
    if (!rc)
        return;
    while (rc->open)
        request_close(rc, rc->open);
    while (rc->ready) {
        struct ready *ready = rc->ready;
        DL_DELETE(rc->ready, ready);
        requests_reply_done(&ready->reply);
        free(ready);
    }
    wire_free(&rc->main);
    wire_free(&rc->side);
    free(rc->slots);
    free(rc->free_slots);
    free(rc->reply_key);
    free(rc->prefix);
    free(rc->actor);
    free(rc->session);
    free(rc->agent);
    free(rc->trace);
    free(rc->client_name);
    free(rc);
}

bool requests_client_has_room(const struct requests_client *rc)
{
    return rc->free_count > 0;
}

unsigned requests_client_in_flight(const struct requests_client *rc)
{
    return rc->window - rc->free_count + rc->ready_count;
}

bool requests_client_is_up(const struct requests_client *rc, const char **ret_why)
{
    if (ret_why)
        *ret_why = rc->why;
    return rc->main.link && rc->main.is_greeted;
}

unsigned requests_client_losses(const struct requests_client *rc)
{
    return rc->losses;
}

static void request_choose_idem(struct request *rq, const char *idem)
{
    rq->idem[0] = '\0';
    if (idem)
        snprintf(rq->idem, sizeof rq->idem, "%s", idem);
    else if ((rq->flags & METHOD_WRITE) && !(rq->flags & METHOD_REPEATABLE))
        rnd_token(rq->idem, IDEM_RANDOM);
}

void requests_client_submit(struct requests_client *rc, const struct requests_call *call)
{
    cb_assert(rc->free_count > 0);
    struct request *rq = &rc->slots[rc->free_slots[--rc->free_count]];
    int method = methods_find(call->method);

    *rq = (struct request){
        .slot = (unsigned)(rq - rc->slots),
        .seq = ++rc->last_seq,
        .tag = call->tag,
        .method = mem_strdup(call->method),
        .started_us = clock_mono_us(),
        .is_open = true,
        /* A method of a newer daemon may write. */
        .flags = method >= 0 ? methods[method].flags : METHOD_WRITE,
    };
    rq->ack = call->ack.level == ACK_UNSAID ? rc->ack : call->ack;
    rq->confirmed = -1;
    if (rq->ack.level == ACK_REPLICA)
        snprintf(rq->ack_text, sizeof rq->ack_text, "replica:%u", rq->ack.replicas);
    else if (rq->ack.level == ACK_FSYNC)
        snprintf(rq->ack_text, sizeof rq->ack_text, "local-fsync");
    rq->params = call->params ? mem_strndup(call->params, call->params_len) : mem_strdup("{}");
    rq->params_len = call->params ? call->params_len : 2;
    if (call->timeout_ms > 0)
        rq->deadline_ms = clock_mono_ms() + call->timeout_ms;
    if (call->ttl_ms > 0)
        snprintf(rq->ttl, sizeof rq->ttl, "%" PRId64, call->ttl_ms);
    snprintf(rq->id, sizeof rq->id, "%s-%u.%" PRIu64, rc->id_prefix, rq->slot, rq->seq);
    request_choose_idem(rq, call->idem);
    wait_read(rq);
    DL_APPEND(rc->open, rq);
}

/* ---- the event loop's side ---- */

static void poll_wire(const struct wire *w, struct pollfd *ret)
{
    *ret = (struct pollfd){.fd = w->link ? redis_link_fd(w->link) : -1, .events = POLLIN};
    if (w->link && redis_link_wants_write(w->link))
        ret->events |= POLLOUT;
}

void requests_client_prepare(struct requests_client *rc, struct pollfd ret_fds[REQUESTS_POLLFDS],
                             int *ret_timeout_ms)
{
    check_time(rc);
    if (rc->main.link)
        wire_queue(rc);
    if (rc->main.link && rc->main.is_greeted)
        wire_write(rc, &rc->main);
    if (rc->side.link && rc->side.is_greeted)
        wire_write(rc, &rc->side);
    int64_t due = next_due_ms(rc);
    int64_t left = due - clock_mono_ms();
    poll_wire(&rc->main, &ret_fds[0]);
    poll_wire(&rc->side, &ret_fds[1]);
    *ret_timeout_ms = due == 0 ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
    if (rc->ready)
        *ret_timeout_ms = 0;
}

static void pump_wire(struct requests_client *rc, struct wire *w, const struct pollfd *fd)
{
    if (!w->link || redis_link_fd(w->link) != fd->fd) /* lost since, by the other one */
        return;
    if (fd->revents & POLLOUT)
        wire_write(rc, w);
    if (w->link && (fd->revents & (POLLIN | POLLHUP | POLLERR)))
        wire_read(rc, w);
}

void requests_client_pump(struct requests_client *rc, const struct pollfd fds[REQUESTS_POLLFDS])
{
    if (fds) {
        pump_wire(rc, &rc->main, &fds[0]);
        pump_wire(rc, &rc->side, &fds[1]);
    }
    check_time(rc);
}

bool requests_client_take(struct requests_client *rc, struct requests_reply *reply)
{
    struct ready *ready = rc->ready;

    if (!ready)
        return false;
    DL_DELETE(rc->ready, ready);
    rc->ready_count--;
    *reply = ready->reply;
    free(ready);
    return true;
}

/* ---- the blocking side ---- */

int requests_client_next(struct requests_client *rc, int timeout_ms, struct requests_reply *reply)
{
    int64_t until = timeout_ms < 0 ? 0 : clock_mono_ms() + timeout_ms;

    while (!requests_client_take(rc, reply)) {
        struct pollfd fds[REQUESTS_POLLFDS];
        int wait;
        if (!rc->open)
            return 0;
        requests_client_prepare(rc, fds, &wait);
        if (until) {
            int64_t left = until - clock_mono_ms();
            if (left <= 0 && !rc->ready)
                return 0;
            if (left >= 0 && (wait < 0 || left < wait))
                wait = (int)left;
        }
        int n = poll(fds, REQUESTS_POLLFDS, wait);
        if (n < 0 && errno == EINTR && !rc->ready)
            return 0;
        requests_client_pump(rc, n > 0 ? fds : NULL);
    }
    return 1;
}

void requests_client_call(struct requests_client *rc, const struct requests_call *call,
                          struct requests_reply *reply)
{
    cb_assert(requests_client_in_flight(rc) == 0);
    requests_client_submit(rc, call);
    while (requests_client_next(rc, -1, reply) == 0)
        continue;
}
