/*
 * requests_client_link.c: the request client's connections (see requests_client_int.h).
 *
 * Each command that is queued leaves a note of what its reply will belong to. A lost connection forgets
 * the notes, and every open request counts as not queued; when one of the two is lost, both are given up.
 *
 * While claims wait, and nothing else, the pop of the replies blocks for seconds: an idle worker is to cost next to
 * nothing. What is submitted then goes over the second connection, and its reply ends the pop on the first. So does what is
 * submitted while memory is full, because what was refused for that is submitted again while the pop waits.
 */
#include "common/compat.h"
#include "common/requests_client_int.h"

#include "common/clock.h"
#include "common/connect.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/methods.h"
#include "common/redis_cluster.h"
#include "common/rnd.h"
#include "common/scripts.h"

#include <utlist.h>

enum {
    POP_COUNT = 64, /* replies that one pop takes */
    REPLICAS_MAX = 1000000,
    FORGOTTEN_MS = 1000,     /* a script that is forgotten again so soon */
    FORGOTTEN_WAIT_MS = 100, /* … waits before it is loaded */
    FULL_MS = 60000,         /* so long after a refusal memory is taken to be full */
};

/* ---- the ring of expected replies ---- */

static void expect_push(struct wire *w, enum expect_kind kind, const struct request *rq)
{
    if (w->expect_len == w->expect_cap) {
        size_t cap = w->expect_cap ? w->expect_cap * 2 : 64;
        struct expect *ring = mem_calloc(cap, sizeof *ring);
        for (size_t i = 0; i < w->expect_len; i++)
            ring[i] = w->expects[(w->expect_head + i) % w->expect_cap];
        free(w->expects);
        w->expects = ring;
        w->expect_cap = cap;
        w->expect_head = 0;
    }
    struct expect *e = &w->expects[(w->expect_head + w->expect_len++) % w->expect_cap];
    *e = (struct expect){.kind = kind, .slot = rq ? rq->slot : 0, .seq = rq ? rq->seq : 0};
}

static struct expect expect_shift(struct wire *w)
{
    cb_assert(w->expect_len > 0);
    struct expect e = w->expects[w->expect_head];
    w->expect_head = (w->expect_head + 1) % w->expect_cap;
    w->expect_len--;
    return e;
}

/* ---- the connection ---- */

static void note_why(struct requests_client *rc, int fault, const char *text)
{
    rc->why_fault = fault;
    snprintf(rc->why, sizeof rc->why, "%s", text);
}

static void wire_close(struct wire *w)
{
    redis_link_free(w->link);
    w->link = NULL;
    w->is_greeted = false;
    w->has_submit_script = false;
    w->expect_len = 0;
    w->pops = 0;
    w->waits = 0;
    w->is_pop_long = false;
}

void wire_free(struct wire *w)
{
    wire_close(w);
    free(w->expects);
}

static void wire_reset(struct requests_client *rc)
{
    struct request *rq;

    wire_close(&rc->main);
    wire_close(&rc->side);
    for (rq = rc->open; rq; rq = rq->next) {
        rq->is_queued = false;
        ack_forget(rq);
    }
}

/* The next connection is tried at once. */
static void wire_go_on(struct requests_client *rc, int fault, const char *why)
{
    note_why(rc, fault, why);
    wire_reset(rc);
    rc->retry_at_ms = clock_mono_ms();
}

/* The connections are of no use any more; the next one is tried after `wait_ms`. */
static void wire_drop(struct requests_client *rc, int fault, const char *why, int64_t wait_ms)
{
    note_why(rc, fault, why);
    wire_reset(rc);
    rc->losses++;
    rc->retry_at_ms = clock_mono_ms() + wait_ms;
}

void wire_lost(struct requests_client *rc, int fault, const char *why)
{
    connect_backoff_idle(rc->target, rc->open && requests_client_is_parked(rc), &rc->backoff);
    wire_drop(rc, fault, why, backoff_next_full_jitter(&rc->backoff));
}

/* Redis does not let us in: no repeat will help. */
static void wire_denied(struct requests_client *rc, int code, const struct cb_error *err)
{
    struct buf text = BUF_INIT;

    wire_lost(rc, err->code, err->text);
    buf_printf(&text, "Redis refuses: %s", err->text);
    while (rc->open)
        answer_refused(rc, rc->open, code, buf_peek(&text), "{}");
    buf_done(&text);
}

