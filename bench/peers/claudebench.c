/*
 * claudebench.c: driver of this system, and of the bare servers: requests by stream, replies by list, as our own client
 * does it, without what makes that one safe (repeats, deadlines).
 *
 * BENCH_REDIS is the socket. A consumer completes task by task with `next`; with BENCH_BATCHES=1 it claims a hundred and
 * completes these hundred. `serve` runs bare servers (bench/rows/bare.h) with the options of the file BENCH_CONFIG.
 */
#include "common/compat.h"
#include "bench/peers/driver.h"

#include "bench/env/stop.h"
#include "bench/rows/bare.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/rnd.h"

#include <sys/wait.h>

enum { REPLY_MS = 10000, SERVERS = 2 /* as a daemon has workers by default */ };

struct client {
    struct redis_target target;
    struct redis_link *link;
    char stream[64], reply_key[48], token[25], worker[16];
    struct shape_writer writer; /* the params of the request that is being sent */
    unsigned number;            /* of the next request */
    unsigned adds_due;          /* replies to XADD */
};

/* ---- requests and replies ---- */

static void client_open(struct client *c)
{
    struct arena arena CB_CLEANUP(arena_done) = ARENA_INIT;
    struct cb_error err;

    *c = (struct client){.number = 0};
    if (redis_target_parse(driver_setting("BENCH_REDIS"), &c->target, &err) != 0)
        driver_failed("%s", err.text);
    c->target.timeout_ms = REPLY_MS;
    if (redis_link_open(&c->target, "bench", &c->link, &err) != 0)
        driver_failed("redis: %s", err.text);
    rnd_token(c->token, sizeof c->token - 1);
    snprintf(c->worker, sizeof c->worker, STEP_WORKER, (unsigned)getpid() % 1000);
    snprintf(c->stream, sizeof c->stream, "%s", keys_make(&arena, "cb", KEY_REQUESTS, "task"));
    snprintf(c->reply_key, sizeof c->reply_key, "%s", keys_make(&arena, "cb", KEY_REPLY, c->token));
}

static void client_send(struct client *c, const struct step *step, const struct step_input *in)
{
    char id[16];

    snprintf(id, sizeof id, "%u", c->number++);
    buf_reset(&c->writer.params);
    step->put(&c->writer, in);
    const char *const argv[] = {"XADD",
                                c->stream,
                                "*",
                                "id",
                                id,
                                "method",
                                methods[step->method].name,
                                "params",
                                buf_peek(&c->writer.params),
                                "reply",
                                c->token,
                                "actor",
                                "bench"};
    redis_link_append(c->link, (int)CB_ARRAY_LEN(argv), argv, NULL);
    c->adds_due++;
}

static reply_t *client_read(struct client *c)
{
    struct cb_error err;
    reply_t *reply = NULL;

    if (redis_link_read(c->link, REPLY_MS, &reply, &err) != 0)
        driver_failed("redis: %s", err.text);
    if (reply_is_error(reply))
        driver_failed("redis: %s", reply_str(reply));
    return reply;
}

/* Sends what was put, and gives what has been answered, up to 64 replies; waits for the first. */
static reply_t *client_receive(struct client *c)
{
    reply_t *popped = NULL;

    while (!popped) {
        redis_link_appendv(c->link, "BLMPOP", "5", "1", c->reply_key, "LEFT", "COUNT", "64", NULL);
        for (; c->adds_due > 0; c->adds_due--)
            reply_free(client_read(c));
        popped = client_read(c);
        if (reply_count(popped) < 2) { /* nothing in five seconds: it goes on waiting */
            reply_free(popped);
            popped = NULL;
        }
    }
    return popped;
}

/* The number of the request that a reply is to; what follows it is at *ret_rest. */
static unsigned reply_number(const char *text, const char **ret_rest)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":\"", result[] = "\",\"result\":";
    char *end = NULL;
    unsigned long number = 0;

    if (strncmp(text, head, sizeof head - 1) == 0)
        number = strtoul(text + sizeof head - 1, &end, 10);
    if (!end || strncmp(end, result, sizeof result - 1) != 0)
        driver_failed("a reply: %.300s", text);
    *ret_rest = end + sizeof result - 1;
    return (unsigned)number;
}

/* ---- producing ---- */

static void produce(const struct driver_order *order)
{
    static struct client c;
    char literal[DRIVER_TEXT_BYTES + 3] = "\"";
    struct step_input in = {.literal = literal, .items = order->batch};
    const struct step *step = order->batch > 1 ? &step_create_batch : &step_create;
    unsigned total = order->count / order->batch, sent = 0, answered = 0;
    double *times = driver_times(order);

    if (!c.link)
        client_open(&c);
    unsigned first = c.number;
    while (answered < total) {
        for (; sent < total && sent - answered < order->in_flight; sent++) {
            driver_pause(order);
            driver_text(literal + 1);
            literal[DRIVER_TEXT_BYTES + 1] = '"';
            times[sent] = driver_now();
            client_send(&c, step, &in);
        }
        reply_t *popped = client_receive(&c);
        const reply_t *list = reply_at(popped, 1);
        for (size_t i = 0; i < reply_count(list); i++) {
            const char *rest;
            unsigned number = reply_number(reply_str(reply_at(list, i)), &rest) - first;
            if (number < sent && order->is_asking)
                driver_record(times[number]);
            answered++;
        }
        reply_free(popped);
    }
    free(times);
}

