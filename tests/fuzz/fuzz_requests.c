/*
 * fuzz_requests.c: any entries on a request stream, and any replies of the scripts that commit them, to the worker: the reply of
 * XREADGROUP, the gate with its handlers' prepare(), the script call's arguments, and what is made of the script's reply.
 *
 * The first letter of the input says whose entries these are: t task, y system, x test. RESP follows: first the reply to
 * XREADGROUP, then one for each commit. The counts that a script is told of must be those of its arguments: it reads by them.
 */
#include "common/compat.h"

#include "common/log.h"
#include "common/mem.h"
#include "common/redis_link_reader.h"
#include "tests/fuzz/feed.h"
#include "worker/commit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { FIXED_KEYS = 5, FIXED_ARGS = 10, CALLER_ARGS = 4, REQUEST_ARGS = 5, ENTRIES_MAX = 200 };

struct bench {
    struct handler_context ctx;
    struct supervised sup;
    struct gate_weather weather;
    struct arena arena;
};

static int64_t number_at(const struct script_call *call, size_t keys, size_t i)
{
    char text[24];
    size_t at = keys + i;

    cb_assert(at < call->argc && call->lens[at] < sizeof text);
    memcpy(text, call->argv[at], call->lens[at]);
    text[call->lens[at]] = '\0';
    char *end;
    int64_t n = strtoll(text, &end, 10);
    cb_assert(end != text && *end == '\0');
    return n;
}

/* The numbers of a form, joined by spaces. */
static void numbers_at(const struct script_call *call, size_t at, size_t *ret, size_t n)
{
    char text[100], *end = text;

    cb_assert(at < call->argc && call->lens[at] < sizeof text);
    memcpy(text, call->argv[at], call->lens[at]);
    text[call->lens[at]] = '\0';
    for (size_t i = 0; i < n; i++) {
        const char *digits = end;
        ret[i] = (size_t)strtoull(digits, &end, 10);
        cb_assert(end != digits && *end == (i + 1 < n ? ' ' : '\0'));
    }
}

/* What lua/include/envelope.lua reads, in its order: each count leads to the next one, and the last to the end. */
static void check_call(const struct commit *c)
{
    const struct script_call *call = &c->call;
    volatile unsigned sum = 0;
    size_t first = 3 + call->nkeys; /* FCALL, its name, the number of keys, the keys */

    for (size_t i = 0; i < call->argc; i++)
        for (size_t at = 0; at < call->lens[i]; at++)
            sum += (unsigned char)call->argv[i][at];
    (void)sum;
    cb_assert((size_t)number_at(call, first, 1) == c->len);
    size_t callers = (size_t)number_at(call, first, 9), lists = (size_t)number_at(call, first, 2);
    size_t at = FIXED_ARGS + (size_t)number_at(call, first, 4) + (size_t)number_at(call, first, 8);
    at += CALLER_ARGS * callers;
    size_t keys = FIXED_KEYS + (size_t)number_at(call, first, 3) + lists;
    for (size_t i = 0; i < c->len; i++) {
        size_t form[4]; /* reply list, caller, keys, arguments */
        numbers_at(call, first + at + 4, form, CB_ARRAY_LEN(form));
        cb_assert(form[0] <= lists);
        cb_assert(form[1] >= 1 && form[1] <= callers);
        bool has_scope = call->lens[first + at + 3] > 0;
        keys += form[2];
        at += REQUEST_ARGS + form[3] + has_scope;
    }
    cb_assert(first + at == call->argc);
    cb_assert(keys == call->nkeys);
}

static void commit_all(struct bench *b, struct request *requests, size_t len,
                       struct redis_link_reader *reader)
{
    struct commit *list = NULL;

    for (size_t i = 0; i < len; i++)
        commit_group(&list, &requests[i], &b->arena);
    for (struct commit *c = list; c; c = c->next) {
        CB_CLEANUP(reply_free_ptr) reply_t *reply = NULL;
        struct cb_error err = {0};
        commit_build(c, &b->ctx, &b->arena);
        check_call(c);
        if (redis_link_reader_next(reader, &reply, NULL) != 0 || !reply)
            break;
        if (commit_take(c, reply, &b->sup, &b->weather, &err) != 0)
            cb_assert(!c->is_done);
    }
    commit_list_done(list);
}

static struct options *make_options(void)
{
    static const char text[] = "config_version: 1\nmethods: {task.create: {rate_limit: 5}, "
                               "test.circuit: {breaker: {threshold: "
                               "3}}}\n";
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *opts = NULL;

    cb_assert(options_load_text(text, sizeof text - 1, "fuzz.yaml", &opts, &errs) == 0);
    options_errors_done(&errs);
    return opts;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct options *opts;
    static struct scoreboard *board;
    struct cb_error err;

    if (!opts) {
        const struct log_settings settings = {.level = LOG_LEVEL_INFO, .destination = "/dev/null"};
        opts = make_options();
        cb_assert(scoreboard_create(&board, &err) >= 0);
        cb_assert(log_open(&settings, &err) == 0);
    }
    if (len == 0)
        return 0;
    struct redis_link_reader reader;
    CB_CLEANUP(reply_free_ptr) reply_t *read = NULL;
    struct bench b = {.ctx = {.opts = opts, .prefix = opts->redis.prefix, .board = board},
                      .sup = {.board = board, .slot = &board->slots[0]}};

    b.ctx.domain = data[0] == 'y' ? "system" : data[0] == 'x' ? "test" : "task";
    redis_link_reader_init(&reader);
    feed(&reader, (const char *)data + 1, len - 1);
    if (redis_link_reader_next(&reader, &read, NULL) == 0 && read) {
        const reply_t *list = reply_at(reply_at(read, 0), 1);
        struct request *requests = arena_alloc(&b.arena, ENTRIES_MAX * sizeof *requests);
        size_t n = 0;
        for (size_t i = 0; list && i < reply_count(list) && n < ENTRIES_MAX; i++) {
            if (!request_parse(reply_at(list, i), &requests[n]))
                continue;
            gate_check(&requests[n], &b.ctx, &b.arena, &b.weather);
            cb_assert(requests[n].refused ? requests[n].message && requests[n].data
                                          : requests[n].handler != NULL);
            n++;
        }
        commit_all(&b, requests, n, &reader);
    }
    arena_done(&b.arena);
    redis_link_reader_done(&reader);
    return 0;
}
