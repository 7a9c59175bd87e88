/*
 * pattern_tasks.c: see pattern.h: one who creates tasks, and agents that are given them, complete them and want the next, in one
 * event loop. The agents are registered with their capacity: else there is nobody to push tasks to.
 */
#include "common/compat.h"
#include "bench/patterns/pattern.h"

#include "bench/env/stop.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/requests_client.h"

enum { WINDOW = 64, PATIENCE_MS = 20000, PAYLOAD = 200, ASK = 0, DONE = 1 };

struct agent {
    struct requests_client *rc;
    char id[16];
    unsigned held;    /* tasks whose completion is under way */
    bool is_asking;   /* a claim is under way */
    int64_t again_us; /* asks again then */
};

struct market {
    const struct pattern *pattern;
    struct requests_client *producer;
    struct agent agents[PATTERN_AGENTS];
    struct buf params, create;
    unsigned created, given, completed;
    int64_t given_us; /* when the last one was */
};

/* ---- asking ---- */

static struct requests_client *connect_as(struct env *env, const char *actor)
{
    struct requests_config config = {.target = &env->target,
                                     .prefix = env->opts->redis.prefix,
                                     .actor = actor,
                                     .client_name = "bench",
                                     .window = WINDOW};
    struct requests_client *rc = NULL;
    struct cb_error err;

    if (requests_client_open(&config, &rc, &err) != 0)
        stop_failed("redis: %s", err.text);
    return rc;
}

static void submit(struct requests_client *rc, const char *method, const struct buf *params,
                   uint64_t tag)
{
    requests_client_submit(rc, &(struct requests_call){.method = method,
                                                       .params = buf_peek(params),
                                                       .params_len = params->len,
                                                       .tag = tag,
                                                       .timeout_ms = 2 * PATIENCE_MS});
}

static void create(struct market *m)
{
    submit(m->producer, "task.create", &m->create, 0);
    m->created++;
}

static void claim(struct market *m, struct agent *a)
{
    buf_reset(&m->params);
    buf_printf(&m->params, "{\"workerId\":\"%s\",\"maxTasks\":%u", a->id,
               PATTERN_CAPACITY - a->held);
    buf_printf(&m->params, m->pattern->is_asking ? "}" : ",\"wait_ms\":%d}", PATIENCE_MS);
    submit(a->rc, "task.claim", &m->params, ASK);
    a->is_asking = true;
}

static void complete(struct market *m, struct agent *a, struct json_span task)
{
    struct json_item id, token;

    if (!json_find(task, "id", &id) || !json_find(task, "lease_token", &token))
        stop_failed("a task without id or token: %.*s", (int)task.len, task.at);
    buf_reset(&m->params);
    buf_printf(&m->params, "{\"id\":%.*s,\"lease_token\":%.*s,\"result\":\"done\"}",
               (int)id.value.len, id.value.at, (int)token.value.len, token.value.at);
    submit(a->rc, "task.complete", &m->params, DONE);
    a->held++;
    m->given++;
    m->given_us = clock_mono_us();
}

/* ---- replies ---- */

static void must_be_result(const struct requests_reply *reply)
{
    if (reply->outcome != REQUESTS_RESULT)
        stop_failed("a request failed: %d %s", reply->code, reply->message);
}

static void take_claimed(struct market *m, struct agent *a, const struct requests_reply *reply)
{
    struct json_item tasks, task;
    struct json_iter it;

    a->is_asking = false;
    if (!json_find(reply->result, "tasks", &tasks))
        stop_failed("a claim's reply is not as it should be");
    json_iter_init(&it, tasks.value);
    while (json_iter_next(&it, &task))
        complete(m, a, task.value);
    if (json_count(tasks.value) == 0 && m->pattern->is_asking)
        a->again_us = clock_mono_us() + PATTERN_PAUSE_MS * 1000;
}

static void take_replies(struct market *m, struct requests_client *rc, struct agent *a)
{
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;

    while (requests_client_take(rc, &reply)) {
        must_be_result(&reply);
        if (a && reply.tag == ASK) {
            take_claimed(m, a, &reply);
        } else if (a) {
            a->held--;
            m->completed++;
            a->again_us = 0;
        }
    }
}

/* Whoever can take more asks for it, as `claudebench work` does: at once, or after its pause when there was nothing. Returns the
 * ms until the next one does. */
static int ask_again(struct market *m)
{
    int64_t now = clock_mono_us(), next = INT64_MAX;

    for (unsigned i = 0; i < PATTERN_AGENTS; i++) {
        struct agent *a = &m->agents[i];
        if (a->is_asking || a->held == PATTERN_CAPACITY)
            continue;
        if (a->again_us <= now)
            claim(m, a);
        else if (a->again_us < next)
            next = a->again_us;
    }
    return next == INT64_MAX ? PATIENCE_MS : (int)((next - now) / 1000) + 1;
}

