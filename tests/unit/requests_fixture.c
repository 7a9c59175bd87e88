/*
 * requests_fixture.c: see requests_fixture.h.
 */
#include "common/compat.h"
#include "requests_fixture.h"

#include "common/mem.h"

const struct requests_config base_config = {
    .prefix = PREFIX,
    .actor = "tester",
    .client_name = "check",
    .pop_ms = 200,
};

void world_open(struct world *w, const struct requests_config *config)
{
    struct cb_error err = {0};
    struct requests_config own = *config;
    *w = (struct world){.f = redis_fixture_start(NULL), .stream = PREFIX ":requests:task"};
    w->worker = redis_fixture_link(w->f);
    own.target = &w->f->target;
    ck_assert_msg(requests_client_open(&own, &w->rc, &err) == 0, "%s", err.text);
}

void world_close(struct world *w)
{
    requests_client_free(w->rc);
    redis_link_free(w->worker);
    redis_fixture_free(w->f);
}

void submit(struct world *w, const char *method, const char *params, uint64_t tag,
            int64_t timeout_ms)
{
    struct requests_call call = {
        .method = method,
        .params = params,
        .params_len = strlen(params),
        .tag = tag,
        .timeout_ms = timeout_ms,
    };
    requests_client_submit(w->rc, &call);
}

void turn(struct requests_client *rc, int most_ms)
{
    struct pollfd fds[REQUESTS_POLLFDS];
    int wait;
    requests_client_prepare(rc, fds, &wait);
    if (wait < 0 || wait > most_ms)
        wait = most_ms;
    int n = poll(fds, REQUESTS_POLLFDS, wait);
    requests_client_pump(rc, n > 0 ? fds : NULL);
}

reply_t *worker_call(struct world *w, const char *command, const char *a, const char *b,
                     const char *c)
{
    struct cb_error err = {0};
    reply_t *r = NULL;
    int rc = c   ? redis_link_callv(w->worker, &r, &err, command, a, b, c, NULL)
             : b ? redis_link_callv(w->worker, &r, &err, command, a, b, NULL)
             : a ? redis_link_callv(w->worker, &r, &err, command, a, NULL)
                 : redis_link_callv(w->worker, &r, &err, command, NULL);
    ck_assert_msg(rc == 0, "%s: %s", command, err.text);
    return r;
}

static bool has_entries(void *arg)
{
    struct world *w = arg;
    turn(w->rc, 5);
    reply_t *r = worker_call(w, "XLEN", w->stream, NULL, NULL);
    bool is_there = (size_t)reply_int(r) >= w->wanted;
    reply_free(r);
    return is_there;
}

reply_t *entries(struct world *w, size_t n)
{
    w->wanted = n;
    fixture_wait_until(has_entries, w, 5000, "requests in the stream");
    return worker_call(w, "XRANGE", w->stream, "-", "+");
}

const char *field(const reply_t *all, size_t i, const char *name)
{
    const reply_t *fields = reply_at(reply_at(all, i), 1);
    for (size_t k = 0; k + 1 < reply_count(fields); k += 2)
        if (strcmp(reply_str(reply_at(fields, k)), name) == 0)
            return reply_str(reply_at(fields, k + 1));
    return NULL;
}

void push(struct world *w, const char *token, const char *text)
{
    char key[128];
    snprintf(key, sizeof key, PREFIX ":reply:%s", token);
    reply_free(worker_call(w, "RPUSH", key, text, NULL));
}

void answer(struct world *w, const reply_t *all, size_t i, const char *body)
{
    char *text = mem_printf("{\"jsonrpc\":\"2.0\",\"id\":\"%s\",%s}", field(all, i, "id"), body);
    push(w, field(all, i, "reply"), text);
    free(text);
}

struct requests_reply next(struct world *w)
{
    struct requests_reply reply = REQUESTS_REPLY_INIT;
    ck_assert_int_eq(requests_client_next(w->rc, 5000, &reply), 1);
    return reply;
}

void serve(struct world *w, const reply_t *all, size_t i)
{
    answer(w, all, i, "\"result\":{}");
    struct requests_reply reply = next(w);
    ck_assert_int_eq(reply.outcome, REQUESTS_RESULT);
    requests_reply_done(&reply);
}

bool span_is(struct json_span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

void kill_clients(struct world *w)
{
    reply_free(worker_call(w, "CLIENT", "KILL", "TYPE", "normal"));
}
