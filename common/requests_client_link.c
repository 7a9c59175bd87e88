/*
 * requests_client_link.c: the request client's connection (see requests_client_int.h).
 *
 * Each command that is queued leaves a note of what its reply will belong to. A lost connection forgets
 * the notes, and every open request counts as not queued.
 */
#include "common/compat.h"
#include "common/requests_client_int.h"

#include "common/clock.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/methods.h"
#include "common/rnd.h"
#include "common/scripts.h"

#include <utlist.h>

enum { POP_COUNT = 64 };

/* ---- the ring of expected replies ---- */

static void expect_push(struct requests_client *rc, enum expect_kind kind, const struct request *rq)
{
    if (rc->expect_len == rc->expect_cap) {
        size_t cap = rc->expect_cap ? rc->expect_cap * 2 : 64;
        struct expect *ring = mem_calloc(cap, sizeof *ring);
        for (size_t i = 0; i < rc->expect_len; i++)
            ring[i] = rc->expects[(rc->expect_head + i) % rc->expect_cap];
        free(rc->expects);
        rc->expects = ring;
        rc->expect_cap = cap;
        rc->expect_head = 0;
    }
    struct expect *e = &rc->expects[(rc->expect_head + rc->expect_len++) % rc->expect_cap];
    *e = (struct expect){.kind = kind, .slot = rq ? rq->slot : 0, .seq = rq ? rq->seq : 0};
}

static struct expect expect_shift(struct requests_client *rc)
{
    cb_assert(rc->expect_len > 0);
    struct expect e = rc->expects[rc->expect_head];
    rc->expect_head = (rc->expect_head + 1) % rc->expect_cap;
    rc->expect_len--;
    return e;
}

/* ---- the connection ---- */

static void note_why(struct requests_client *rc, const char *text)
{
    snprintf(rc->why, sizeof rc->why, "%s", text);
}

static void wire_reset(struct requests_client *rc)
{
    struct request *rq;

    redis_link_free(rc->link);
    rc->link = NULL;
    rc->is_greeted = false;
    rc->has_submit_script = false;
    rc->expect_len = 0;
    rc->pops = 0;
    for (rq = rc->open; rq; rq = rq->next)
        rq->is_queued = false;
}

/* The connection is of no use any more; the next one is tried after `wait_ms`. */
static void wire_drop(struct requests_client *rc, const char *why, int64_t wait_ms)
{
    if (why)
        note_why(rc, why);
    wire_reset(rc);
    rc->losses++;
    rc->retry_at_ms = clock_mono_ms() + wait_ms;
}

void wire_lost(struct requests_client *rc, const char *why)
{
    wire_drop(rc, why, backoff_next_full_jitter(&rc->backoff));
}

/* Redis does not let us in: no repeat will help. */
static void wire_denied(struct requests_client *rc, const char *why)
{
    struct buf text = BUF_INIT;

    wire_lost(rc, why);
    buf_printf(&text, "Redis refuses: %s", why);
    while (rc->open)
        answer_refused(rc, rc->open, -32002, buf_peek(&text), "{}");
    buf_done(&text);
}

