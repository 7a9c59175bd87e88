/*
 * pattern_events.c: see pattern.h: one who creates tasks, and a reader of the events of that, in a process of its own. Times are of
 * the clock that both share, and go through memory that both share; a pipe wakes who waits for them.
 */
#include "common/compat.h"
#include "bench/patterns/pattern.h"

#include "bench/env/stop.h"
#include "common/clock.h"
#include "common/event_reader.h"
#include "common/mem.h"
#include "common/requests_client.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { WINDOW = 64, PATIENCE_MS = 20000, STEP_MS = 50, READ_MS = 1000 };

struct arrivals {
    atomic_uint len; /* tasks that were told of */
    _Atomic int64_t last_us;
    _Atomic int64_t last_task; /* the number in its id */
};

struct reader_config {
    const struct pattern *pattern;
    struct arrivals *arrivals;
    int pipe[2];
};

/* ---- the reader ---- */

/* How many tasks it tells of, in `id` or `ids`; *ret_last is the number of the last one. */
static unsigned tasks_of(const struct event_entry *event, int64_t *ret_last)
{
    unsigned n = 0;

    for (size_t i = 0; i < event->nfields; i++) {
        if (strcmp(event->fields[i].name, "id") != 0 && strcmp(event->fields[i].name, "ids") != 0)
            continue;
        const char *at = event->fields[i].value;
        for (at += strcspn(at, "0123456789"); *at; at += strcspn(at, "0123456789")) {
            char *end;
            *ret_last = strtoll(at, &end, 10);
            at = end;
            n++;
        }
    }
    return n;
}

static void read_events(struct env *env, const void *arg, unsigned number)
{
    const struct reader_config *c = arg;
    static const char *const types[] = {"task.created", NULL};
    struct event_reader *reader = event_reader_new(&(struct event_reader_config){
        .target = &env->target,
        .prefix = env->opts->redis.prefix,
        .client_name = "bench-reader",
        .types = types,
        .is_following = true,
        .has_channels = strcmp(c->pattern->transport, "stream") != 0});

    (void)number;
    for (;;) {
        const struct event_entry *event;
        int64_t last = 0;
        unsigned n;
        struct event_gap gap;
        struct cb_error err;
        switch (event_reader_next(reader, READ_MS, &event, &gap, &err)) {
        case EVENT_GIVEN:
            atomic_store(&c->arrivals->last_us, clock_mono_us());
            n = tasks_of(event, &last);
            atomic_store(&c->arrivals->last_task, last);
            atomic_fetch_add(&c->arrivals->len, n);
            /* When the pipe is full, whoever waits is awake anyway. */
            if (write(c->pipe[1], "", 1) < 0 && errno != EAGAIN)
                _exit(1);
            break;
        case EVENT_NOTHING:
            break;
        default: /* all that is lost shows in what has arrived */
            fprintf(stderr, "claudebench-bench: %s: events are lost\n", c->pattern->name);
            break;
        }
    }
}

/* ---- waiting for it ---- */

struct stage {
    const struct reader_config *reader;
    struct requests_client *producer;
};

/* Until the reader has been told of so many, and this task's event; or for so long. */
static bool wait_for(const struct stage *s, unsigned wanted, int64_t task, int ms)
{
    const struct arrivals *arrivals = s->reader->arrivals;
    int64_t until = clock_mono_ms() + ms;
    char bytes[4096];

    while (atomic_load(&arrivals->len) < wanted ||
           (task && atomic_load(&arrivals->last_task) != task)) {
        struct pollfd fd = {.fd = s->reader->pipe[0], .events = POLLIN};
        int64_t left = until - clock_mono_ms();
        if (left <= 0)
            return false;
        if (poll(&fd, 1, (int)left) > 0 && read(fd.fd, bytes, sizeof bytes) < 0)
            stop_failed("cannot read a pipe");
        stop_if_asked();
    }
    return true;
}

