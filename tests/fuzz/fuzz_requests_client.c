/*
 * fuzz_requests_client.c: any bytes from the server to the request client (common/requests_client.h): replies to XADD, SCRIPT, WAIT
 * and BLMPOP, and the elements of the reply list in them.
 *
 * Four requests are under way, in slots 0 to 3 under the ids "AAAAAAAAAA-0.1" to "AAAAAAAAAA-3.4": a read, a write that two replicas
 * have to confirm, a claim that waits, and a completion. The first byte of the input says in pieces of which size the RESP
 * behind it comes. Whatever comes, each request is answered once and no more: by its deadline if by nothing else.
 */
#include "common/compat.h"

#include "common/clock.h"
#include "common/requests_client.h"
#include "tests/fuzz/fake_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { CALLS = 4, TIMEOUT_MS = 60000, TURNS_MAX = 20000 };

static const struct {
    const char *method, *params;
    struct ack ack;
} calls[CALLS] = {
    {"task.get", "{}", {.level = ACK_UNSAID}},
    {"task.create", "{\"text\":\"x\"}", {.level = ACK_REPLICA, .replicas = 2}},
    {"task.claim", "{\"wait_ms\":20000}", {.level = ACK_UNSAID}},
    {"task.complete", "{\"id\":\"1\"}", {.level = ACK_UNSAID}},
};

struct input {
    const char *at;
    size_t len, piece;
};

static void ignore_command(void *arg, struct redis_link *link, int argc, const char *const *argv,
                           const size_t *lens)
{
    (void)arg, (void)link, (void)argc, (void)argv, (void)lens;
}

static bool next_piece(void *arg, struct redis_link *link)
{
    struct input *in = arg;
    size_t n = in->len < in->piece ? in->len : in->piece;

    fake_link_feed(link, in->at, n);
    in->at += n;
    in->len -= n;
    return n > 0;
}

static void check_span(const struct requests_reply *r, struct json_span span)
{
    enum json_type type;
    struct json_span value;

    cb_assert(span.at >= r->text.data && span.at + span.len <= r->text.data + r->text.len);
    cb_assert(json_check(span.at, span.len, &value, &type, NULL) == 0);
}

static void check_reply(const struct requests_reply *r)
{
    cb_assert(memchr(r->message, '\0', sizeof r->message));
    cb_assert(r->retry_after_ms >= -1 && r->retry_after_ms <= REQUESTS_RETRY_MAX_MS);
    if (r->outcome == REQUESTS_RESULT)
        check_span(r, r->result);
    else
        cb_assert(r->result.len == 0);
    if (r->outcome == REQUESTS_ERROR)
        cb_assert(r->code < 0);
    if (r->data.len > 0)
        check_span(r, r->data);
}

/* Time goes on by what the client says that it would wait, when nothing is there to be read. */
static void turn(struct requests_client *rc, const struct input *in, unsigned answers[CALLS])
{
    struct requests_reply reply;
    struct pollfd fds[REQUESTS_POLLFDS];
    int wait;

    requests_client_prepare(rc, fds, &wait);
    bool is_open = fds[0].fd >= 0 || fds[1].fd >= 0;
    if (!is_open || in->len == 0)
        clock_fake_advance_us(wait > 0 ? (int64_t)wait * 1000 : 1000);
    for (size_t i = 0; i < REQUESTS_POLLFDS; i++)
        fds[i].revents = fds[i].fd >= 0 && in->len > 0 ? fds[i].events : 0;
    requests_client_pump(rc, fds);
    while (requests_client_take(rc, &reply)) {
        cb_assert(reply.tag < CALLS);
        answers[reply.tag]++;
        check_reply(&reply);
        requests_reply_done(&reply);
    }
}

static unsigned count(const unsigned answers[CALLS])
{
    unsigned n = 0;

    for (size_t i = 0; i < CALLS; i++) {
        cb_assert(answers[i] <= 1);
        n += answers[i];
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct redis_target target = {.timeout_ms = 5000};
    const struct requests_config config = {
        .target = &target, .prefix = "cb", .actor = "fuzz", .window = CALLS};
    struct requests_client *rc = NULL;
    unsigned answers[CALLS] = {0};
    struct cb_error err;

    if (len == 0)
        return 0;
    struct input in = {(const char *)data + 1, len - 1, data[0] < 128 ? 1u + data[0] : SIZE_MAX};
    fake_server = (struct fake_server){.command = ignore_command, .more = next_piece, .arg = &in};
    clock_fake_set(1000000000, 1700000000000000);
    cb_assert(requests_client_open(&config, &rc, &err) == 0);
    for (size_t i = 0; i < CALLS; i++) {
        const struct requests_call call = {.method = calls[i].method,
                                           .params = calls[i].params,
                                           .params_len = strlen(calls[i].params),
                                           .ack = calls[i].ack,
                                           .timeout_ms = TIMEOUT_MS,
                                           .tag = i};
        requests_client_submit(rc, &call);
    }
    for (int i = 0; i < TURNS_MAX && count(answers) < CALLS; i++)
        turn(rc, &in, answers);
    cb_assert(count(answers) == CALLS);
    cb_assert(requests_client_in_flight(rc) == 0);
    requests_client_free(rc);
    return 0;
}
