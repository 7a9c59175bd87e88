/*
 * load.c: see load.h: the loop over the clients, and the figures.
 */
#include "common/compat.h"
#include "bench/load_client.h"

#include "bench/stop.h"
#include "common/clock.h"
#include "common/keys.h"
#include "common/mem.h"

#include <poll.h>

enum { WAIT_MS = 10000 };

void load_stock_done(struct load_stock *stock)
{
    free(stock->tasks);
    *stock = (struct load_stock){0};
}

struct load *load_new(struct env *env, const struct row *row, struct load_stock *stock,
                      struct load_stock *collect)
{
    struct load *l = mem_alloc(sizeof *l);
    struct arena arena CB_CLEANUP(arena_done) = ARENA_INIT;
    struct cb_error err;

    cb_assert(row->clients <= ROW_CLIENTS_MAX);
    *l = (struct load){.env = env, .row = row, .stock = stock, .collect = collect};
    l->literal = row_literal(row);
    snprintf(l->stream, sizeof l->stream, "%s",
             keys_make(&arena, env->opts->redis.prefix, KEY_REQUESTS, row_domain(row)));
    l->clients = mem_calloc(row->clients, sizeof *l->clients);
    for (unsigned i = 0; i < row->clients; i++)
        load_client_init(&l->clients[i], l, i);
    if (scripts_load(l->clients[0].link, SCRIPT_SUBMIT, &err) != 0)
        stop_failed("redis: %s", err.text);
    return l;
}

void load_free(struct load *l)
{
    for (unsigned i = 0; i < l->row->clients; i++)
        load_client_done(&l->clients[i]);
    buf_done(&l->writer.params);
    free(l->clients);
    free(l->literal);
    free(l->requests);
    free(l);
}

static void wait_for_replies(struct load *l)
{
    struct pollfd fds[ROW_CLIENTS_MAX];

    for (unsigned i = 0; i < l->row->clients; i++) {
        const struct redis_link *link = l->clients[i].link;
        fds[i] = (struct pollfd){.fd = redis_link_fd(link), .events = POLLIN};
        if (redis_link_wants_write(link))
            fds[i].events |= POLLOUT;
    }
    int n = poll(fds, l->row->clients, WAIT_MS);
    stop_if_asked();
    if (n == 0)
        stop_failed("%s: redis does not answer", l->row->name);
    for (unsigned i = 0; n > 0 && i < l->row->clients; i++) {
        if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
            load_client_read(&l->clients[i]);
        if (fds[i].revents)
            load_client_fill(&l->clients[i]);
    }
}

static int by_latency(const void *a, const void *b)
{
    const struct load_request *x = a, *y = b;
    return (x->latency_us > y->latency_us) - (x->latency_us < y->latency_us);
}

static double percentile_ms(const struct load *l, double p)
{
    return (double)l->requests[(size_t)(p * (l->total - 1))].latency_us / 1000.0;
}

void load_run(struct load *l, unsigned total, struct load_result *ret_result)
{
    free(l->requests);
    l->requests = mem_calloc(total, sizeof *l->requests);
    l->first += l->total;
    l->total = total;
    l->sent = l->answered = l->errors = l->short_replies = l->tasks = l->xadds = 0;
    struct cost before = cost_before(l->env);
    int64_t begin = clock_mono_us();
    for (unsigned i = 0; i < l->row->clients; i++)
        load_client_fill(&l->clients[i]);
    while (l->answered < total)
        wait_for_replies(l);
    double seconds = (double)(clock_mono_us() - begin) / 1e6;
    struct cost cost = cost_since(l->env, &before);
    cost.calls += l->xadds;
    qsort(l->requests, total, sizeof *l->requests, by_latency);
    *ret_result = (struct load_result){.requests = total,
                                       .errors = l->errors,
                                       .short_replies = l->short_replies,
                                       .tasks = l->tasks,
                                       .seconds = seconds,
                                       .p50_ms = percentile_ms(l, 0.5),
                                       .p95_ms = percentile_ms(l, 0.95),
                                       .p99_ms = percentile_ms(l, 0.99),
                                       .cost = cost};
}