/* ---- consuming ---- */

struct consumer {
    struct client client;
    bool is_batch;
    unsigned claims; /* in flight */
    unsigned ends;   /* completions in flight */
    struct task_ref *held;
    unsigned nheld;
};

static void claim(struct consumer *k)
{
    const struct step_input in = {.worker = k->client.worker, .items = DRIVER_BATCH};
    client_send(&k->client, &step_claim_wait, &in);
    k->claims++;
}

static void complete(struct consumer *k)
{
    unsigned n = k->is_batch ? DRIVER_BATCH : 1;
    const struct step_input in = {
        .worker = k->client.worker, .items = n, .tasks = &k->held[k->nheld - n]};

    client_send(&k->client, k->is_batch ? &step_complete_batch : &step_complete_next, &in);
    k->nheld -= n;
    k->ends++;
}

static void keep(struct consumer *k, const char *id, const char *token)
{
    if (k->nheld % 1024 == 0)
        k->held = mem_realloc(k->held, (k->nheld + 1024) * sizeof *k->held);
    struct task_ref *task = &k->held[k->nheld++];
    snprintf(task->id, sizeof task->id, "%.18s", id);
    snprintf(task->token, sizeof task->token, "%.*s", (int)sizeof task->token - 1, token);
}

/* "tasks":[{"id":"t-…",…,"payload":"…",…,"lease_token":"…",…},…] */
static void take_tasks(struct consumer *k, const char *text)
{
    static const char id[] = "{\"id\":\"", payload[] = "\"payload\":\"",
                      token[] = "\"lease_token\":\"";
    const char *at = strstr(text, "\"tasks\":[");

    for (at = at ? strstr(at, id) : NULL; at; at = strstr(at, id)) {
        const char *its_id = at + sizeof id - 1;
        const char *its_payload = strstr(at, payload);
        at = strstr(at, token);
        if (!its_payload || !at)
            driver_failed("a task: %.300s", text);
        at += sizeof token - 1;
        driver_record(driver_text_time(its_payload + sizeof payload - 1));
        keep(k, its_id, at);
    }
}

/* As many slots as a consumer has are kept at work: each completion brings the next task, claims fill up what they leave
 * free, and one of them waits when there is nothing. In batches: so many requests, completions before claims. */
static void fill(struct consumer *k)
{
    if (k->is_batch) {
        while (k->nheld >= DRIVER_BATCH && k->claims + k->ends < DRIVER_BULK)
            complete(k);
        while (k->claims + k->ends < DRIVER_BULK)
            claim(k);
        return;
    }
    while (k->nheld > 0)
        complete(k);
    if (k->claims == 0 && k->ends < DRIVER_FLIGHT / 2)
        claim(k);
}

/* A completion's result says which task it ended; a claim's does not. */
static bool is_completion(const char *rest)
{
    return strncmp(rest, "{\"claimed\":", 11) != 0;
}

static void consume(void)
{
    struct consumer k = {.is_batch = getenv("BENCH_BATCHES") != NULL};

    client_open(&k.client);
    for (;;) {
        fill(&k);
        reply_t *popped = client_receive(&k.client);
        const reply_t *list = reply_at(popped, 1);
        for (size_t i = 0; i < reply_count(list); i++) {
            const char *rest;
            reply_number(reply_str(reply_at(list, i)), &rest);
            if (is_completion(rest))
                k.ends--;
            else
                k.claims--;
            take_tasks(&k, rest);
        }
        reply_free(popped);
        driver_flush();
    }
}

/* ---- the bare servers ---- */

static const struct row_kind kind = {.steps = {&step_create, &step_create_batch, &step_claim_wait,
                                               &step_complete_next, &step_complete_batch}};

static void serve(void)
{
    static const struct row row = {
        .name = "peers", .kind = &kind, .bytes = DRIVER_TEXT_BYTES + 2, .items = DRIVER_BATCH};
    static struct env env = {.layout = PIN_NONE};
    struct options_errors errors = OPTIONS_ERRORS_INIT;
    struct cb_error err;
    char *text = mem_alloc(65536);
    FILE *f = fopen(driver_setting("BENCH_CONFIG"), "re");
    size_t len = f ? fread(text, 1, 65535, f) : 0;

    if (f)
        fclose(f);
    if (len == 0 || options_load_text(text, len, "BENCH_CONFIG", &env.opts, &errors) != 0)
        driver_failed("BENCH_CONFIG cannot be used");
    free(text);
    if (redis_target_parse(driver_setting("BENCH_REDIS"), &env.target, &err) != 0)
        driver_failed("%s", err.text);
    env.target.timeout_ms = REPLY_MS;
    stop_on_signals();
    bare_start(&env, &row, SERVERS);
    while (waitpid(-1, NULL, WNOHANG) == 0)
        stop_sleep_ms(200); /* a signal ends this process, and the servers with it */
    driver_failed("a bare server has ended");
}

const struct driver driver_claudebench = {
    .name = "claudebench", .consume = consume, .produce = produce, .serve = serve};