static void turn(struct market *m)
{
    struct pollfd fds[(PATTERN_AGENTS + 1) * REQUESTS_POLLFDS];
    int wait = ask_again(m);

    for (unsigned i = 0; i <= PATTERN_AGENTS; i++) {
        struct requests_client *rc = i < PATTERN_AGENTS ? m->agents[i].rc : m->producer;
        int its = -1;
        requests_client_prepare(rc, &fds[i * REQUESTS_POLLFDS], &its);
        if (its >= 0 && its < wait)
            wait = its;
    }
    int n = poll(fds, CB_ARRAY_LEN(fds), wait);
    stop_if_asked();
    if (n < 0)
        return;
    for (unsigned i = 0; i <= PATTERN_AGENTS; i++) {
        struct agent *a = i < PATTERN_AGENTS ? &m->agents[i] : NULL;
        struct requests_client *rc = a ? a->rc : m->producer;
        requests_client_pump(rc, &fds[i * REQUESTS_POLLFDS]);
        take_replies(m, rc, a);
    }
}

/* Until so many tasks are completed, with so many creations under way at most; *times may be NULL. Returns how many were. */
static unsigned run(struct market *m, unsigned tasks, unsigned in_flight,
                    struct pattern_times *times)
{
    unsigned first = m->completed, end = m->created + tasks;
    int64_t until = clock_mono_ms() + PATIENCE_MS, asked_us = 0;
    unsigned given = m->given;

    while (m->completed - first < tasks) {
        if (in_flight == 1 && m->created < end &&
            m->completed - first == tasks - (end - m->created) &&
            requests_client_in_flight(m->producer) == 0) {
            asked_us = clock_mono_us();
            create(m);
        }
        while (in_flight > 1 && m->created < end &&
               requests_client_in_flight(m->producer) < in_flight)
            create(m);
        turn(m);
        if (times && m->given > given && times->len < CB_ARRAY_LEN(times->us))
            times->us[times->len++] = m->given_us - asked_us;
        given = m->given;
        if (clock_mono_ms() > until) {
            fprintf(stderr, "claudebench-bench: %s: %u of %u tasks completed in %d s\n",
                    m->pattern->name, m->completed - first, tasks, PATIENCE_MS / 1000);
            break;
        }
    }
    return m->completed - first;
}

/* ---- life ---- */

static void open_market(struct market *m, struct env *env)
{
    m->producer = connect_as(env, "producer");
    buf_puts(&m->create, "{\"text\":\"a task of the bench\",\"payload\":\"");
    for (unsigned i = 0; i < PAYLOAD; i++)
        buf_putc(&m->create, 'x');
    buf_puts(&m->create, "\"}");
    for (unsigned i = 0; i < PATTERN_AGENTS; i++) {
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        struct agent *a = &m->agents[i];
        snprintf(a->id, sizeof a->id, "agent-%u", i);
        a->rc = connect_as(env, a->id);
        buf_reset(&m->params);
        buf_printf(&m->params, "{\"id\":\"%s\",\"capacity\":%d,\"lease_ms\":86400000}", a->id,
                   PATTERN_CAPACITY);
        requests_client_call(a->rc,
                             &(struct requests_call){.method = "system.register",
                                                     .params = buf_peek(&m->params),
                                                     .params_len = m->params.len,
                                                     .timeout_ms = PATIENCE_MS},
                             &reply);
        must_be_result(&reply);
    }
}

static void close_market(struct market *m)
{
    requests_client_free(m->producer);
    for (unsigned i = 0; i < PATTERN_AGENTS; i++)
        requests_client_free(m->agents[i].rc);
    buf_done(&m->params);
    buf_done(&m->create);
}

static void run_half(struct env *env, struct market *m, unsigned tasks, unsigned in_flight,
                     struct pattern_times *times, struct pattern_half *half)
{
    struct pattern_meter meter;

    pattern_begin(env, 0, &meter);
    half->asked = tasks;
    half->done = run(m, tasks, in_flight, times);
    pattern_end(env, &meter, 0, half);
}

void pattern_tasks(struct env *env, const struct pattern *pattern, unsigned divide,
                   struct pattern_round *ret_round, struct pattern_times *ret_times)
{
    struct market m = {.pattern = pattern, .params = BUF_INIT, .create = BUF_INIT};
    /* One who asks every 20 ms is a matter of seconds. */
    unsigned alone = PATTERN_ALONE / divide / (pattern->is_asking ? 4 : 1),
             at_once = PATTERN_AT_ONCE / divide;

    open_market(&m, env);
    run(&m, alone / 4, 1, NULL);
    run_half(env, &m, alone, 1, ret_times, &ret_round->alone);
    run(&m, at_once / 4, WINDOW, NULL);
    run_half(env, &m, at_once, WINDOW, NULL, &ret_round->at_once);
    close_market(&m);
}
