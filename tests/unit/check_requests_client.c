/*
 * check_requests_client.c: the caller's side of the stream protocol: what it writes and reads, claims that wait, and what Redis refuses.
 * (check_requests_client_lost.c: what is lost on the way.)
 */
#include "common/compat.h"
#include "requests_fixture.h"

#include "common/clock.h"
#include "common/exitcode.h"

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

/* What callers go by is bounded, whoever sent it. */
START_TEST(what_cannot_be_is_not_believed)
{
    static const struct {
        const char *said;
        int code;
        int64_t retry_after_ms;
    } cases[] = {
        {"\"result\":7", -32603, -1},
        {"\"result\":[]", -32603, -1},
        {"\"x\":{}", -32603, -1},
        {"\"error\":{\"code\":0}", -32603, -1},
        {"\"error\":{\"code\":-32000,\"data\":{\"retry_after_ms\":-1}}", -32000, -1},
        {"\"error\":{\"code\":-4294967296,\"data\":{\"retry_after_ms\":9223372036854775807}}",
         -32603, REQUESTS_RETRY_MAX_MS},
    };
    struct world w;
    world_open(&w, &base_config);
    for (size_t i = 0; i < CB_ARRAY_LEN(cases); i++) {
        submit(&w, "task.get", "{}", i, 0);
        reply_t *all = entries(&w, i + 1);
        answer(&w, all, i, cases[i].said);
        struct requests_reply reply = next(&w);
        ck_assert_int_eq(reply.outcome, REQUESTS_ERROR);
        ck_assert_int_eq(reply.code, cases[i].code);
        ck_assert_int_eq(reply.retry_after_ms, cases[i].retry_after_ms);
        requests_reply_done(&reply);
        reply_free(all);
    }
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

START_TEST(wakes_without_an_end_do_not_set_the_pace)
{
    struct world w;
    world_open(&w, &base_config);
    submit(&w, "task.claim", "{\"workerId\":\"w\",\"wait_ms\":30000}", 1, 0);
    int64_t began = clock_mono_ms();
    for (size_t i = 0; i < 5; i++) {
        reply_t *all = entries(&w, i + 1);
        answer(&w, all, i, "\"result\":{\"tasks\":[],\"wake\":true}");
        reply_free(all);
    }
    reply_t *all = entries(&w, 6);
    ck_assert_int_ge(clock_mono_ms() - began, 4 * 20 - 4); /* the first one is repeated at once */
    answer(&w, all, 5, "\"result\":{\"tasks\":[]}");
    struct requests_reply reply = next(&w);
    ck_assert(span_is(reply.result, "{\"tasks\":[]}"));
    requests_reply_done(&reply);
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
    submit(&w, "task.get", "{}", 3, 5000); /* reading, too, and both at once */
    submit(&w, "task.renew", "{}", 4, 5000);
    all = entries(&w, 3);
    ck_assert_str_eq(field(all, 2, "method"), "task.renew");
    reply_free(all);
    world_close(&w);
}
END_TEST

/* What Redis took before may be done by now: sent once more it would be refused, and that would be told. */
static void refuse_behind(const char *method, const char *params)
{
    struct world w;
    world_open(&w, &base_config);
    submit(&w, method, params, 0, 0);
    reply_free(entries(&w, 1));
    reply_free(worker_call(&w, "CONFIG", "SET", "maxmemory", "1"));
    for (uint64_t i = 1; i < 5; i++)
        submit(&w, i == 4 ? "task.get" : "task.complete", "{}", i, 0);
    reply_t *all = entries(&w, 5);
    reply_free(worker_call(&w, "CONFIG", "SET", "maxmemory", "0"));
    for (size_t i = 0; i < 5; i++) {
        ck_assert_str_eq(field(all, i, "reply"), field(all, 0, "reply"));
        answer(&w, all, i, "\"result\":{}");
        struct requests_reply reply = next(&w);
        ck_assert_int_eq(reply.outcome, REQUESTS_RESULT);
        requests_reply_done(&reply);
    }
    reply_free(all);
    all = entries(&w, 5);
    ck_assert_uint_eq(reply_count(all), 5);
    ck_assert_uint_eq(requests_client_losses(w.rc), 0);
    reply_free(all);
    world_close(&w);
}

START_TEST(a_refusal_for_memory_repeats_only_what_was_refused)
{
    refuse_behind("task.create", "{}");
    refuse_behind("task.claim", "{\"workerId\":\"w\",\"wait_ms\":30000}"); /* behind a long pop */
}
END_TEST

static bool is_script_used(struct world *w)
{
    reply_t *stats = worker_call(w, "INFO", "commandstats", NULL, NULL);
    bool is_used = strstr(reply_str(stats), "cmdstat_evalsha:") != NULL;

    reply_free(stats);
    reply_free(worker_call(w, "CONFIG", "RESETSTAT", NULL, NULL));
    return is_used;
}

START_TEST(memory_is_full_for_a_minute_after_a_refusal)
{
    struct world w;
    world_open(&w, &base_config);
    reply_free(worker_call(&w, "CONFIG", "SET", "maxmemory", "1"));
    submit(&w, "task.complete", "{}", 0, 0);
    reply_free(entries(&w, 1));
    reply_free(worker_call(&w, "CONFIG", "SET", "maxmemory", "0"));
    reply_t *all = entries(&w, 1);
    serve(&w, all, 0);
    reply_free(all);
    ck_assert(is_script_used(&w));
    clock_fake_set(clock_mono_us(), clock_wall_us());
    for (size_t i = 1; i < 3; i++) {
        clock_fake_advance_us(INT64_C(59000000) * (int64_t)(i - 1));
        submit(&w, "task.complete", "{}", i, 0);
        all = entries(&w, i + 1);
        serve(&w, all, i);
        reply_free(all);
        ck_assert(is_script_used(&w));
    }
    clock_fake_advance_us(1000000);
    submit(&w, "task.complete", "{}", 3, 0);
    reply_free(entries(&w, 4));
    ck_assert(!is_script_used(&w));
    clock_fake_stop();
    world_close(&w);
}
END_TEST

START_TEST(a_forgotten_script_is_loaded_again)
{
    struct world w;
    world_open(&w, &base_config);
    reply_free(worker_call(&w, "CONFIG", "SET", "maxmemory", "1"));
    for (size_t i = 0; i < 3; i++) {
        submit(&w, "task.claim", "{}", i, 5000);
        reply_t *all = entries(&w, 1);
        reply_free(worker_call(&w, "CONFIG", "SET", "maxmemory", "0"));
        serve(&w, all, 0);
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
    tcase_add_test(tc, what_cannot_be_is_not_believed);
    tcase_add_test(tc, a_window_bounds_what_is_in_flight);
    tcase_add_test(tc, a_wake_repeats_the_claim);
    tcase_add_test(tc, wakes_without_an_end_do_not_set_the_pace);
    tcase_add_test(tc, a_wake_is_the_result_when_nobody_waits_any_more);
    tcase_add_test(tc, a_submit_does_not_wait_for_a_claim_that_waits);
    tcase_add_test(tc, finishing_goes_through_when_memory_is_full);
    tcase_add_test(tc, a_refusal_for_memory_repeats_only_what_was_refused);
    tcase_add_test(tc, memory_is_full_for_a_minute_after_a_refusal);
    tcase_add_test(tc, a_forgotten_script_is_loaded_again);
    tcase_add_test(tc, no_way_in);
    tcase_add_test(tc, traceparents);
}

UNIT_MAIN("requests_client", add_tests)