/* Returns the number of the task. */
static int64_t take_reply(const struct stage *s)
{
    static const char head[] = "\"t-";
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    struct json_item id;

    if (requests_client_next(s->producer, PATIENCE_MS, &reply) != 1 ||
        reply.outcome != REQUESTS_RESULT || !json_find(reply.result, "id", &id))
        stop_failed("task.create: %d %s", reply.code, reply.message);
    return strtoll(id.value.at + sizeof head - 1, NULL, 10);
}

static void create(const struct stage *s)
{
    requests_client_submit(s->producer, &(struct requests_call){.method = "task.create",
                                                                .params = "{\"text\":\"an event\"}",
                                                                .params_len = 19,
                                                                .timeout_ms = PATIENCE_MS});
}

static void run_alone(const struct stage *s, struct pattern_half *half, struct pattern_times *times)
{
    for (unsigned i = 0; i < half->asked; i++) {
        unsigned before = atomic_load(&s->reader->arrivals->len);
        int64_t asked_us = clock_mono_us();
        create(s);
        take_reply(s);
        if (!wait_for(s, before + 1, 0, PATIENCE_MS))
            continue;
        half->done++;
        if (times)
            times->us[times->len++] = atomic_load(&s->reader->arrivals->last_us) - asked_us;
    }
}

static void run_at_once(const struct stage *s, struct pattern_half *half)
{
    unsigned before = atomic_load(&s->reader->arrivals->len), sent = 0;

    for (unsigned answered = 0; answered < half->asked; answered++) {
        while (sent < half->asked && requests_client_in_flight(s->producer) < WINDOW) {
            create(s);
            sent++;
        }
        take_reply(s);
    }
    wait_for(s, before + half->asked, 0, PATIENCE_MS);
    half->done = atomic_load(&s->reader->arrivals->len) - before;
}

/* ---- a round ---- */

/* Only who listens already is told: one task after the other, until the reader has the event of the last one. */
static void wait_for_reader(const struct stage *s)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    int64_t task;

    do {
        if (clock_mono_ms() > until)
            stop_failed("the reader is given no events");
        create(s);
        task = take_reply(s);
    } while (!wait_for(s, 1, task, STEP_MS));
}

static void run_halves(struct env *env, const struct stage *s, pid_t reader, unsigned divide,
                       struct pattern_round *round, struct pattern_times *times)
{
    struct pattern_half warm_up = {.asked = PATTERN_ALONE / divide / 4};
    struct pattern_meter meter;

    wait_for_reader(s);
    run_alone(s, &warm_up, NULL);
    round->alone.asked = PATTERN_ALONE / divide;
    pattern_begin(env, reader, &meter);
    run_alone(s, &round->alone, times);
    pattern_end(env, &meter, 0, &round->alone);

    warm_up = (struct pattern_half){.asked = PATTERN_AT_ONCE / divide / 4};
    run_at_once(s, &warm_up);
    round->at_once.asked = PATTERN_AT_ONCE / divide;
    pattern_begin(env, reader, &meter);
    run_at_once(s, &round->at_once);
    pattern_end(env, &meter, atomic_load(&s->reader->arrivals->last_us), &round->at_once);
}

void pattern_events(struct env *env, const struct pattern *pattern, unsigned divide,
                    struct pattern_round *ret_round, struct pattern_times *ret_times)
{
    struct reader_config config = {.pattern = pattern};
    struct stage stage = {.reader = &config};
    struct cb_error err;

    config.arrivals = mmap(NULL, sizeof *config.arrivals, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (config.arrivals == MAP_FAILED || pipe2(config.pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        stop_failed("cannot share memory with a reader of events");
    if (requests_client_open(&(struct requests_config){.target = &env->target,
                                                       .prefix = env->opts->redis.prefix,
                                                       .actor = "producer",
                                                       .client_name = "bench",
                                                       .window = WINDOW},
                             &stage.producer, &err) != 0)
        stop_failed("redis: %s", err.text);
    pid_t reader = env_fork(env, read_events, &config);
    run_halves(env, &stage, reader, divide, ret_round, ret_times);
    env_end(env, &reader, "the reader of events");
    requests_client_free(stage.producer);
    close(config.pipe[0]);
    close(config.pipe[1]);
    munmap(config.arrivals, sizeof *config.arrivals);
}
