/*
 * check_requests_client.c: the caller's side of the stream protocol against a real Redis. A second
 * connection plays the worker: it reads the request stream and pushes replies.
 */
#include "common/compat.h"
#include "unit.h"

#include "common/clock.h"
#include "common/exitcode.h"
#include "common/mem.h"
#include "common/requests_client.h"
#include "redis_fixture.h"

#define PREFIX "cb"

struct world {
    struct redis_fixture *f;
    struct redis_link *worker;
    struct requests_client *rc;
    const char *stream;
    size_t wanted; /* entries that are waited for */
};

static const struct requests_config base_config = {
    .prefix = PREFIX,
    .actor = "tester",
    .client_name = "check",
    .pop_ms = 200,
};

static void world_open(struct world *w, const struct requests_config *config)
{
    struct cb_error err = {0};
    struct requests_config own = *config;
    *w = (struct world){.f = redis_fixture_start(NULL), .stream = PREFIX ":requests:task"};
    w->worker = redis_fixture_link(w->f);
    own.target = &w->f->target;
    ck_assert_msg(requests_client_open(&own, &w->rc, &err) == 0, "%s", err.text);
}

static void world_close(struct world *w)
{
    requests_client_free(w->rc);
    redis_link_free(w->worker);
    redis_fixture_free(w->f);
}

