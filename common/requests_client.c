/*
 * requests_client.c: see requests_client.h. Used by the client's verbs, by the bench and by tests.
 *
 * Every request has a slot; its id on the wire is "<random>-<slot>.<sequence>", so that a reply finds its
 * slot without a search and a late reply to an older request of the same slot is known as such. Open
 * requests hang in the order of their submission in one list, and are repeated in that order.
 */
#include "common/compat.h"
#include "common/requests_client.h"

#include "common/backoff.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/methods.h"
#include "common/rnd.h"
#include "common/scripts.h"

#include <utlist.h>

enum {
    POP_COUNT = 64,
    POP_MS = 1000,
    PATIENCE_MS = 5000,
    RETRY_MIN_MS = 50,
    RETRY_MAX_MS = 1500,
    ID_PREFIX = 10,
    IDEM_RANDOM = 24,
    REPLY_TOKEN = 32,
};

/* What a reply of Redis on the connection belongs to, in the order of the commands. */
enum expect_kind { EXPECT_LOAD, EXPECT_ENTRY, EXPECT_POP };

struct expect {
    enum expect_kind kind;
    unsigned slot;
    uint64_t seq;
};

struct request {
    struct request *prev, *next;
    unsigned slot;
    uint64_t seq;
    uint64_t tag;
    char id[48];
    char *method;
    char *params;
    size_t params_len;
    char idem[REQUESTS_IDEM_SIZE];
    char ttl[24];
    unsigned flags;      /* enum method_flag */
    int64_t deadline_ms; /* monotonic; 0 = none */
    int64_t started_us;
    bool is_open;
    bool is_queued;   /* on the present connection */
    bool is_sent;     /* on any connection, ever */
};

struct ready {
    struct ready *prev, *next;
    struct requests_reply reply;
};

struct requests_client {
    const struct redis_target *target;
    char *prefix, *actor, *session, *agent, *trace, *client_name;
    int pop_ms;
    char id_prefix[ID_PREFIX + 1];
    uint64_t last_seq;

    struct request *slots;
    unsigned window;
    unsigned *free_slots;
    unsigned free_count;
    struct request *open; /* in the order of submission */
    struct ready *ready;
    unsigned ready_count;

    struct redis_link *link;
    bool is_greeted; /* a reply came on this connection */
    bool has_submit_script;
    char token[REPLY_TOKEN + 1];
    char *reply_key;
    struct expect *expects; /* ring */
    size_t expect_head, expect_len, expect_cap;
    unsigned pops; /* outstanding on the connection */
    int64_t last_io_ms;

    struct backoff backoff;
    int64_t retry_at_ms;
    unsigned losses;
    char why[256]; /* the last connection error */
};

/* ---- small parts ---- */

bool
requests_is_traceparent(const char *s)
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

void
requests_reply_done(struct requests_reply *reply)
{
    buf_done(&reply->text);
    *reply = (struct requests_reply)REQUESTS_REPLY_INIT;
}

static char *
copy_optional(const char *s)
{
    return s && *s ? mem_strdup(s) : NULL;
}

static void
note_why(struct requests_client *rc, const char *text)
{
    snprintf(rc->why, sizeof rc->why, "%s", text);
}

/* ---- the ring of expected replies ---- */

static void
expect_push(struct requests_client *rc, enum expect_kind kind, const struct request *rq)
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

static struct expect
expect_shift(struct requests_client *rc)
{
    cb_assert(rc->expect_len > 0);
    struct expect e = rc->expects[rc->expect_head];
    rc->expect_head = (rc->expect_head + 1) % rc->expect_cap;
    rc->expect_len--;
    return e;
}

static struct request *
request_of(struct requests_client *rc, unsigned slot, uint64_t seq)
{
    if (slot >= rc->window)
        return NULL;
    struct request *rq = &rc->slots[slot];
    return rq->is_open && rq->seq == seq ? rq : NULL;
}

/* ---- answers ---- */

static void
request_close(struct requests_client *rc, struct request *rq)
{
    DL_DELETE(rc->open, rq);
    free(rq->method);
    free(rq->params);
    rq->method = rq->params = NULL;
    rq->is_open = false;
    rc->free_slots[rc->free_count++] = rq->slot;
}

