/*
 * commit.c: see commit.h. The layout of KEYS and ARGV is lua/include/envelope.lua's.
 */
#include "common/compat.h"
#include "worker/commit.h"

#include "common/clock.h"
#include "common/dead_letters.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/admission.h"

/* A request's code in the reply of lua/include/commit.lua: one of these, or that of its error. */
enum {
    CODE_SUPERSEDED = -1,
    CODE_DONE = 0,
    CODE_REPLAYED = 1,
    CODE_PARKED = 2,
    CODE_CLAIMED_NONE = 3,
    CODE_CLAIMED = 4,
    CODE_INTERNAL = -32603,
    CODE_RATE_LIMITED = -32000,
    CODE_CIRCUIT_OPEN = -32001,
};

enum {
    /* Of that reply: the codes, errors, the backlog; SCRIPT_REFUSE has one more. */
    REPLY_MEMBERS = 3,
    FAULT_WAIT_MIN_MS = 50,
    FAULT_WAIT_MAX_MS = 2000,
    REFUSAL_ARGS = 5, /* beside the entry's fields */
};

/* ---- grouping ---- */

static bool is_kind(const struct commit *c, const struct request *r, enum script_id script)
{
    return c->script == script && c->handler == (r->refused ? NULL : r->handler);
}

/* A full one may have been sent: not even a request without any operation, such as one of an unknown method, may join it. And what
 * fills a group by itself does not wait with others for its commit. */
static bool fits(const struct commit *c, const struct request *r)
{
    unsigned further = commit_further(r->prep.operations);

    return !c->is_full && c->len < COMMIT_REQUESTS_MAX && further < COMMIT_FURTHER_MAX &&
           c->further + further <= COMMIT_FURTHER_MAX && c->bytes + r->bytes <= COMMIT_BYTES_MAX;
}

static struct commit *begin_group(const struct request *r, enum script_id script,
                                  struct arena *arena)
{
    struct commit *c = arena_alloc(arena, sizeof *c);

    c->script = script;
    c->handler = r->refused ? NULL : r->handler;
    script_call_init(&c->call, script);
    return c;
}

void commit_group(struct commit **list, struct request *r, struct arena *arena)
{
    enum script_id script = r->refused ? SCRIPT_REFUSE : r->handler->script;
    struct commit **end = list, *c = NULL;

    for (; *end; end = &(*end)->next)
        if (is_kind(*end, r, script))
            c = *end;
    if (c && !fits(c, r)) { /* older ones of its kind are full, too */
        c->is_full = true;
        c = NULL;
    }
    if (!c)
        c = *end = begin_group(r, script, arena);
    c->requests[c->len++] = r;
    c->further += commit_further(r->prep.operations);
    c->bytes += r->bytes;
    c->is_full = c->len >= COMMIT_REQUESTS_MAX || c->further >= COMMIT_FURTHER_MAX ||
                 c->bytes >= COMMIT_BYTES_MAX;
}

void commit_list_done(struct commit *list)
{
    for (struct commit *c = list; c; c = c->next)
        script_call_done(&c->call);
}

/* ---- building ---- */