/* The connections are lost for a reason that Redis has told, or the link. */
static void wire_failed(struct requests_client *rc, const struct cb_error *err)
{
    switch (err->code) {
    case REDIS_AUTH:
        wire_denied(rc, -32002, err);
        break;
    case REDIS_CROSSSLOT:
        wire_denied(rc, -32603, err);
        break;
    case REDIS_MOVED: /* the next link leads there, and no connection was lost; nodes that disagree need a pause */
        if (rc->hops++ < REDIS_CLUSTER_HOPS)
            wire_go_on(rc, err->code, err->text);
        else
            wire_lost(rc, err->code, err->text);
        break;
    case REDIS_MIGRATING:
        wire_drop(rc, err->code, err->text, REDIS_CLUSTER_WAIT_MS);
        break;
    default:
        wire_lost(rc, err->code, err->text);
    }
}

/* A new reply list for each connection. */
void wire_new_token(struct requests_client *rc)
{
    struct arena arena = ARENA_INIT;

    rnd_token(rc->token, REQUESTS_TOKEN);
    free(rc->reply_key);
    rc->reply_key = mem_strdup(keys_make(&arena, rc->prefix, KEY_REPLY, rc->token));
    arena_done(&arena);
}

static bool wire_connect(struct requests_client *rc, struct wire *w)
{
    struct cb_error err = {0};

    w->last_io_ms = clock_mono_ms();
    if (redis_link_start(rc->target, rc->client_name, &w->link, &err) == 0)
        return true;
    w->link = NULL;
    wire_failed(rc, &err);
    return false;
}

void wire_start(struct requests_client *rc)
{
    wire_new_token(rc);
    wire_connect(rc, &rc->main);
}

int64_t wire_silence_limit_ms(const struct requests_client *rc, const struct wire *w)
{
    if (!w->link || w->expect_len == 0)
        return 0;
    int pop_ms = w->pops == 0 ? 0 : w->is_pop_long ? REQUESTS_LONG_POP_MS : rc->pop_ms;
    int wait_ms = w->waits > 0 ? REQUESTS_CONFIRM_MS : 0;
    return w->last_io_ms + rc->target->timeout_ms + pop_ms + wait_ms;
}

/* ---- writing ---- */

struct entry {
    const char *argv[32];
    size_t lens[32];
    int argc;
};

static void entry_put(struct entry *e, const char *data, size_t len)
{
    cb_assert(e->argc < (int)CB_ARRAY_LEN(e->argv));
    e->argv[e->argc] = data;
    e->lens[e->argc++] = len;
}

static void entry_field(struct entry *e, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    entry_put(e, name, strlen(name));
    entry_put(e, value, strlen(value));
}

/* `ttl` has to live as long as the entry. */
static void entry_fields(struct entry *e, const struct requests_client *rc,
                         const struct request *rq, char ttl[24])
{
    entry_field(e, "id", rq->id);
    entry_field(e, "method", rq->method);
    entry_put(e, "params", 6);
    entry_put(e, rq->params, rq->params_len);
    entry_field(e, "reply", rc->token);
    entry_field(e, "actor", rc->actor);
    entry_field(e, "session", rc->session);
    entry_field(e, "agent", rc->agent);
    entry_field(e, "ttl_ms", wait_ttl(rq, ttl));
    entry_field(e, "idem", rq->idem);
    entry_field(e, "ack", rq->ack_text);
    entry_field(e, "trace", rc->trace);
}

static char *stream_key(struct arena *arena, const struct requests_client *rc, const char *method)
{
    size_t len = strcspn(method, ".");
    const char *domain = arena_strndup(arena, method, len);
    if (strcmp(domain, "schedule") == 0)
        domain = "task";
    return keys_make(arena, rc->prefix, KEY_REQUESTS, domain);
}

static bool is_memory_full(const struct requests_client *rc)
{
    return clock_mono_ms() < rc->full_until_ms;
}

/* What goes in when memory is full: what finishes work, and what only reads, because that is when people look for what fills it. */
static bool is_let_in(const struct request *rq)
{
    return (rq->flags & METHOD_FINISHES) || !(rq->flags & METHOD_WRITE);
}

static void queue_submit(struct wire *w, const char *stream, const struct entry *fields)
{
    struct script_call call;

    if (!w->has_submit_script) {
        redis_link_appendv(w->link, "SCRIPT", "LOAD", scripts_text(SCRIPT_SUBMIT), NULL);
        expect_push(w, EXPECT_LOAD, NULL);
        w->has_submit_script = true;
    }
    script_call_init(&call, SCRIPT_SUBMIT);
    script_call_key(&call, stream);
    for (int i = 0; i < fields->argc; i++)
        script_call_arg(&call, fields->argv[i], fields->lens[i]);
    scripts_append(w->link, &call);
    script_call_done(&call);
}

