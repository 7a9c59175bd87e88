/*
 * admission.c: see admission.h. The layout of the arguments is lua/include/gate.lua's.
 */
#include "common/compat.h"
#include "worker/admission.h"

#include "common/fault.h"

enum { GATE_ARGS = 13 };

static const struct method_options *options_of(const struct options *opts,
                                               const struct handler *handler)
{
    return handler ? &opts->methods[handler->method] : NULL;
}

size_t admission_count(const struct options *opts, const struct handler *handler)
{
    const struct method_options *m = options_of(opts, handler);

    if (!m || (m->rate_limit == 0 && m->breaker.threshold == 0))
        return 0;
    return GATE_ARGS;
}

static char flag_of(const struct request *r)
{
    if (r->is_admitted)
        return r->is_late_counted ? 'b' : 'e';
    return r->is_late_counted ? 't' : '.';
}

void admission_put_args(struct script_call *call, const struct options *opts,
                        const struct handler *handler, struct request *const *requests, size_t len,
                        struct arena *arena)
{
    const struct method_options *m = options_of(opts, handler);

    if (admission_count(opts, handler) == 0)
        return;
    script_call_arg_str(call, methods[handler->method].name);
    script_call_arg_int(call, m->rate_limit);
    script_call_arg_int(call, m->rate_window_ms);
    script_call_arg_int(call, m->breaker.threshold);
    script_call_arg_int(call, m->breaker.window_ms);
    script_call_arg_int(call, m->breaker.open_ms);
    script_call_arg_int(call, m->breaker.open_max_ms);
    script_call_arg_int(call, m->breaker.backoff);
    script_call_arg_int(call, m->breaker.half_open);
    script_call_arg_int(call, m->breaker.close_after);
    script_call_arg_int(call, m->breaker.permit_ms);
    script_call_arg_str(call, m->breaker.depends_on);
    char *flags = arena_alloc(arena, len + 1);
    for (size_t i = 0; i < len; i++)
        flags[i] = flag_of(requests[i]);
    script_call_arg(call, flags, len);
}

/* ---- work outside of Redis ---- */

static int enter(struct request *r, const struct handler_context *ctx, struct arena *arena,
                 struct session *session, struct cb_error *err)
{
    struct script_call call;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;

    script_call_init(&call, SCRIPT_GATE_ENTER);
    script_call_key(&call, keys_make(arena, ctx->prefix, KEY_EVENTS));
    script_call_arg_str(&call, arena_printf(arena, "%s:", ctx->prefix));
    script_call_arg_str(&call, options_events_policy(ctx->opts, arena));
    script_call_arg_str(&call, r->entry_id);
    script_call_arg_int(&call, r->deadline_ms);
    script_call_arg(&call, r->actor.at ? r->actor.at : "", r->actor.len);
    admission_put_args(&call, ctx->opts, r->handler, &r, 1, arena);
    int status = scripts_run(session->link, &call, &reply, err);
    script_call_done(&call);
    if (status != 0 || scripts_check_reply(SCRIPT_GATE_ENTER, reply, 1, err) != 0)
        return -1;
    int64_t code = reply_int(reply_at(reply, 0));
    if (code > 0 || code < INT16_MIN)
        return cb_error_set(err, REDIS_LOST, "gate_enter says %" PRId64, code);
    if (code == 0) {
        r->is_admitted = true;
        return 0;
    }
    const reply_t *message = reply_at(reply, 1), *data = reply_at(reply, 2);
    r->refused = (int)code;
    r->message = arena_strndup(arena, reply_str(message), reply_bytes(message));
    r->data = arena_strndup(arena, reply_str(data), reply_bytes(data));
    return 0;
}

static void wait_for(void *arg, int64_t ms)
{
    supervised_wait(arg, ms);
}

int admission_work(struct request *r, const struct handler_context *ctx, struct arena *arena,
                   struct session *session, struct cb_error *err)
{
    if (r->refused || !r->handler->work)
        return 0;
    if (admission_count(ctx->opts, r->handler) > 0 && enter(r, ctx, arena, session, err) != 0)
        return -1;
    if (r->refused)
        return 0;
    fault_point("work");
    /* The commit measures the deadline, in whole ms of Redis' clock: work that is cut must be past it. */
    struct work w = {
        .wait = wait_for, .arg = session->sup, .limit_ms = r->deadline_ms ? r->ttl + 2 : INT64_MAX};
    r->handler->work(&r->prep, &w);
    return 0;
}