static bool is_same_field(struct request_field a, struct request_field b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* The distinct reply lists of a group, numbered from 1. */
struct reply_lists {
    const char *keys[COMMIT_REQUESTS_MAX];
    struct request_field tokens[COMMIT_REQUESTS_MAX];
    size_t len;
};

static size_t reply_list_number(struct reply_lists *lists, const struct request *r,
                                const char *prefix, struct arena *arena)
{
    if (!r->can_reply)
        return 0;
    for (size_t i = 0; i < lists->len; i++)
        if (is_same_field(lists->tokens[i], r->reply))
            return i + 1;
    char *token = arena_strndup(arena, r->reply.at, r->reply.len);
    lists->tokens[lists->len] = r->reply;
    lists->keys[lists->len++] = keys_make(arena, prefix, KEY_REPLY, token);
    return lists->len;
}

/* Code, message, data, reason, and for the dead stream the entry's fields as they came. */
static void add_refusal_args(struct script_call *call, const struct request *r)
{
    size_t fields = r->dead_reason ? reply_count(r->raw) : 0;

    script_call_arg_int(call, r->refused);
    script_call_arg_str(call, r->message);
    script_call_arg_str(call, r->data);
    script_call_arg_str(call, r->dead_reason ? r->dead_reason : "");
    script_call_arg_int(call, (int64_t)fields);
    for (size_t i = 0; i < fields; i++)
        script_call_arg(call, reply_str(reply_at(r->raw, i)), reply_bytes(reply_at(r->raw, i)));
}

/* The distinct callers of a group, that is what requests say of who asks, numbered from 1. */
struct callers {
    const struct request *first[COMMIT_REQUESTS_MAX]; /* the first request of each */
    size_t len;
};

static size_t caller_number(struct callers *callers, const struct request *r)
{
    for (size_t i = 0; i < callers->len; i++) {
        const struct request *of = callers->first[i];
        if (is_same_field(of->actor, r->actor) && is_same_field(of->session, r->session) &&
            is_same_field(of->agent, r->agent) && is_same_field(of->trace, r->trace))
            return i + 1;
    }
    callers->first[callers->len++] = r;
    return callers->len;
}

static void add_field(struct script_call *call, struct request_field f)
{
    script_call_arg(call, f.at ? f.at : "", f.len);
}

static void add_callers(struct script_call *call, const struct callers *callers)
{
    for (size_t i = 0; i < callers->len; i++) {
        const struct request *r = callers->first[i];
        add_field(call, r->actor);
        add_field(call, r->session);
        add_field(call, r->agent);
        add_field(call, r->trace);
    }
}

static void add_scope(struct script_call *call, const struct request *r)
{
    if (r->idem_scope[0])
        script_call_arg_str(call, r->idem_scope);
}

/* The numbers of a request's reply list and caller, and of its own keys and arguments, as one text: what the requests of a group
 * mostly have in common, Lua takes apart once. */
struct form {
    size_t list, caller, keys, args;
};

static struct form form_of(const struct request *r, size_t list, size_t caller)
{
    struct form form = {list, caller, r->prep.keys.len, r->prep.args.len};

    if (r->refused) {
        form.keys = 0;
        form.args = REFUSAL_ARGS + (r->dead_reason ? reply_count(r->raw) : 0);
    }
    return form;
}

static void add_form(struct script_call *call, struct form form, struct arena *arena)
{
    script_call_arg_str(
        call, arena_printf(arena, "%zu %zu %zu %zu", form.list, form.caller, form.keys, form.args));
}

static void add_request_args(struct script_call *call, const struct request *r, struct form form,
                             struct arena *arena)
{
    script_call_arg_str(call, r->entry_id);
    script_call_arg_str(call, r->id_json);
    script_call_arg_int(call, r->deadline_ms);
    script_call_arg_str(call, r->idem_scope[0] ? r->params_hash : "");
    add_form(call, form, arena);
    if (r->refused)
        add_refusal_args(call, r);
    else
        for (size_t i = 0; i < r->prep.args.len; i++)
            script_call_arg(call, r->prep.args.items[i].data, r->prep.args.items[i].len);
    add_scope(call, r);
}

static void add_request_keys(struct script_call *call, const struct request *r)
{
    for (size_t i = 0; !r->refused && i < r->prep.keys.len; i++)
        script_call_key(call, r->prep.keys.items[i].data);
}

static void operation_args(const struct commit *c, const struct handler_context *ctx,
                           struct arena *arena, struct arg_list *keys, struct arg_list *args)
{
    if (c->handler && c->script != SCRIPT_REFUSE) {
        if (c->handler->operation)
            c->handler->operation(ctx, arena, keys, args);
        return;
    }
    const char *dead = keys_make(arena, ctx->prefix, KEY_DEAD);
    arg_list_add_str(arena, keys, dead);
    arg_list_add_int(arena, args, ctx->opts->limits.dead_entries);
    arg_list_add_int(arena, args, ctx->opts->limits.dead_bytes);
}

void commit_build(struct commit *c, const struct handler_context *ctx, struct arena *arena)
{
    static const enum key_id fixed[] = {KEY_EVENTS, KEY_DUPLICATES, KEY_CLOCK, KEY_META};
    struct reply_lists lists = {.len = 0};
    struct callers callers = {.len = 0};
    struct arg_list keys = {0}, args = {0};
    size_t list_of[COMMIT_REQUESTS_MAX], caller_of[COMMIT_REQUESTS_MAX];
    struct script_call *call = &c->call;

    script_call_reset(call, c->script);
    operation_args(c, ctx, arena, &keys, &args);
    script_call_key(call, keys_make(arena, ctx->prefix, KEY_REQUESTS, ctx->domain));
    for (size_t i = 0; i < CB_ARRAY_LEN(fixed); i++)
        script_call_key(call, keys_make(arena, ctx->prefix, fixed[i]));
    for (size_t i = 0; i < keys.len; i++)
        script_call_key(call, keys.items[i].data);
    for (size_t i = 0; i < c->len; i++) {
        list_of[i] = reply_list_number(&lists, c->requests[i], ctx->prefix, arena);
        caller_of[i] = caller_number(&callers, c->requests[i]);
    }
    for (size_t i = 0; i < lists.len; i++)
        script_call_key(call, lists.keys[i]);
    for (size_t i = 0; i < c->len; i++)
        add_request_keys(call, c->requests[i]);

    script_call_arg_str(call, arena_printf(arena, "%s:", ctx->prefix));
    script_call_arg_int(call, (int64_t)c->len);
    script_call_arg_int(call, (int64_t)lists.len);
    script_call_arg_int(call, (int64_t)keys.len);
    script_call_arg_int(call, (int64_t)args.len);
    script_call_arg_int(call, ctx->opts->limits.idempotency_ttl_ms);
    script_call_arg_int(call, ctx->opts->limits.idempotency_bytes);
    script_call_arg_str(call, options_events_policy(ctx->opts, arena));
    const struct handler *gated = c->script == SCRIPT_REFUSE ? NULL : c->handler;
    script_call_arg_int(call, (int64_t)admission_count(ctx->opts, gated));
    script_call_arg_int(call, (int64_t)callers.len);
    for (size_t i = 0; i < args.len; i++)
        script_call_arg(call, args.items[i].data, args.items[i].len);
    admission_put_args(call, ctx->opts, gated, c->requests, c->len, arena);
    add_callers(call, &callers);
    for (size_t i = 0; i < c->len; i++)
        add_request_args(call, c->requests[i], form_of(c->requests[i], list_of[i], caller_of[i]),
                         arena);
}

/* ---- the reply ---- */

/* What a reader of the log needs to find a request again: its entry, its id, what it asked for, its caller's trace. */
/* clang-format off */
#define LOG_REQUEST(r)                                                                             \
    LOG_S("entry", (r)->entry_id), LOG_SN("id", (r)->id.at, (r)->id.len),                          \
    LOG_SN("method", (r)->method.at, (r)->method.len < 64 ? (r)->method.len : 64),                 \
    LOG_SN("trace", (r)->trace.at, (r)->trace.len)
/* clang-format on */

/* `problem`: what the script failed with; NULL: it has answered the code itself, which is all that it tells us. */
static void log_outcome(const struct request *r, int64_t code, const char *problem)
{
    const char *reason = r->dead_reason          ? r->dead_reason
                         : r->message            ? r->message
                         : problem               ? problem
                         : code == CODE_INTERNAL ? "answered by the operation itself"
                                                 : NULL;

    if (code >= 0 ||
        (code != CODE_INTERNAL && !r->dead_reason && !log_is_wanted(EV_request_refused)))
        return;
    enum log_event ev = code == CODE_INTERNAL ? EV_request_failed
                        : r->dead_reason      ? EV_dead_letter
                                              : EV_request_refused;
    log_event(ev, LOG_REQUEST(r), LOG_I("code", code), LOG_S("reason", reason));
}

/* What came of a claim, of its own or of a completion that asked for the next task. */
static void count_claim(struct scoreboard_slot *slot, const struct request *r, int64_t code)
{
    enum scoreboard_claim claim;

    if (code == CODE_CLAIMED)
        claim = CLAIM_CLAIMED;
    else if (code == CODE_CLAIMED_NONE)
        claim = CLAIM_EMPTY;
    else if (code == CODE_PARKED)
        claim = CLAIM_WAITING;
    else if (r->handler->method != METHOD_task_claim)
        return;
    else
        claim = code < 0 ? CLAIM_REFUSED : CLAIM_REPEATED;
    atomic_fetch_add_explicit(&slot->claims[claim], 1, memory_order_relaxed);
}

static void count_decisions(struct scoreboard_slot *slot, const struct request *r)
{
    uint64_t n = r->prep.counted ? r->prep.counted : 1;
    enum scoreboard_hook_event event = r->handler->method == METHOD_hook_user_prompt
                                           ? HOOK_EVENT_USER_PROMPT
                                           : HOOK_EVENT_PRE_TOOL;

    for (unsigned i = 0; i < SCOREBOARD_DECISIONS; i++)
        if (r->prep.counts & 1u << i) {
            atomic_fetch_add_explicit(&slot->decisions[i], n, memory_order_relaxed);
            if (r->handler->method != METHOD_hook_spool)
                atomic_fetch_add_explicit(&slot->hook_events[event][i], n, memory_order_relaxed);
        }
}

/* A parked claim counts like an answered one: for this worker it is done. */
static void count_request(struct supervised *sup, const struct request *r, int64_t code,
                          const char *problem)
{
    struct scoreboard_slot *slot = sup->slot;

    atomic_fetch_add_explicit(&slot->requests, 1, memory_order_relaxed);
    if (code == CODE_SUPERSEDED) {
        atomic_fetch_add_explicit(&slot->duplicates, 1, memory_order_relaxed);
        log_event(EV_commit_superseded, LOG_REQUEST(r));
        return;
    }
    log_outcome(r, code, problem);
    enum scoreboard_code kind = scoreboard_code(code);
    if (!r->handler) {
        atomic_fetch_add_explicit(&slot->nameless[kind], 1, memory_order_relaxed);
        return;
    }
    if (code == CODE_DONE && r->prep.counts)
        count_decisions(slot, r);
    count_claim(slot, r, code);
    struct scoreboard_method *m = &slot->methods[r->handler->method];
    atomic_fetch_add_explicit(&m->requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->codes[kind], 1, memory_order_relaxed);
    if (r->refused || code == CODE_RATE_LIMITED || code == CODE_CIRCUIT_OPEN)
        atomic_fetch_add_explicit(&m->refused, 1, memory_order_relaxed);
    else if (code < 0)
        atomic_fetch_add_explicit(&m->errors, 1, memory_order_relaxed);
    scoreboard_observe(m, clock_mono_us() - r->read_us);
}

void commit_append(struct commit *c, struct redis_link *link)
{
    c->is_sent = true;
    c->sent_us = clock_mono_us();
    scripts_append(link, &c->call);
}

/* `errors`: each is {number of its request, text}; 0 is what the whole group paid for. NULL: none of this request. */
static const char *problem_of(const reply_t *errors, size_t number)
{
    for (size_t i = 0; i < reply_count(errors); i++)
        if (reply_int(reply_at(reply_at(errors, i), 0)) == (int64_t)number)
            return reply_str(reply_at(reply_at(errors, i), 1));
    return NULL;
}

static void log_script_errors(const struct commit *c, const reply_t *errors)
{
    for (size_t i = 0; i < reply_count(errors); i++) {
        int64_t number = reply_int(reply_at(reply_at(errors, i), 0));
        const char *text = reply_str(reply_at(reply_at(errors, i), 1));
        if (number < 1 || (uint64_t)number > c->len)
            log_event(EV_script_error, LOG_S("script", scripts_name(c->script)),
                      LOG_S("error", text));
        else
            log_event(EV_script_error, LOG_S("script", scripts_name(c->script)),
                      LOG_REQUEST(c->requests[number - 1]), LOG_S("error", text));
    }
}

int commit_take(struct commit *c, const reply_t *reply, struct supervised *sup,
                struct gate_weather *weather, struct cb_error *err)
{
    if (reply_is_error(reply))
        return reply_error(reply, err);
    const reply_t *codes = reply_at(reply, 0);
    const reply_t *errors = reply_at(reply, 1);
    if (scripts_check_reply(c->script, reply, REPLY_MEMBERS, err) != 0 ||
        scripts_check_reply(c->script, codes, c->len, err) != 0) {
        c->misread++;
        return -1;
    }
    for (size_t i = 0; i < c->len; i++)
        count_request(sup, c->requests[i], reply_int(reply_at(codes, i)),
                      problem_of(errors, i + 1));
    log_script_errors(c, errors);
    if (c->script == SCRIPT_REFUSE)
        dead_letters_log_dropped(reply_at(reply, 3));
    weather->backlog = reply_int(reply_at(reply, 2));
    atomic_fetch_add_explicit(&sup->slot->commits, 1, memory_order_relaxed);
    scoreboard_observe_script(&sup->slot->scripts[c->script], c->len, clock_mono_us() - c->sent_us);
    c->is_done = true;
    return 0;
}

/* ---- repair ---- */

static void become_refusal(struct commit *c, const struct handler_context *ctx, struct arena *arena,
                           int code, const char *message, const char *data)
{
    for (size_t i = 0; i < c->len; i++) {
        struct request *r = c->requests[i];
        if (r->refused)
            continue;
        r->refused = code;
        r->message = message;
        r->data = data;
    }
    c->script = SCRIPT_REFUSE;
    commit_build(c, ctx, arena);
}

static bool is_weather(int fault)
{
    return fault == REDIS_LOADING || fault == REDIS_BUSY || fault == REDIS_MISCONF ||
           fault == REDIS_NOREPLICAS;
}

static void say_retry(const struct commit *c, struct session *session, const struct cb_error *err)
{
    unsigned times;

    if (log_repeat_may(&session->commit_trouble, err->text, &times))
        log_event(EV_commit_retried, LOG_S("script", scripts_name(c->script)),
                  LOG_REQUEST(c->requests[0]), LOG_I("requests", c->len), LOG_S("error", err->text),
                  LOG_I("times", times));
}

int commit_repair(struct commit *c, const struct handler_context *ctx, struct arena *arena,
                  struct session *session, struct gate_weather *weather, struct cb_error *err)
{
    struct backoff wait;

    backoff_init(&wait, FAULT_WAIT_MIN_MS, FAULT_WAIT_MAX_MS);
    for (;;) {
        struct redis_link *link = session_second(session, err);
        if (!link)
            return -1;
        reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
        c->sent_us = clock_mono_us();
        if (session_repair(session, link, &c->call, &reply, err) == 0)
            return commit_take(c, reply, session->sup, weather, err);
        if (redis_link_is_lost(link) || redis_fault_is_elsewhere((enum redis_fault)err->code))
            return -1;
        if (err->code == REDIS_NOSCRIPT) { /* flushed again between loading and calling */
            supervised_wait(session->sup, backoff_next_full_jitter(&wait));
            if (session->sup->is_orphan)
                return -1;
            continue;
        }
        say_retry(c, session, err);
        if (is_weather(err->code) || (c->script == SCRIPT_REFUSE && err->code == REDIS_AUTH)) {
            supervised_wait(session->sup, backoff_next_full_jitter(&wait));
            if (session->sup->is_orphan)
                return -1;
        } else if (c->script != SCRIPT_REFUSE && err->code == REDIS_OOM) {
            become_refusal(c, ctx, arena, -32007, "memory full", "{\"retry_after_ms\":1000}");
        } else if (c->script != SCRIPT_REFUSE) {
            become_refusal(c, ctx, arena, -32603, "internal error", "{}");
        } else {
            return -1;
        }
    }
}
