/*
 * load.c: see load.h: the loop over the clients, and the figures.
 */
#include "common/compat.h"
#include "bench/rows/load_client.h"

#include "bench/env/stop.h"
#include "common/clock.h"
#include "common/keys.h"
#include "common/mem.h"

#include <sys/epoll.h>

enum { WAIT_MS = 10000, EVENTS = 64 };

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

    cb_assert(row->clients <= ROW_CLIENTS_MAX);
    *l = (struct load){.env = env, .row = row, .stock = stock, .collect = collect};
    l->literal = row_literal(row);
    snprintf(l->stream, sizeof l->stream, "%s",
             keys_make(&arena, env->opts->redis.prefix, KEY_REQUESTS, row_domain(row)));
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll < 0)
        stop_failed("cannot watch connections");
    l->clients = mem_calloc(row->clients, sizeof *l->clients);
    for (unsigned i = 0; i < row->clients; i++)
        load_client_init(&l->clients[i], l, i);
    return l;
}

void load_free(struct load *l)
{
    for (unsigned i = 0; i < l->row->clients; i++)
        load_client_done(&l->clients[i]);
    close(l->epoll);
    buf_done(&l->writer.params);
    free(l->clients);
    free(l->literal);
    free(l->requests);
    free(l);
}

/* What is to be told of a client, when that is not what it was. */
static void watch(struct load *l, struct load_client *c)
{
    uint32_t events = EPOLLIN | (redis_link_wants_write(c->link) ? EPOLLOUT : 0);
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (events == c->watched)
        return;
    if (epoll_ctl(l->epoll, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, redis_link_fd(c->link),
                  &event) != 0)
        stop_failed("cannot watch a connection");
    c->watched = events;
}

static void fill(struct load *l, struct load_client *c)
{
    load_client_fill(c);
    watch(l, c);
}

/* What a turn costs depends on the clients that have something, not on how many there are. */
static void wait_for_replies(struct load *l)
{
    struct epoll_event events[EVENTS];

    int n = epoll_wait(l->epoll, events, EVENTS, WAIT_MS);
    stop_if_asked();
    if (n == 0)
        stop_failed("%s: redis does not answer", l->row->name);
    for (int i = 0; i < n; i++) {
        struct load_client *c = events[i].data.ptr;
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            load_client_read(c);
        fill(l, c);
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
    l->sent = l->answered = l->errors = l->short_replies = l->tasks = 0;
    struct cost before = cost_before(l->env);
    int64_t begin = clock_mono_us();
    for (unsigned i = 0; i < l->row->clients; i++)
        fill(l, &l->clients[i]);
    while (l->answered < total)
        wait_for_replies(l);
    double seconds = (double)(clock_mono_us() - begin) / 1e6;
    struct cost cost = cost_since(l->env, &before);
    cost.calls += l->sent;
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