static void queue_request(struct requests_client *rc, struct wire *w, struct request *rq)
{
    struct arena arena = ARENA_INIT;
    const char *stream = stream_key(&arena, rc, rq->method);
    struct entry e = {.argc = 0};
    char ttl[24];

    /* A plain XADD is cheaper for Redis, so the script is for when one was refused. */
    rq->is_forced = is_memory_full(rc) && is_let_in(rq);
    if (rq->is_forced) {
        entry_fields(&e, rc, rq, ttl);
        queue_submit(w, stream, &e);
    } else {
        entry_put(&e, "XADD", 4);
        entry_put(&e, stream, strlen(stream));
        entry_put(&e, "*", 1);
        entry_fields(&e, rc, rq, ttl);
        redis_link_append(w->link, e.argc, e.argv, e.lens);
    }
    expect_push(w, EXPECT_ENTRY, rq);
    rq->is_queued = true;
    rq->wire = w;
    rq->queued_ms = clock_mono_ms();
    arena_done(&arena);
}

static void queue_pop(struct requests_client *rc)
{
    struct wire *w = &rc->main;
    char seconds[32], count[16];

    w->is_pop_long = wait_is_all(rc);
    int ms = w->is_pop_long ? REQUESTS_LONG_POP_MS : rc->pop_ms;
    snprintf(seconds, sizeof seconds, "%d.%03d", ms / 1000, ms % 1000);
    snprintf(count, sizeof count, "%d", POP_COUNT);
    redis_link_appendv(w->link, "BLMPOP", seconds, "1", rc->reply_key, "LEFT", "COUNT", count,
                       NULL);
    expect_push(w, EXPECT_POP, NULL);
    w->pops++;
}

/* Asks how many replicas have what we were told. One such question at a time. */
static void queue_confirm(struct requests_client *rc)
{
    struct wire *w = &rc->main;
    unsigned replicas = w->waits == 0 ? ack_wanted(rc) : 0;
    char count[16], ms[16];

    if (replicas == 0)
        return;
    snprintf(count, sizeof count, "%u", replicas);
    snprintf(ms, sizeof ms, "%d", REQUESTS_CONFIRM_MS);
    redis_link_appendv(w->link, "PING", NULL);
    expect_push(w, EXPECT_PING, NULL);
    redis_link_appendv(w->link, "WAIT", count, ms, NULL);
    expect_push(w, EXPECT_WAIT, NULL);
    w->waits++;
    w->asked_ms = clock_mono_ms();
    ack_asked(rc);
}

/* The connection that takes requests at once; NULL when it was lost meanwhile. */
static struct wire *open_wire(struct requests_client *rc)
{
    if (rc->main.pops == 0 || (!rc->main.is_pop_long && !is_memory_full(rc)))
        return &rc->main;
    if (!rc->side.link && !wire_connect(rc, &rc->side))
        return NULL;
    return &rc->side;
}

/* Queues what is new, and one pop behind it. */
void wire_queue(struct requests_client *rc)
{
    struct wire *w = NULL;
    struct request *rq;

    queue_confirm(rc);
    for (rq = rc->open; rq; rq = rq->next) {
        if (rq->is_queued)
            continue;
        if (!w && !(w = open_wire(rc)))
            return;
        if (w->expect_len == 0) /* it was silent because nothing was asked of it */
            w->last_io_ms = clock_mono_ms();
        queue_request(rc, w, rq);
    }
    if (ack_is_pop_due(rc) && (w == &rc->main || rc->main.pops == 0)) {
        if (rc->main.expect_len == 0)
            rc->main.last_io_ms = clock_mono_ms();
        queue_pop(rc);
    }
}

/* ---- reading ---- */

/* An error reply to anything but a submitted entry, or one that concerns the whole connection. */
static void take_link_error(struct requests_client *rc, const reply_t *r)
{
    struct cb_error err = {0};

    reply_error(r, &err);
    wire_failed(rc, &err);
}

/* Forgotten since the last call: a new connection loads the script again, at once, unless that was just done.
 * (No back-off, whose spread is for many who lose Redis together.) */
static void take_forgotten(struct requests_client *rc, const reply_t *r)
{
    int64_t now = clock_mono_ms();
    bool is_again = rc->forgotten_ms && now - rc->forgotten_ms < FORGOTTEN_MS;

    rc->forgotten_ms = now;
    wire_drop(rc, REDIS_NOSCRIPT, reply_str(r), is_again ? FORGOTTEN_WAIT_MS : 0);
}

/* Memory is full: it is asked again through the script, and what comes in the next minute at once. The connections stay: what
 * Redis took before may be done by now, and to send that again would be to have it refused. */
