/*
 * load.c: the client of both sides: XADDs and one blocking pop for up to 64 replies in one write, as our own
 * client does it, without what makes that one safe (repeats, deadlines).
 */
#include "common/compat.h"
#include "bench/bench.h"

#include "common/clock.h"
#include "common/exitcode.h"
#include "common/mem.h"
#include "common/rnd.h"

struct run {
    struct redis_link *link;
    const struct bench_load *load;
    char stream[64];
    char token[25];
    char reply_key[48];
    int64_t *sent_us;    /* by request number */
    int64_t *latency_us; /* the same */
    unsigned sent, added, answered, errors;
};

static CB_NORETURN void fail(const char *what)
{
    fprintf(stderr, "claudebench-bench: %s\n", what);
    exit(EXITCODE_UNAVAILABLE);
}

static void submit(struct run *r)
{
    char id[16], idem[40];

    snprintf(id, sizeof id, "%u", r->sent);
    snprintf(idem, sizeof idem, "%s-%u", r->token, r->sent);
    const char *argv[] = {
        "XADD",   r->stream,       "*",     "id",     id,      "method", r->load->method,
        "params", r->load->params, "reply", r->token, "actor", "bench",  "idem",
        idem};
    redis_link_append(r->link, (int)CB_ARRAY_LEN(argv) - (r->load->with_idem ? 0 : 2), argv, NULL);
    r->sent_us[r->sent++] = clock_mono_us();
}

/* {"jsonrpc":"2.0","id":"<n>",… */
static void take_reply(struct run *r, const char *text, int64_t now)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":\"";
    if (strncmp(text, head, sizeof head - 1) != 0)
        fail("a reply is not as it should be");
    char *end;
    unsigned long n = strtoul(text + sizeof head - 1, &end, 10);
    if (n >= r->sent)
        fail("a reply for nothing that was asked");
    r->latency_us[n] = now - r->sent_us[n];
    if (strncmp(end, "\",\"error\"", 9) == 0)
        r->errors++;
    r->answered++;
}

static void pop(struct run *r)
{
    struct cb_error err;
    reply_t *reply = NULL;

    redis_link_appendv(r->link, "BLMPOP", "5", "1", r->reply_key, "LEFT", "COUNT", "64", NULL);
    for (; r->added < r->sent; r->added++) {
        if (redis_link_read(r->link, 20000, &reply, &err) != 0)
            fail(err.text);
        reply_free(reply);
    }
    if (redis_link_read(r->link, 20000, &reply, &err) != 0)
        fail(err.text);
    const reply_t *list = reply_at(reply, 1);
    if (!list)
        fail("no reply in five seconds");
    int64_t now = clock_mono_us();
    for (size_t i = 0; i < reply_len(list); i++)
        take_reply(r, reply_str(reply_at(list, i)), now);
    reply_free(reply);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(const struct run *r, double p)
{
    return (double)r->latency_us[(size_t)(p * (r->load->total - 1))] / 1000.0;
}

struct bench_result load_run(struct bench_env *env, const struct bench_load *load)
{
    struct run r = {.load = load};
    struct cb_error err;

    if (redis_link_open(&env->target, "bench", &r.link, &err) != 0)
        fail(err.text);
    rnd_token(r.token, 24);
    snprintf(r.reply_key, sizeof r.reply_key, "cb:reply:%s", r.token);
    snprintf(r.stream, sizeof r.stream, "cb:requests:%.*s", (int)strcspn(load->method, "."),
             load->method);
    r.sent_us = mem_calloc(load->total, sizeof *r.sent_us);
    r.latency_us = mem_calloc(load->total, sizeof *r.latency_us);
    struct bench_cost before = cost_now(env);
    int64_t begin = clock_mono_us();
    while (r.answered < load->total) {
        while (r.sent < load->total && r.sent - r.answered < load->in_flight)
            submit(&r);
        pop(&r);
    }
    double seconds = (double)(clock_mono_us() - begin) / 1e6;
    struct bench_cost after = cost_now(env);
    qsort(r.latency_us, load->total, sizeof *r.latency_us, by_value);
    struct bench_result result = {.total = load->total,
                                  .errors = r.errors,
                                  .seconds = seconds,
                                  .p50_ms = percentile_ms(&r, 0.5),
                                  .p95_ms = percentile_ms(&r, 0.95),
                                  .p99_ms = percentile_ms(&r, 0.99),
                                  .cost = cost_between(&before, &after)};
    free(r.sent_us);
    free(r.latency_us);
    redis_link_free(r.link);
    return result;
}