static void wire_failed(struct requests_client *rc, const struct cb_error *err)
{
    if (err->code == REDIS_AUTH)
        wire_denied(rc, err->text);
    else
        wire_lost(rc, err->text);
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

void wire_start(struct requests_client *rc)
{
    struct cb_error err = {0};

    wire_new_token(rc);
    rc->last_io_ms = clock_mono_ms();
    if (redis_link_start(rc->target, rc->client_name, &rc->link, &err) != 0) {
        rc->link = NULL;
        wire_failed(rc, &err);
    }
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

static void entry_fields(struct entry *e, const struct requests_client *rc,
                         const struct request *rq)
{
    entry_field(e, "id", rq->id);
    entry_field(e, "method", rq->method);
    entry_put(e, "params", 6);
    entry_put(e, rq->params, rq->params_len);
    entry_field(e, "reply", rc->token);
    entry_field(e, "actor", rc->actor);
    entry_field(e, "session", rc->session);
    entry_field(e, "agent", rc->agent);
    entry_field(e, "ttl_ms", rq->ttl);
    entry_field(e, "idem", rq->idem);
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

/* Finishing methods go in through a script that may run when memory is full. */
static void queue_submit(struct requests_client *rc, const char *stream, const struct entry *fields)
{
    struct script_call call;

    if (!rc->has_submit_script) {
        redis_link_appendv(rc->link, "SCRIPT", "LOAD", scripts_text(SCRIPT_SUBMIT), NULL);
        expect_push(rc, EXPECT_LOAD, NULL);
        rc->has_submit_script = true;
    }
    script_call_init(&call, SCRIPT_SUBMIT);
    script_call_key(&call, stream);
    for (int i = 0; i < fields->argc; i++)
        script_call_arg(&call, fields->argv[i], fields->lens[i]);
    scripts_append(rc->link, &call);
    script_call_done(&call);
}

static void queue_request(struct requests_client *rc, struct request *rq)
{
    struct arena arena = ARENA_INIT;
    const char *stream = stream_key(&arena, rc, rq->method);
    struct entry e = {.argc = 0};

    if (rq->flags & METHOD_FINISHES) {
        entry_fields(&e, rc, rq);
        queue_submit(rc, stream, &e);
    } else {
        entry_put(&e, "XADD", 4);
        entry_put(&e, stream, strlen(stream));
        entry_put(&e, "*", 1);
        entry_fields(&e, rc, rq);
        redis_link_append(rc->link, e.argc, e.argv, e.lens);
    }
    expect_push(rc, EXPECT_ENTRY, rq);
    rq->is_queued = true;
    arena_done(&arena);
}

static void queue_pop(struct requests_client *rc)
{
    char seconds[32], count[16];

    snprintf(seconds, sizeof seconds, "%d.%03d", rc->pop_ms / 1000, rc->pop_ms % 1000);
    snprintf(count, sizeof count, "%d", POP_COUNT);
    redis_link_appendv(rc->link, "BLMPOP", seconds, "1", rc->reply_key, "LEFT", "COUNT", count,
                       NULL);
    expect_push(rc, EXPECT_POP, NULL);
    rc->pops++;
}

/* Queues what is new, and one pop behind it. */
void wire_queue(struct requests_client *rc)
{
    struct request *rq;
    bool has_new = false;

    if (rc->expect_len == 0) /* its silence so far was no sin */
        rc->last_io_ms = clock_mono_ms();
    for (rq = rc->open; rq; rq = rq->next) {
        if (!rq->is_queued) {
            queue_request(rc, rq);
            has_new = true;
        }
    }
    if (rc->open && (has_new || rc->pops == 0))
        queue_pop(rc);
}

/* ---- reading ---- */

/* An error reply to anything but a submitted entry. */
static void take_link_error(struct requests_client *rc, enum redis_fault fault, const char *text)
{
    if (fault == REDIS_AUTH)
        wire_denied(rc, text);
    else
        wire_lost(rc, text);
}

/* Redis did not take an entry. */
static void take_entry_error(struct requests_client *rc, struct request *rq, const reply_t *r)
{
    enum redis_fault fault = reply_fault(r);

    switch (fault) {
    case REDIS_NOSCRIPT: /* forgotten since the last call: a new connection loads it again */
        wire_drop(rc, reply_str(r), 0);
        break;
    case REDIS_OOM:
    case REDIS_MISCONF:
    case REDIS_NOREPLICAS:
        if (rq)
            answer_refused(rc, rq, -32007, reply_str(r), "{\"retry_after_ms\":1000}");
        break;
    case REDIS_AUTH:
        if (rq)
            answer_refused(rc, rq, -32002, reply_str(r), "{}");
        break;
    case REDIS_LOADING:
    case REDIS_BUSY:
    case REDIS_READONLY:
        wire_lost(rc, reply_str(r));
        break;
    default:
        if (rq)
            answer_refused(rc, rq, -32603, reply_str(r), "{}");
    }
}

static void take_pop(struct requests_client *rc, const reply_t *r)
{
    const reply_t *list = reply_at(r, 1);

    for (size_t i = 0; list && i < reply_len(list); i++) {
        const reply_t *item = reply_at(list, i);
        if (item)
            answer_take(rc, reply_str(item), reply_len(item));
    }
}

/* One reply of Redis. May drop the connection. */
static void take_reply(struct requests_client *rc, const reply_t *r)
{
    struct expect e = expect_shift(rc);
    bool is_error = reply_is_error(r);

    if (e.kind == EXPECT_POP)
        rc->pops--;
    if (!rc->is_greeted && !is_error) {
        rc->is_greeted = true;
        backoff_reset(&rc->backoff);
    }
    if (is_error && e.kind == EXPECT_ENTRY)
        take_entry_error(rc, request_of(rc, e.slot, e.seq), r);
    else if (is_error)
        take_link_error(rc, reply_fault(r), reply_str(r));
    else if (e.kind == EXPECT_POP)
        take_pop(rc, r);
}

static void read_replies(struct requests_client *rc)
{
    struct cb_error err = {0};

    while (rc->link) {
        reply_t *r CB_CLEANUP(reply_free_ptr) = NULL;
        if (redis_link_take(rc->link, &r, &err) != 0) {
            wire_failed(rc, &err);
            return;
        }
        if (!r)
            return;
        rc->last_io_ms = clock_mono_ms();
        if (rc->expect_len == 0) {
            wire_lost(rc, "Redis sent a reply that nobody asked for");
            return;
        }
        take_reply(rc, r);
    }
}

void wire_read(struct requests_client *rc)
{
    struct cb_error err = {0};

    if (redis_link_on_readable(rc->link, &err) != 0)
        wire_failed(rc, &err);
    else
        read_replies(rc);
}

void wire_write(struct requests_client *rc)
{
    struct cb_error err = {0};
    struct request *rq;

    if (!redis_link_wants_write(rc->link))
        return;
    for (rq = rc->open; rq; rq = rq->next)
        rq->is_sent |= rq->is_queued;
    if (redis_link_on_writable(rc->link, &err) != 0)
        wire_failed(rc, &err);
}