/* Moves an open request to the replies that wait to be taken; the caller fills in the rest. */
static struct requests_reply *
answer_new(struct requests_client *rc, struct request *rq, enum requests_outcome outcome)
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
static void
answer_nothing(struct requests_client *rc, struct request *rq)
{
    bool was_sent = rq->is_sent;
    bool is_up = requests_client_is_up(rc, NULL);
    struct requests_reply *reply =
        answer_new(rc, rq, was_sent ? REQUESTS_UNKNOWN : REQUESTS_UNSENT);
    if (is_up)
        snprintf(reply->message, sizeof reply->message, "no reply in time");
    else
        snprintf(reply->message, sizeof reply->message, "%s", rc->why);
}

static void
reply_read_error(struct requests_reply *reply, struct json_span error)
{
    struct json_item item;
    int64_t n;

    if (json_find(error, "code", &item) && json_decode_int(item.value, &n) == 0)
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
        reply->retry_after_ms = n;
}

/* Fills a reply from its text, which json_check() has accepted. */
static void
reply_read(struct requests_reply *reply)
{
    struct json_span document = {reply->text.data, reply->text.len};
    struct json_item item;

    if (json_find(document, "result", &item)) {
        reply->outcome = REQUESTS_RESULT;
        reply->result = item.value;
    } else if (json_find(document, "error", &item) && item.type == JSON_OBJECT) {
        reply->outcome = REQUESTS_ERROR;
        reply_read_error(reply, item.value);
    } else {
        reply->outcome = REQUESTS_ERROR;
        reply->code = -32603;
        snprintf(reply->message, sizeof reply->message, "a reply with neither result nor error");
    }
}

/* An error that we say ourselves, in the shape of the wire. */
static void
answer_refused(struct requests_client *rc, struct request *rq, int code, const char *message,
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
static struct request *
request_by_id(struct requests_client *rc, const char *id)
{
    char *end;

    if (strncmp(id, rc->id_prefix, ID_PREFIX) != 0 || id[ID_PREFIX] != '-')
        return NULL;
    unsigned long slot = strtoul(id + ID_PREFIX + 1, &end, 10);
    if (*end != '.' || slot >= rc->window)
        return NULL;
    struct request *rq = &rc->slots[slot];
    return rq->is_open && strcmp(rq->id, id) == 0 ? rq : NULL;
}

/* One element of the reply list. What is not a reply to an open request of ours is ignored. */
static void
take_answer(struct requests_client *rc, const char *text, size_t len)
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
        if (rq) {
            struct requests_reply *reply = answer_new(rc, rq, REQUESTS_RESULT);
            buf_append(&reply->text, document.at, document.len);
            reply_read(reply);
        }
    }
    buf_done(&id);
    buf_done(&copy);
}

/* ---- the connection ---- */

static void
link_reset(struct requests_client *rc)
{
    struct request *rq;

    redis_link_free(rc->link);
    rc->link = NULL;
    rc->is_greeted = false;
    rc->has_submit_script = false;
    rc->expect_len = 0;
    rc->pops = 0;
    DL_FOREACH(rc->open, rq)
        rq->is_queued = false;
}

/* The connection is of no use any more; the next one is tried after `wait_ms`. */
static void
link_drop(struct requests_client *rc, const char *why, int64_t wait_ms)
{
    if (why)
        note_why(rc, why);
    link_reset(rc);
    rc->losses++;
    rc->retry_at_ms = clock_mono_ms() + wait_ms;
}

static void
link_lost(struct requests_client *rc, const char *why)
{
    link_drop(rc, why, backoff_next_full_jitter(&rc->backoff));
}

/* Redis does not let us in: no repeat will help. */
static void
link_denied(struct requests_client *rc, const char *why)
{
    struct buf text = BUF_INIT;

    link_lost(rc, why);
    buf_printf(&text, "Redis refuses: %s", why);
    while (rc->open)
        answer_refused(rc, rc->open, -32002, buf_peek(&text), "{}");
    buf_done(&text);
}

static void
link_failed(struct requests_client *rc, const struct cb_error *err)
{
    if (err->code == REDIS_AUTH)
        link_denied(rc, err->text);
    else
        link_lost(rc, err->text);
}

/* A new reply list for each connection. */
static void
token_new(struct requests_client *rc)
{
    struct arena arena = ARENA_INIT;

    rnd_token(rc->token, REPLY_TOKEN);
    free(rc->reply_key);
    rc->reply_key = mem_strdup(keys_make(&arena, rc->prefix, KEY_REPLY, rc->token));
    arena_done(&arena);
}

