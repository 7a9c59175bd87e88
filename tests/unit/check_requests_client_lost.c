/*
 * check_requests_client_lost.c: the caller's side of the stream protocol when connections, replies or Redis itself are lost.
 */
#include "common/compat.h"
#include "requests_fixture.h"

#include "common/clock.h"

/* ---- lost ---- */
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
    answer(&w, all, 2, "\"result\":{\"claimed\":false,\"tasks\":[]}");
    for (int i = 0; i < 2; i++) {
        struct requests_reply reply = next(&w);
        requests_reply_done(&reply);
    }
    ck_assert(requests_client_is_up(w.rc, NULL));
    reply_free(all);
    world_close(&w);
}
END_TEST

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
    answer(&w, all, 0, "\"result\":{\"is\":\"old\"}");
    answer(&w, all, 2, "\"result\":{\"is\":\"new\"}");
    answer(&w, all, 3, "\"result\":{\"is\":\"new\"}");
    for (int i = 0; i < 2; i++) {
        struct requests_reply reply = next(&w);
        ck_assert(span_is(reply.result, "{\"is\":\"new\"}"));
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
    serve(&w, all, 0);
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
    serve(&w, all, reply_count(all) - 1);
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
    serve(&w, all, 0);
    ck_assert_uint_eq(requests_client_losses(w.rc), 0);
    reply_free(all);
    world_close(&w);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_lost_connection_repeats_a_claim_that_waits);
    tcase_add_test(tc, a_lost_connection_repeats_what_is_open);
    tcase_add_test(tc, a_deadline_makes_the_outcome_unknown);
    tcase_add_test(tc, what_never_left_is_unsent);
    tcase_add_test(tc, what_redis_refuses_is_said_as_it_is);
    tcase_add_test(tc, a_restarted_redis_gets_the_request_again);
    tcase_add_test(tc, a_silent_redis_is_noticed);
    tcase_add_test(tc, an_idle_client_is_not_taken_for_dead);
}

UNIT_MAIN("requests_client_lost", add_tests)
