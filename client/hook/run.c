/*
 * run.c: one call, from the agent's event to the answer. See hook.h.
 */
#include "common/compat.h"
#include "client/hook/hook.h"

#include "common/clock.h"
#include "common/fault.h"

#include <poll.h>

enum {
    READ_CHUNK = 65536,
    STALL_MS = 100,        /* an agent that leaves the pipe open has said all by then */
    AFTER_BUDGET_MS = 250, /* nobody waits for it */
};

/* ---- stdin ---- */

static bool is_whole(const struct buf *text)
{
    return text->len > 0 && json_check(text->data, text->len, NULL, NULL, NULL) == 0;
}

/* Everything up to the end; or, from an agent that keeps its end open, one whole document. Returns 0 or -1. */
static int read_event(int fd, struct buf *out, struct cb_error *err)
{
    int64_t until = clock_mono_ms() + HOOK_STDIN_MS;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = until - clock_mono_ms();
        int ready = poll(&p, 1, left < STALL_MS ? (left > 0 ? (int)left : 0) : STALL_MS);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0 && is_whole(out))
            return 0;
        if (ready == 0 && left > 0)
            continue;
        if (ready == 0)
            return cb_error_set(err, 0, "the agent's event did not come to its end");
        ssize_t n = read(fd, buf_reserve(out, READ_CHUNK), READ_CHUNK);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return cb_error_set(err, 0, "the agent's event cannot be read: %s", strerror(errno));
        if (n == 0)
            return 0;
        out->len += (size_t)n;
        if (out->len > HOOK_STDIN_MAX)
            return cb_error_set(err, 0, "the agent's event is larger than %d bytes",
                                HOOK_STDIN_MAX);
    }
}

/* ---- one call ---- */

/* Returns whether the daemon's record of it, if it made one, is not what was decided in the end; `why` says the reason. */
static bool decide(const struct hook *hook, struct hook_verdict *ret, struct hook_link **ret_link,
                   struct cb_error *why)
{
    bool is_own = true;

    if (hook_ask(hook, ret, ret_link, why) == 0) {
        is_own = hook_decide_by_project(hook, ret);
        cb_error_set(why, 0, "by the project's rules");
    } else {
        fault_point("hook_local");
        hook_decide_here(hook, ret);
    }
    if (hook->record->tool && strcmp(hook->record->tool, HOOK_CHECK_TOOL) == 0) {
        struct hook_verdict refusal = {.action = RULES_DENY, .reason = "refused, as a test"};
        if (!*ret_link)
            refusal.reason = arena_printf(hook->arena, "refused, as a test; without the daemon: %s",
                                          why->text);
        hook_verdict_join(ret, &refusal, hook->arena);
    }
    return is_own && hook->record->event->kind != HOOK_TASK;
}

static void answer_record(const struct hook_record *record, const struct hook_policy *policy,
                          struct arena *arena, hook_answer_fn *answer, void *arg)
{
    struct hook hook = {.record = record, .policy = policy, .arena = arena};
    struct hook_verdict verdict = {.action = RULES_NONE};
    struct hook_answer said;
    struct hook_link *link = NULL;
    struct cb_error why = {0};

    bool is_own = decide(&hook, &verdict, &link, &why);
    fault_point("hook_decided");
    hook_say(record, &verdict, arena, &said);
    answer(arg, &said);
    fault_point("hook_answered");
    /* From here on the agent has its answer. */
    if (is_own)
        hook_spool_add(&hook, &verdict, why.text);
    if (link) {
        hook_chain_remember(policy, link, verdict.version, AFTER_BUDGET_MS);
        hook_spool_send(policy, link, AFTER_BUDGET_MS);
    }
    hook_link_close(link);
    buf_done(&said.out);
    buf_done(&said.err);
}

/* hooks.on_error, when there is no event to answer: it may have been one that asks for a decision. */
static void answer_error(const struct hook_policy *policy, const char *reason,
                         hook_answer_fn *answer, void *arg)
{
    struct hook_answer said = {.exit = 0};

    if (!policy->opts || policy->opts->hooks.on_error != HOOKS_NONE)
        hook_say_refusal(reason, &said);
    answer(arg, &said);
    buf_done(&said.out);
    buf_done(&said.err);
}

void hook_run(const struct hook_call *call, hook_answer_fn *answer, void *arg)
{
    struct arena arena = ARENA_INIT;
    struct buf text = BUF_INIT;
    struct hook_policy policy = {0};
    struct hook_record record;
    struct cb_error err = {0}, config_err = {0};
    struct hook_answer nothing = {.exit = 0};

    int has_text = read_event(call->fd, &text, &err);
    enum hook_read status = has_text == 0 ? hook_read(call->agent, buf_peek(&text), text.len,
                                                      &arena, &record, &err)
                                          : HOOK_READ_BAD;
    fault_point("hook_read");
    int has_policy = status == HOOK_READ_IGNORED
                         ? -1
                         : hook_policy_load(call->config, &policy, &config_err);
    if (status == HOOK_READ_IGNORED) {
        answer(arg, &nothing);
    } else if (status == HOOK_READ_BAD) {
        answer_error(&policy, err.text, answer, arg);
    } else if (has_policy != 0) {
        struct hook hook = {.record = &record, .policy = &policy, .arena = &arena};
        struct hook_verdict verdict;
        struct hook_answer said;
        hook_verdict_error(&hook, config_err.text, &verdict);
        hook_say(&record, &verdict, &arena, &said);
        answer(arg, &said);
        buf_done(&said.out);
        buf_done(&said.err);
    } else {
        answer_record(&record, &policy, &arena, answer, arg);
    }
    hook_policy_done(&policy);
    buf_done(&text);
    arena_done(&arena);
}