static void
link_start(struct requests_client *rc)
{
    struct cb_error err = {0};

    token_new(rc);
    rc->last_io_ms = clock_mono_ms();
    if (redis_link_start(rc->target, rc->client_name, &rc->link, &err) != 0) {
        rc->link = NULL;
        link_failed(rc, &err);
    }
}

/* ---- writing ---- */

struct entry {
    const char *argv[32];
    size_t lens[32];
    int argc;
};

static void
entry_put(struct entry *e, const char *data, size_t len)
{
    cb_assert(e->argc < (int)CB_ARRAY_LEN(e->argv));
    e->argv[e->argc] = data;
    e->lens[e->argc++] = len;
}

static void
entry_field(struct entry *e, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    entry_put(e, name, strlen(name));
    entry_put(e, value, strlen(value));
}

static void
entry_fields(struct entry *e, const struct requests_client *rc, const struct request *rq)
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

static char *
stream_key(struct arena *arena, const struct requests_client *rc, const char *method)
{
    size_t len = strcspn(method, ".");
    const char *domain = arena_strndup(arena, method, len);
    if (strcmp(domain, "schedule") == 0)
        domain = "task";
    return keys_make(arena, rc->prefix, KEY_REQUESTS, domain);
}

/* Finishing methods go in through a script that may run when memory is full. */
static void
queue_submit(struct requests_client *rc, const char *stream, const struct entry *fields)
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

static void
queue_request(struct requests_client *rc, struct request *rq)
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

static void
queue_pop(struct requests_client *rc)
{
    char seconds[32], count[16];

    snprintf(seconds, sizeof seconds, "%d.%03d", rc->pop_ms / 1000, rc->pop_ms % 1000);
    snprintf(count, sizeof count, "%d", POP_COUNT);
    redis_link_appendv(rc->link, "BLMPOP", seconds, "1", rc->reply_key, "LEFT", "COUNT", count, NULL);
    expect_push(rc, EXPECT_POP, NULL);
    rc->pops++;
}

