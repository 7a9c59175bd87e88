/*
 * publish.c: see publish.h. Counters go out as they are: what has increased is reckoned where they are summed up, so one
 * that is lost or comes twice does no harm. Rates and latencies are of a sliding window, kept here as a ring of earlier
 * sums.
 */
#include "common/compat.h"
#include "supervisor/publish.h"

#include "common/clock.h"
#include "common/mem.h"

enum {
    PUBLISH_MS = 1000,
    SLACK_MS = 100,   /* ticks are not exact */
    SAMPLE_MS = 2000, /* between two sums of the ring */
    SAMPLES = 31,     /* so a window of latencies is 60 s */
    RATE_SAMPLES = 5, /* and one of the rate 10 s */
};

struct sample {
    int64_t at_ms;
    uint64_t requests;
    uint64_t buckets[SCOREBOARD_BUCKETS];
};

struct sums {
    uint64_t errors;
    uint64_t refused;
    struct sample now;
};

struct publish {
    const struct services *services;
    const struct scoreboard *board;
    int64_t published_ms;
    struct sample ring[SAMPLES];
    size_t len;
    size_t next;
};

struct publish *publish_new(const struct services *services, const struct scoreboard *board)
{
    struct publish *p = mem_alloc(sizeof *p);

    p->services = services;
    p->board = board;
    p->published_ms = clock_mono_ms() - PUBLISH_MS;
    p->ring[0].at_ms = clock_mono_ms(); /* nothing was counted then */
    p->len = p->next = 1;
    return p;
}

void publish_free(struct publish *p)
{
    free(p);
}

static void sum_methods(const struct tally *t, struct sums *ret)
{
    *ret = (struct sums){.now = {.at_ms = clock_mono_ms(), .requests = t->requests}};
    for (size_t i = 0; i < t->len; i++) {
        ret->errors += t->methods[i].errors;
        ret->refused += t->methods[i].refused;
        for (size_t b = 0; b < SCOREBOARD_BUCKETS; b++)
            ret->now.buckets[b] += t->methods[i].buckets[b];
    }
}

/* The sample `back` places before the newest, or the oldest there is. */
static const struct sample *sample_before(const struct publish *p, size_t back)
{
    if (back >= p->len)
        back = p->len - 1;
    return &p->ring[(p->next + SAMPLES - 1 - back) % SAMPLES];
}

static void keep_sample(struct publish *p, const struct sample *now)
{
    if (now->at_ms - sample_before(p, 0)->at_ms < SAMPLE_MS)
        return;
    p->ring[p->next] = *now;
    p->next = (p->next + 1) % SAMPLES;
    if (p->len < SAMPLES)
        p->len++;
}

static void put_rate(const struct publish *p, const struct sample *now, struct script_call *call,
                     struct arena *a)
{
    const struct sample *then = sample_before(p, RATE_SAMPLES - 1);
    int64_t ms = now->at_ms - then->at_ms;
    uint64_t more = now->requests > then->requests ? now->requests - then->requests : 0;
    double rate = ms > 0 ? (double)more * 1000.0 / (double)ms : 0;

    script_call_arg_str(call, arena_printf(a, "%.3f", rate));
}

/* "bucket:count …" of the window. */
static void put_latencies(const struct publish *p, const struct sample *now,
                          struct script_call *call, struct arena *a)
{
    const struct sample *then = sample_before(p, SAMPLES - 1);
    struct buf out = BUF_INIT;

    for (unsigned i = 0; i < SCOREBOARD_BUCKETS; i++)
        if (now->buckets[i] > then->buckets[i])
            buf_printf(&out, "%s%u:%" PRIu64, out.len ? " " : "", i,
                       now->buckets[i] - then->buckets[i]);
    script_call_arg_str(call, arena_strndup(a, buf_peek(&out), out.len));
    buf_done(&out);
}

static void put_decisions(const struct scoreboard *board, struct script_call *call)
{
    uint64_t all = 0;

    for (int i = DECISION_NONE; i <= DECISION_DENY; i++)
        all += scoreboard_decisions(board, (enum scoreboard_decision)i);
    script_call_arg_int(call, (int64_t)all);
    script_call_arg_int(call, (int64_t)scoreboard_decisions(board, DECISION_DENY));
    script_call_arg_int(call, (int64_t)scoreboard_decisions(board, DECISION_FALLBACK));
}

static void put_values(struct publish *p, const struct tally *t, struct script_call *call,
                       struct arena *a)
{
    struct service_counts n;
    struct sums sums;

    sum_methods(t, &sums);
    services_count(p->services, &n);
    script_call_arg_int(call, 14); /* COUNTERS and PRESENT in lua/include/metrics.lua */
    script_call_arg_int(call, (int64_t)t->requests);
    script_call_arg_int(call, (int64_t)sums.errors);
    script_call_arg_int(call, (int64_t)sums.refused);
    script_call_arg_int(call, (int64_t)t->commits);
    script_call_arg_int(call, (int64_t)t->duplicates);
    script_call_arg_int(call, (int64_t)t->reconnects);
    script_call_arg_int(call, (int64_t)atomic_load(&p->board->global.restarts));
    put_decisions(p->board, call);
    script_call_arg_int(call, n.up);
    script_call_arg_int(call, n.wanted);
    put_rate(p, &sums.now, call, a);
    put_latencies(p, &sums.now, call, a);
    keep_sample(p, &sums.now);
}

void publish_put(struct publish *p, bool is_last, struct script_call *call, struct arena *a)
{
    CB_CLEANUP(tally_done) struct tally t = TALLY_INIT;
    int64_t now = clock_mono_ms();

    if (!is_last && now - p->published_ms < PUBLISH_MS - SLACK_MS) {
        script_call_arg_int(call, 0);
        return;
    }
    p->published_ms = now;
    services_sum(p->services, &t);
    put_values(p, &t, call, a);
}