static bool is_asked_again(struct requests_client *rc, struct request *rq,
                           const struct cb_error *why)
{
    if (why->code != REDIS_OOM || !is_let_in(rq) || rq->is_forced)
        return false;
    rc->full_until_ms = clock_mono_ms() + FULL_MS;
    rq->is_queued = false;
    return true;
}

/* Redis did not take an entry. */
static void take_entry_error(struct requests_client *rc, struct request *rq, const reply_t *r)
{
    struct cb_error why = {0};

    reply_error(r, &why);
    switch (why.code) {
    case REDIS_NOSCRIPT:
        take_forgotten(rc, r);
        break;
    case REDIS_OOM:
    case REDIS_MISCONF:
    case REDIS_NOREPLICAS:
        if (rq && !is_asked_again(rc, rq, &why))
            answer_refused(rc, rq, -32007, why.text, "{\"retry_after_ms\":1000}");
        break;
    case REDIS_AUTH:
        if (rq)
            answer_refused(rc, rq, -32002, why.text, "{}");
        break;
    case REDIS_LOADING:
    case REDIS_BUSY:
    case REDIS_READONLY:
    case REDIS_MOVED:
    case REDIS_MIGRATING:
    case REDIS_CLUSTERDOWN:
        take_link_error(rc, r);
        break;
    default:
        if (rq)
            answer_refused(rc, rq, -32603, reply_str(r), "{}");
    }
}

static void take_pop(struct requests_client *rc, const reply_t *r)
{
    const reply_t *list = reply_at(r, 1);

    for (size_t i = 0; list && i < reply_count(list); i++) {
        const reply_t *item = reply_at(list, i);
        if (item)
            answer_take(rc, reply_str(item), reply_bytes(item));
    }
}

/* WAIT's reply comes when enough replicas have confirmed, or its time is over. Who says sooner that it were too few does not
 * wait, and is not to set the pace at which the requests are repeated. */
static void take_wait(struct requests_client *rc, const struct wire *w, const reply_t *r)
{
    int64_t n = reply_int(r);
    bool was_hasty = clock_mono_ms() - w->asked_ms < REQUESTS_CONFIRM_MS / 2;

    if (!ack_answered(rc, n < 0 ? 0 : n < REPLICAS_MAX ? (unsigned)n : REPLICAS_MAX) && was_hasty)
        wire_lost(rc, REDIS_PROTOCOL, "Redis does not wait for its replicas");
}

/* One reply of Redis. May drop the connections. */
static void take_reply(struct requests_client *rc, struct wire *w, const reply_t *r)
{
    struct expect e = expect_shift(w);
    bool is_error = reply_is_error(r);

    if (e.kind == EXPECT_POP)
        w->pops--;
    if (e.kind == EXPECT_WAIT)
        w->waits--;
    /* Any node loads a script: that says nothing about whether it serves us. */
    if (!w->is_greeted && !is_error && e.kind != EXPECT_LOAD) {
        w->is_greeted = true;
        rc->hops = 0;
        backoff_reset(&rc->backoff);
    }
    if (is_error && e.kind == EXPECT_ENTRY)
        take_entry_error(rc, request_of(rc, e.slot, e.seq), r);
    else if (is_error)
        take_link_error(rc, r);
    else if (e.kind == EXPECT_POP)
        take_pop(rc, r);
    else if (e.kind == EXPECT_WAIT)
        take_wait(rc, w, r);
}

static void read_replies(struct requests_client *rc, struct wire *w)
{
    struct cb_error err = {0};

    while (w->link) {
        reply_t *r CB_CLEANUP(reply_free_ptr) = NULL;
        if (redis_link_take(w->link, &r, &err) != 0) {
            wire_failed(rc, &err);
            return;
        }
        if (!r)
            return;
        w->last_io_ms = clock_mono_ms();
        if (w->expect_len == 0) {
            wire_lost(rc, REDIS_PROTOCOL, "Redis sent a reply that nobody asked for");
            return;
        }
        take_reply(rc, w, r);
    }
}

void wire_read(struct requests_client *rc, struct wire *w)
{
    struct cb_error err = {0};

    if (redis_link_on_readable(w->link, &err) != 0)
        wire_failed(rc, &err);
    else
        read_replies(rc, w);
}

void wire_write(struct requests_client *rc, struct wire *w)
{
    struct cb_error err = {0};
    struct request *rq;

    if (!redis_link_wants_write(w->link))
        return;
    for (rq = rc->open; rq; rq = rq->next)
        rq->is_sent |= rq->is_queued && rq->wire == w;
    if (redis_link_on_writable(w->link, &err) != 0)
        wire_failed(rc, &err);
}