/* Queues what is new, and one pop behind it. */
static void
queue_all(struct requests_client *rc)
{
    struct request *rq;
    bool has_new = false;

    if (rc->expect_len == 0) /* its silence so far was no sin */
        rc->last_io_ms = clock_mono_ms();
    DL_FOREACH(rc->open, rq) {
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
static void
take_link_error(struct requests_client *rc, enum redis_fault fault, const char *text)
{
    if (fault == REDIS_AUTH)
        link_denied(rc, text);
    else
        link_lost(rc, text);
}

/* Redis did not take an entry. */
static void
take_entry_error(struct requests_client *rc, struct request *rq, const reply_t *r)
{
    enum redis_fault fault = reply_fault(r);

    switch (fault) {
    case REDIS_NOSCRIPT: /* forgotten since the last call: a new connection loads it again */
        link_drop(rc, reply_str(r), 0);
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
        link_lost(rc, reply_str(r));
        break;
    default:
        if (rq)
            answer_refused(rc, rq, -32603, reply_str(r), "{}");
    }
}

static void
take_pop(struct requests_client *rc, const reply_t *r)
{
    const reply_t *list = reply_at(r, 1);

    for (size_t i = 0; list && i < reply_len(list); i++) {
        const reply_t *item = reply_at(list, i);
        if (item)
            take_answer(rc, reply_str(item), reply_len(item));
    }
}

/* One reply of Redis. May drop the connection. */
static void
take_reply(struct requests_client *rc, const reply_t *r)
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

static void
read_replies(struct requests_client *rc)
{
    struct cb_error err = {0};

    while (rc->link) {
        reply_t *r CB_CLEANUP(reply_free_ptr) = NULL;
        if (redis_link_take(rc->link, &r, &err) != 0) {
            link_failed(rc, &err);
            return;
        }
        if (!r)
            return;
        rc->last_io_ms = clock_mono_ms();
        if (rc->expect_len == 0) {
            link_lost(rc, "Redis sent a reply that nobody asked for");
            return;
        }
        take_reply(rc, r);
    }
}

static void
read_link(struct requests_client *rc)
{
    struct cb_error err = {0};

    if (redis_link_on_readable(rc->link, &err) != 0)
        link_failed(rc, &err);
    else
        read_replies(rc);
}

static void
write_link(struct requests_client *rc)
{
    struct cb_error err = {0};
    struct request *rq;

    if (!redis_link_wants_write(rc->link))
        return;
    DL_FOREACH(rc->open, rq)
        rq->is_sent |= rq->is_queued;
    if (redis_link_on_writable(rc->link, &err) != 0)
        link_failed(rc, &err);
}

/* ---- time ---- */

static void
expire_requests(struct requests_client *rc, int64_t now_ms)
{
    struct request *rq, *next;

    DL_FOREACH_SAFE(rc->open, rq, next)
        if (rq->deadline_ms && now_ms >= rq->deadline_ms)
            answer_nothing(rc, rq);
}

/* When a peer that says nothing counts as dead; 0: nothing is expected of it. */
static int64_t
silence_limit_ms(const struct requests_client *rc)
{
    if (!rc->link || rc->expect_len == 0)
        return 0;
    return rc->last_io_ms + rc->target->timeout_ms + (rc->pops ? rc->pop_ms : 0);
}

static int64_t
earlier(int64_t a, int64_t b)
{
    if (a == 0)
        return b;
    return b == 0 || a < b ? a : b;
}

static int64_t
next_due_ms(const struct requests_client *rc)
{
    int64_t due = silence_limit_ms(rc);
    const struct request *rq;

    if (rc->open && !rc->link)
        due = earlier(due, rc->retry_at_ms);
    DL_FOREACH(rc->open, rq)
        due = earlier(due, rq->deadline_ms);
    return due;
}

static void
check_time(struct requests_client *rc)
{
    int64_t now = clock_mono_ms();
    int64_t limit = silence_limit_ms(rc);

    if (limit && now >= limit)
        link_lost(rc, "Redis does not answer");
    expire_requests(rc, now);
    if (rc->open && !rc->link && now >= rc->retry_at_ms)
        link_start(rc);
}

/* ---- life ---- */

static int
open_exit_code(int fault)
{
    return fault == REDIS_AUTH ? EXITCODE_NOPERM : EXITCODE_UNAVAILABLE;
}

/* Connects, waiting while Redis loads its data. */
static int
open_link(struct requests_client *rc, int patience_ms, struct cb_error *err)
{
    struct cb_error why = {0};
    int64_t until = clock_mono_ms() + patience_ms;
    char address[600];

    token_new(rc);
    while (redis_link_open(rc->target, rc->client_name, &rc->link, &why) != 0) {
        rc->link = NULL;
        int64_t wait = backoff_next_full_jitter(&rc->backoff);
        if (why.code == REDIS_LOADING && clock_mono_ms() + wait < until) {
            poll(NULL, 0, (int)wait);
            continue;
        }
        redis_target_describe(rc->target, address, sizeof address);
        return cb_error_set(err, open_exit_code(why.code), "cannot reach Redis at %.100s: %.100s%s",
                            address, why.text,
                            why.code == REDIS_LOST ? "; is claudebenchd running?" : "");
    }
    backoff_reset(&rc->backoff);
    rc->is_greeted = true;
    rc->last_io_ms = clock_mono_ms();
    return 0;
}

int
requests_client_open(const struct requests_config *config, struct requests_client **ret,
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
    rc->pop_ms = config->pop_ms > 0 ? config->pop_ms : POP_MS;
    rc->window = config->window ? config->window : REQUESTS_WINDOW_DEFAULT;
    cb_assert(rc->window <= REQUESTS_WINDOW_MAX);
    rc->slots = mem_calloc(rc->window, sizeof *rc->slots);
    rc->free_slots = mem_calloc(rc->window, sizeof *rc->free_slots);
    for (unsigned i = rc->window; i-- > 0;)
        rc->free_slots[rc->free_count++] = i;
    rnd_token(rc->id_prefix, ID_PREFIX);
    backoff_init(&rc->backoff, RETRY_MIN_MS, RETRY_MAX_MS);
    if (open_link(rc, config->patience_ms > 0 ? config->patience_ms : PATIENCE_MS, err) != 0) {
        requests_client_free(rc);
        return -1;
    }
    *ret = rc;
    return 0;
}

void
requests_client_free(struct requests_client *rc)
{
    struct ready *ready, *next;

    if (!rc)
        return;
    while (rc->open)
        request_close(rc, rc->open);
    DL_FOREACH_SAFE(rc->ready, ready, next) {
        requests_reply_done(&ready->reply);
        free(ready);
    }
    redis_link_free(rc->link);
    free(rc->slots);
    free(rc->free_slots);
    free(rc->expects);
    free(rc->reply_key);
    free(rc->prefix);
    free(rc->actor);
    free(rc->session);
    free(rc->agent);
    free(rc->trace);
    free(rc->client_name);
    free(rc);
}

bool
requests_client_has_room(const struct requests_client *rc)
{
    return rc->free_count > 0;
}

unsigned
requests_client_in_flight(const struct requests_client *rc)
{
    return rc->window - rc->free_count + rc->ready_count;
}

bool
requests_client_is_up(const struct requests_client *rc, const char **ret_why)
{
    if (ret_why)
        *ret_why = rc->why;
    return rc->link && rc->is_greeted;
}

unsigned
requests_client_losses(const struct requests_client *rc)
{
    return rc->losses;
}

static void
request_choose_idem(struct request *rq, const char *idem)
{
    rq->idem[0] = '\0';
    if (idem)
        snprintf(rq->idem, sizeof rq->idem, "%s", idem);
    else if (rq->flags & METHOD_WRITE)
        rnd_token(rq->idem, IDEM_RANDOM);
}

void
requests_client_submit(struct requests_client *rc, const struct requests_call *call)
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
    rq->params = call->params ? mem_strndup(call->params, call->params_len) : mem_strdup("{}");
    rq->params_len = call->params ? call->params_len : 2;
    if (call->timeout_ms > 0)
        rq->deadline_ms = clock_mono_ms() + call->timeout_ms;
    if (call->ttl_ms > 0)
        snprintf(rq->ttl, sizeof rq->ttl, "%" PRId64, call->ttl_ms);
    snprintf(rq->id, sizeof rq->id, "%s-%u.%" PRIu64, rc->id_prefix, rq->slot, rq->seq);
    request_choose_idem(rq, call->idem);
    DL_APPEND(rc->open, rq);
}

/* ---- the event loop's side ---- */

void
requests_client_prepare(struct requests_client *rc, struct pollfd *ret_pfd, int *ret_timeout_ms)
{
    check_time(rc);
    if (rc->link) {
        queue_all(rc);
        if (rc->is_greeted)
            write_link(rc);
    }
    int64_t due = next_due_ms(rc);
    int64_t left = due - clock_mono_ms();
    ret_pfd->fd = rc->link ? redis_link_fd(rc->link) : -1;
    ret_pfd->events = POLLIN;
    ret_pfd->revents = 0;
    if (rc->link && redis_link_wants_write(rc->link))
        ret_pfd->events |= POLLOUT;
    *ret_timeout_ms = due == 0 ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
    if (rc->ready)
        *ret_timeout_ms = 0;
}

void
requests_client_pump(struct requests_client *rc, short revents)
{
    if (rc->link && (revents & POLLOUT))
        write_link(rc);
    if (rc->link && (revents & (POLLIN | POLLHUP | POLLERR)))
        read_link(rc);
    check_time(rc);
}

bool
requests_client_take(struct requests_client *rc, struct requests_reply *reply)
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

int
requests_client_next(struct requests_client *rc, int timeout_ms, struct requests_reply *reply)
{
    int64_t until = timeout_ms < 0 ? 0 : clock_mono_ms() + timeout_ms;

    while (!requests_client_take(rc, reply)) {
        struct pollfd pfd;
        int wait;
        if (!rc->open)
            return 0;
        requests_client_prepare(rc, &pfd, &wait);
        if (until) {
            int64_t left = until - clock_mono_ms();
            if (left <= 0 && !rc->ready)
                return 0;
            if (left >= 0 && (wait < 0 || left < wait))
                wait = (int)left;
        }
        int n = poll(&pfd, pfd.fd >= 0 ? 1 : 0, wait);
        if (n < 0 && errno == EINTR && !rc->ready)
            return 0;
        requests_client_pump(rc, n > 0 ? pfd.revents : 0);
    }
    return 1;
}

void
requests_client_call(struct requests_client *rc, const struct requests_call *call,
                     struct requests_reply *reply)
{
    cb_assert(requests_client_in_flight(rc) == 0);
    requests_client_submit(rc, call);
    while (requests_client_next(rc, -1, reply) == 0)
        continue;
}