static void submit(struct world *w, const char *method, const char *params, uint64_t tag,
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

/* One turn of an event loop. */
static void turn(struct requests_client *rc, int most_ms)
{
    struct pollfd fds[REQUESTS_POLLFDS];
    int wait;
    requests_client_prepare(rc, fds, &wait);
    if (wait < 0 || wait > most_ms)
        wait = most_ms;
    int n = poll(fds, REQUESTS_POLLFDS, wait);
    requests_client_pump(rc, n > 0 ? fds : NULL);
}

static reply_t *worker_call(struct world *w, const char *command, const char *a, const char *b,
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

/* The entries of the stream once there are `n`. */
static reply_t *entries(struct world *w, size_t n)
{
    w->wanted = n;
    fixture_wait_until(has_entries, w, 5000, "requests in the stream");
    return worker_call(w, "XRANGE", w->stream, "-", "+");
}

static const char *field(const reply_t *all, size_t i, const char *name)
{
    const reply_t *fields = reply_at(reply_at(all, i), 1);
    for (size_t k = 0; k + 1 < reply_count(fields); k += 2)
        if (strcmp(reply_str(reply_at(fields, k)), name) == 0)
            return reply_str(reply_at(fields, k + 1));
    return NULL;
}

static void push(struct world *w, const char *token, const char *text)
{
    char key[128];
    snprintf(key, sizeof key, PREFIX ":reply:%s", token);
    reply_free(worker_call(w, "RPUSH", key, text, NULL));
}

static void answer(struct world *w, const reply_t *all, size_t i, const char *body)
{
    char *text = mem_printf("{\"jsonrpc\":\"2.0\",\"id\":\"%s\",%s}", field(all, i, "id"), body);
    push(w, field(all, i, "reply"), text);
    free(text);
}

static struct requests_reply next(struct world *w)
{
    struct requests_reply reply = REQUESTS_REPLY_INIT;
    ck_assert_int_eq(requests_client_next(w->rc, 5000, &reply), 1);
    return reply;
}

static bool span_is(struct json_span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

/* ---- the wire ---- */

START_TEST(fields_of_a_write)
{
    struct world w;
    struct requests_config config = base_config;
    config.session = "s1";
    config.trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    world_open(&w, &config);
    submit(&w, "task.create", "{\"text\":\"a\"}", 7, 0);
    reply_t *all = entries(&w, 1);
    ck_assert_str_eq(field(all, 0, "method"), "task.create");
    ck_assert_str_eq(field(all, 0, "params"), "{\"text\":\"a\"}");
    ck_assert_str_eq(field(all, 0, "actor"), "tester");
    ck_assert_str_eq(field(all, 0, "session"), "s1");
    ck_assert_str_eq(field(all, 0, "trace"), config.trace);
    ck_assert_ptr_null(field(all, 0, "agent"));
    ck_assert_ptr_null(field(all, 0, "ttl_ms"));
    ck_assert_uint_eq(strlen(field(all, 0, "reply")), 32);
    ck_assert_uint_ge(strlen(field(all, 0, "idem")), 16);
    answer(&w, all, 0, "\"result\":{\"n\":9007199254740993,\"e\":[]}");
    struct requests_reply reply = next(&w);
    ck_assert_int_eq(reply.outcome, REQUESTS_RESULT);
    ck_assert_uint_eq(reply.tag, 7);
    ck_assert(span_is(reply.result, "{\"n\":9007199254740993,\"e\":[]}"));
    ck_assert_uint_eq(requests_client_in_flight(w.rc), 0);
    requests_reply_done(&reply);
    reply_free(all);
    world_close(&w);
}
END_TEST

START_TEST(fields_of_a_read_and_own_idem)
{
    struct world w;
    struct requests_config config = base_config;
    config.trace = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
    world_open(&w, &config);
    submit(&w, "task.get", "{}", 1, 0);
    struct requests_call call = {.method = "task.create", .idem = "mine", .ttl_ms = 1500};
    requests_client_submit(w.rc, &call);
    reply_t *all = entries(&w, 2);
    ck_assert_ptr_null(field(all, 0, "idem"));
    ck_assert_ptr_null(field(all, 0, "trace"));
    ck_assert_str_eq(field(all, 1, "idem"), "mine");
    ck_assert_str_eq(field(all, 1, "ttl_ms"), "1500");
    ck_assert_str_eq(field(all, 1, "params"), "{}");
    ck_assert_str_ne(field(all, 0, "id"), field(all, 1, "id"));
    reply_free(all);
    world_close(&w);
}
END_TEST

START_TEST(schedule_goes_to_the_task_stream)
{
    struct world w;
    world_open(&w, &base_config);
    submit(&w, "schedule.list", "{}", 1, 0);
    reply_free(entries(&w, 1));
    world_close(&w);
}
END_TEST

START_TEST(replies_come_in_any_order_and_strangers_are_ignored)
{
    struct world w;
    world_open(&w, &base_config);
    for (uint64_t i = 0; i < 5; i++)
        submit(&w, "task.get", "{}", i, 0);
    reply_t *all = entries(&w, 5);
    const char *token = field(all, 0, "reply");
    push(&w, token, "not json");
    push(&w, token, "[]");
    push(&w, token, "{\"id\":3,\"result\":1}");
    push(&w, token, "{\"id\":\"x-0.1\",\"result\":1}");
    push(&w, token, "{\"result\":1}");
    for (size_t i = 5; i-- > 0;) {
        answer(&w, all, i, "\"result\":{}");
        answer(&w, all, i, "\"result\":{}"); /* twice: the second belongs to nobody */
    }
    for (uint64_t i = 5; i-- > 0;) {
        struct requests_reply reply = next(&w);
        ck_assert_uint_eq(reply.tag, i);
        requests_reply_done(&reply);
    }
    struct requests_reply none = REQUESTS_REPLY_INIT;
    ck_assert_int_eq(requests_client_next(w.rc, 50, &none), 0);
    reply_free(all);
    world_close(&w);
}
END_TEST

START_TEST(errors_are_read)
{
    struct world w;
    world_open(&w, &base_config);
    submit(&w, "task.get", "{}", 1, 0);
    submit(&w, "task.get", "{}", 2, 0);
    reply_t *all = entries(&w, 2);
    answer(&w, all, 0,
           "\"error\":{\"code\":-32007,\"message\":\"qu\\u0065ue "
           "full\",\"data\":{\"retry_after_ms\":250}}");
    answer(&w, all, 1, "\"nothing\":1");
    struct requests_reply reply = next(&w);
    ck_assert_int_eq(reply.outcome, REQUESTS_ERROR);
    ck_assert_int_eq(reply.code, -32007);
    ck_assert_str_eq(reply.message, "queue full");
    ck_assert_int_eq(reply.retry_after_ms, 250);
    requests_reply_done(&reply);
    reply = next(&w);
    ck_assert_int_eq(reply.outcome, REQUESTS_ERROR);
    ck_assert_int_eq(reply.code, -32603);
    requests_reply_done(&reply);
    reply_free(all);
    world_close(&w);
}
END_TEST

START_TEST(a_window_bounds_what_is_in_flight)
{
    struct world w;
    struct requests_config config = base_config;
    config.window = 3;
    world_open(&w, &config);
    for (uint64_t i = 0; i < 3; i++) {
        ck_assert(requests_client_has_room(w.rc));
        submit(&w, "task.get", "{}", i, 0);
    }
    ck_assert(!requests_client_has_room(w.rc));
    reply_t *all = entries(&w, 3);
    answer(&w, all, 1, "\"result\":{}");
    struct requests_reply reply = next(&w);
    requests_reply_done(&reply);
    ck_assert(requests_client_has_room(w.rc));
    submit(&w, "task.get", "{}", 9, 0);
    reply_free(all);
    all = entries(&w, 4);
    answer(&w, all, 3, "\"result\":{}");
    reply = next(&w);
    ck_assert_uint_eq(reply.tag, 9);
    requests_reply_done(&reply);
    reply_free(all);
    world_close(&w);
}
END_TEST

/* ---- claims that wait ---- */

static void kill_clients(struct world *w)
{
    reply_free(worker_call(w, "CLIENT", "KILL", "TYPE", "normal"));
}

#define EMPTY "\"result\":{\"claimed\":false,\"tasks\":[]}"
#define WAKE  "\"result\":{\"claimed\":false,\"tasks\":[],\"wake\":true}"

START_TEST(a_wake_repeats_the_claim)
{
    struct world w;
    world_open(&w, &base_config);
    submit(&w, "task.claim", "{\"workerId\":\"w\",\"wait_ms\":20000}", 1, 0);
    reply_t *first = entries(&w, 1);
    ck_assert_ptr_null(field(first, 0, "ttl_ms"));
    answer(&w, first, 0, WAKE);
    reply_t *all = entries(&w, 2);
    ck_assert_str_eq(field(all, 0, "id"), field(all, 1, "id"));
    ck_assert_str_eq(field(all, 0, "idem"), field(all, 1, "idem"));
    ck_assert_str_eq(field(all, 0, "params"), field(all, 1, "params"));
    ck_assert_str_eq(field(all, 0, "reply"), field(all, 1, "reply"));
    long left = strtol(field(all, 1, "ttl_ms"), NULL, 10);
    ck_assert_int_ge(left, 10000); /* what is left of the 20 s */
    ck_assert_int_le(left, 20000);
    answer(&w, all, 1, EMPTY);
    struct requests_reply reply = next(&w);
    ck_assert(span_is(reply.result, "{\"claimed\":false,\"tasks\":[]}"));
    requests_reply_done(&reply);
    reply_free(first);
    reply_free(all);
    world_close(&w);
}
END_TEST

START_TEST(a_wake_is_the_result_when_nobody_waits_any_more)
{
    struct world w;
    world_open(&w, &base_config);
    submit(&w, "task.claim", "{\"workerId\":\"w\",\"wait_ms\":20000}", 1, 0);
    submit(&w, "task.claim", "{\"workerId\":\"w\"}", 2, 0); /* it did not ask to wait */
    reply_t *all = entries(&w, 2);
    ck_assert(
        !requests_client_is_parked(w.rc)); /* too early to say, and the other one does not wait */
    requests_client_stop_waiting(w.rc);
    answer(&w, all, 0, WAKE);
    answer(&w, all, 1, WAKE);
    for (uint64_t i = 1; i <= 2; i++) {
        struct requests_reply reply = next(&w);
        ck_assert_uint_eq(reply.tag, i);
        ck_assert_int_eq(reply.outcome, REQUESTS_RESULT);
        requests_reply_done(&reply);
    }
    ck_assert(requests_client_is_parked(w.rc));
    reply_free(all);
    world_close(&w);
}
END_TEST

START_TEST(a_submit_does_not_wait_for_a_claim_that_waits)
{
    struct world w;
    world_open(&w, &base_config);
    submit(&w, "task.claim", "{\"workerId\":\"w\",\"wait_ms\":30000}", 1, 0);
    reply_free(entries(&w, 1));
    int64_t began = clock_mono_ms();
    for (uint64_t i = 2; i < 12; i++) {
        submit(&w, "task.get", "{}", i, 0);
        reply_t *all = entries(&w, i);
        answer(&w, all, i - 1, "\"result\":{}");
        struct requests_reply reply = next(&w);
        ck_assert_uint_eq(reply.tag, i);
        requests_reply_done(&reply);
        reply_free(all);
    }
    /* A pop that only the claim waits for blocks for 5 s. */
    ck_assert_int_lt(clock_mono_ms() - began, 4000);
    ck_assert(requests_client_is_parked(w.rc) || clock_mono_ms() - began < 250);
    world_close(&w);
}
END_TEST

START_TEST(a_lost_connection_repeats_a_claim_that_waits)
{
    struct world w;
    world_open(&w, &base_config);
    submit(&w, "task.claim", "{\"workerId\":\"w\",\"wait_ms\":30000}", 1, 0);
    reply_free(entries(&w, 1));
    submit(&w, "task.get", "{}", 2, 0); /* over the second connection */
    reply_free(entries(&w, 2));
    kill_clients(&w);
    reply_t *all = entries(&w, 4);
    ck_assert_str_eq(field(all, 0, "idem"), field(all, 2, "idem"));
    ck_assert_ptr_nonnull(field(all, 2, "ttl_ms"));
    ck_assert_str_ne(field(all, 0, "reply"), field(all, 2, "reply"));
    answer(&w, all, 3, "\"result\":{}");
    answer(&w, all, 2, EMPTY);
    for (int i = 0; i < 2; i++) {
        struct requests_reply reply = next(&w);
        requests_reply_done(&reply);
    }
    ck_assert(requests_client_is_up(w.rc, NULL));
    reply_free(all);
    world_close(&w);
}
END_TEST

/* ---- breakage ---- */

START_TEST(a_lost_connection_repeats_what_is_open)
{
    struct world w;
    world_open(&w, &base_config);
    submit(&w, "task.create", "{\"text\":\"a\"}", 1, 10000);
    submit(&w, "task.create", "{\"text\":\"b\"}", 2, 10000);
    reply_t *first = entries(&w, 2);
    kill_clients(&w);
    reply_t *all = entries(&w, 4);
    ck_assert_str_eq(field(all, 0, "id"), field(all, 2, "id"));
    ck_assert_str_eq(field(all, 0, "idem"), field(all, 2, "idem"));
    ck_assert_str_eq(field(all, 1, "params"), field(all, 3, "params"));
    ck_assert_str_ne(field(all, 0, "reply"), field(all, 2, "reply"));
    ck_assert_uint_ge(requests_client_losses(w.rc), 1);
    answer(&w, all, 0, "\"result\":\"old\"");
    answer(&w, all, 2, "\"result\":\"new\"");
    answer(&w, all, 3, "\"result\":\"new\"");
    for (int i = 0; i < 2; i++) {
        struct requests_reply reply = next(&w);
        ck_assert(span_is(reply.result, "\"new\""));
        requests_reply_done(&reply);
    }
    ck_assert(requests_client_is_up(w.rc, NULL));
    reply_free(first);
    reply_free(all);
    world_close(&w);
}
END_TEST

START_TEST(a_deadline_makes_the_outcome_unknown)
{
    struct world w;
    world_open(&w, &base_config);
    submit(&w, "task.create", "{}", 1, 150);
    struct requests_reply reply = next(&w);
    ck_assert_int_eq(reply.outcome, REQUESTS_UNKNOWN);
    ck_assert_uint_ge(strlen(reply.idem), 16);
    ck_assert_int_ge(reply.latency_us, 149000); /* the deadline is in whole ms */
    requests_reply_done(&reply);
    world_close(&w);
}
END_TEST

START_TEST(what_never_left_is_unsent)
{
    struct world w;
    world_open(&w, &base_config);
    struct requests_reply reply = REQUESTS_REPLY_INIT;
    redis_fixture_kill(w.f);
    turn(w.rc, 0); /* notices */
    while (requests_client_is_up(w.rc, NULL))
        turn(w.rc, 10);
    submit(&w, "task.create", "{}", 1, 200);
    ck_assert_int_eq(requests_client_next(w.rc, 5000, &reply), 1);
    ck_assert_int_eq(reply.outcome, REQUESTS_UNSENT);
    ck_assert_ptr_nonnull(strstr(reply.message, "; is claudebenchd running?"));
    requests_reply_done(&reply);
    world_close(&w);
}
END_TEST

/* Redis is there, and says why it does not serve us: that is no question of claudebenchd. */
START_TEST(what_redis_refuses_is_said_as_it_is)
{
    struct world w;
    bool is_said = false;
    world_open(&w, &base_config);
    reply_free(worker_call(&w, "REPLICAOF", "127.0.0.1", "1", NULL));
    /* A deadline may find a new connection that was not refused yet. */
    for (uint64_t tag = 1; tag <= 20 && !is_said; tag++) {
        struct requests_reply reply = REQUESTS_REPLY_INIT;
        submit(&w, "task.create", "{}", tag, 300);
        ck_assert_int_eq(requests_client_next(w.rc, 5000, &reply), 1);
        is_said = strstr(reply.message, "READONLY") != NULL;
        if (is_said)
            ck_assert_ptr_null(strstr(reply.message, "claudebenchd"));
        requests_reply_done(&reply);
    }
    ck_assert(is_said);
    world_close(&w);
}
END_TEST

START_TEST(a_restarted_redis_gets_the_request_again)
{
    struct world w;
    world_open(&w, &base_config);
    submit(&w, "task.create", "{}", 1, 20000);
    reply_free(entries(&w, 1));
    redis_fixture_kill(w.f);
    redis_link_free(w.worker);
    for (int i = 0; i < 5; i++)
        turn(w.rc, 20);
    ck_assert(!requests_client_is_up(w.rc, NULL));
    redis_fixture_restart(w.f);
    w.worker = redis_fixture_link(w.f);
    reply_t *all = entries(&w, 1);
    answer(&w, all, 0, "\"result\":{}");
    struct requests_reply reply = next(&w);
    ck_assert_int_eq(reply.outcome, REQUESTS_RESULT);
    requests_reply_done(&reply);
    reply_free(all);
    world_close(&w);
}
END_TEST

static bool has_lost(void *arg)
{
    struct world *w = arg;
    turn(w->rc, 20);
    return requests_client_losses(w->rc) > 0;
}

START_TEST(a_silent_redis_is_noticed)
{
    struct world w;
    world_open(&w, &base_config);
    w.f->target.timeout_ms = 300;
    submit(&w, "task.create", "{}", 1, 20000);
    reply_free(entries(&w, 1));
    redis_fixture_stop(w.f);
    int64_t from = clock_mono_ms();
    fixture_wait_until(has_lost, &w, 5000, "the silence to be noticed");
    ck_assert_int_ge(clock_mono_ms() - from, 200);
    redis_fixture_cont(w.f);
    w.f->target.timeout_ms = 5000;
    reply_t *all = entries(&w, 2);
    answer(&w, all, reply_count(all) - 1, "\"result\":{}");
    struct requests_reply reply = next(&w);
    ck_assert_int_eq(reply.outcome, REQUESTS_RESULT);
    requests_reply_done(&reply);
    reply_free(all);
    world_close(&w);
}
END_TEST

START_TEST(an_idle_client_is_not_taken_for_dead)
{
    struct world w;
    world_open(&w, &base_config);
    w.f->target.timeout_ms = 50;
    for (int i = 0; i < 5; i++)
        turn(w.rc, 30); /* nothing is expected, nothing comes */
    submit(&w, "task.get", "{}", 1, 5000);
    reply_t *all = entries(&w, 1);
    answer(&w, all, 0, "\"result\":{}");
    struct requests_reply reply = next(&w);
    ck_assert_int_eq(reply.outcome, REQUESTS_RESULT);
    ck_assert_uint_eq(requests_client_losses(w.rc), 0);
    requests_reply_done(&reply);
    reply_free(all);
    world_close(&w);
}
END_TEST

/* ---- memory, scripts ---- */

START_TEST(finishing_goes_through_when_memory_is_full)
{
    struct world w;
    world_open(&w, &base_config);
    struct cb_error err = {0};
    ck_assert_int_eq(
        redis_link_callv(w.worker, NULL, &err, "CONFIG", "SET", "maxmemory", "1", NULL), 0);
    submit(&w, "task.create", "{}", 1, 5000);
    submit(&w, "task.complete", "{\"id\":\"t-1\"}", 2, 5000);
    struct requests_reply reply = next(&w);
    ck_assert_uint_eq(reply.tag, 1);
    ck_assert_int_eq(reply.outcome, REQUESTS_ERROR);
    ck_assert_int_eq(reply.code, -32007);
    ck_assert_int_eq(reply.retry_after_ms, 1000);
    requests_reply_done(&reply);
    reply_t *all = entries(&w, 1);
    ck_assert_str_eq(field(all, 0, "method"), "task.complete");
    ck_assert_ptr_nonnull(field(all, 0, "idem"));
    reply_free(all);
    world_close(&w);
}
END_TEST

START_TEST(a_forgotten_script_is_loaded_again)
{
    struct world w;
    world_open(&w, &base_config);
    for (size_t i = 0; i < 3; i++) {
        submit(&w, "task.claim", "{}", i, 5000);
        reply_t *all = entries(&w, 1);
        answer(&w, all, 0, "\"result\":{}");
        struct requests_reply reply = next(&w);
        ck_assert_int_eq(reply.outcome, REQUESTS_RESULT);
        requests_reply_done(&reply);
        reply_free(all);
        reply_free(worker_call(&w, "DEL", w.stream, NULL, NULL));
        reply_free(worker_call(&w, "SCRIPT", "FLUSH", NULL, NULL));
    }
    world_close(&w);
}
END_TEST

START_TEST(no_way_in)
{
    static const char *const secret[] = {"--requirepass", "x", NULL};
    struct redis_fixture *f = redis_fixture_start(secret);
    struct requests_config config = base_config;
    struct requests_client *rc = NULL;
    struct cb_error err = {0};
    char wrong[] = "wrong";
    char *own = f->target.password;
    config.target = &f->target;
    f->target.password = wrong;
    ck_assert_int_eq(requests_client_open(&config, &rc, &err), -1);
    ck_assert_int_eq(err.code, EXITCODE_NOPERM);
    ck_assert_ptr_nonnull(strstr(err.text, f->socket_path));
    ck_assert_ptr_null(strstr(err.text, "wrong "));
    f->target.password = own;
    redis_fixture_kill(f);
    ck_assert_int_eq(requests_client_open(&config, &rc, &err), -1);
    ck_assert_int_eq(err.code, EXITCODE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err.text, "is claudebenchd running?"));
    redis_fixture_free(f);
}
END_TEST

START_TEST(traceparents)
{
    ck_assert(requests_is_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    ck_assert(!requests_is_traceparent(NULL));
    ck_assert(!requests_is_traceparent(""));
    ck_assert(!requests_is_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"));
    ck_assert(!requests_is_traceparent("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    ck_assert(!requests_is_traceparent("00-00000000000000000000000000000000-b7ad6b7169203331-01"));
    ck_assert(!requests_is_traceparent("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"));
    ck_assert(!requests_is_traceparent("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, fields_of_a_write);
    tcase_add_test(tc, fields_of_a_read_and_own_idem);
    tcase_add_test(tc, schedule_goes_to_the_task_stream);
    tcase_add_test(tc, replies_come_in_any_order_and_strangers_are_ignored);
    tcase_add_test(tc, errors_are_read);
    tcase_add_test(tc, a_window_bounds_what_is_in_flight);
    tcase_add_test(tc, a_wake_repeats_the_claim);
    tcase_add_test(tc, a_wake_is_the_result_when_nobody_waits_any_more);
    tcase_add_test(tc, a_submit_does_not_wait_for_a_claim_that_waits);
    tcase_add_test(tc, a_lost_connection_repeats_a_claim_that_waits);
    tcase_add_test(tc, a_lost_connection_repeats_what_is_open);
    tcase_add_test(tc, a_deadline_makes_the_outcome_unknown);
    tcase_add_test(tc, what_never_left_is_unsent);
    tcase_add_test(tc, what_redis_refuses_is_said_as_it_is);
    tcase_add_test(tc, a_restarted_redis_gets_the_request_again);
    tcase_add_test(tc, a_silent_redis_is_noticed);
    tcase_add_test(tc, an_idle_client_is_not_taken_for_dead);
    tcase_add_test(tc, finishing_goes_through_when_memory_is_full);
    tcase_add_test(tc, a_forgotten_script_is_loaded_again);
    tcase_add_test(tc, no_way_in);
    tcase_add_test(tc, traceparents);
}

UNIT_MAIN("requests_client", add_tests)
