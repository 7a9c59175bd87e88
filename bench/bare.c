/*
 * bare.c: the limit that the system is compared with: a loop that reads entries and calls the same scripts with
 * arguments of a known shape. It knows where in an entry the id and the reply token stand, checks nothing, and
 * has no supervisor. The commits and the next read leave in one write, as in the worker.
 */
#include "common/compat.h"
#include "bench/bench.h"

#include "common/exitcode.h"
#include "common/scripts.h"

/* Where load.c puts them: id, method, params, reply, actor[, idem]; names at even places. */
enum { AT_ID = 1, AT_REPLY = 7, AT_IDEM = 11 };

struct bare {
    struct redis_link *link;
    const struct bare_config *config;
    struct script_call call;
    char ids[64][24];  /* "\"<id>\"" */
    char idem[64][96]; /* idempotency keys */
    char reply_key[96];
};

static CB_NORETURN void fail(const struct cb_error *err)
{
    fprintf(stderr, "claudebench-bench: bare loop: %s\n", err->text);
    _exit(EXITCODE_SOFTWARE);
}

static void add_task(struct bare *b)
{
    static const char *const rest[] = {"", "3", "3", "", ""};
    script_call_arg_str(&b->call, b->config->payload ? "\"x\"" : b->config->text);
    script_call_arg_str(&b->call, "50");
    script_call_arg_str(&b->call, "default");
    script_call_arg_str(&b->call, b->config->payload ? b->config->payload : "");
    for (size_t i = 0; i < CB_ARRAY_LEN(rest); i++)
        script_call_arg_str(&b->call, rest[i]);
}

static void add_request(struct bare *b, const reply_t *entry, size_t i)
{
    static const char *const after_hash[] = {"bench", "", "", "", "0"};
    script_call_arg_str(&b->call, reply_str(reply_at(entry, 0)));
    script_call_arg_str(&b->call, "1");
    script_call_arg_str(&b->call, b->ids[i]);
    script_call_arg_str(&b->call, "0");
    script_call_arg_str(&b->call, b->config->with_idem ? "0123456789abcdef0123456789abcdef" : "");
    for (size_t k = 0; k < CB_ARRAY_LEN(after_hash); k++)
        script_call_arg_str(&b->call, after_hash[k]);
    script_call_arg_int(&b->call, b->config->is_batch ? 1 + 9 * (int64_t)b->config->tasks : 9);
    if (b->config->is_batch)
        script_call_arg_int(&b->call, b->config->tasks);
    for (unsigned t = 0; t < (b->config->is_batch ? b->config->tasks : 1); t++)
        add_task(b);
}

/* The group [from, from + n) of the entries as one call. */
static void append_group(struct bare *b, const reply_t *entries, size_t from, size_t n)
{
    static const char *const keys[] = {"cb:requests:task", "cb:stream:events",
                                       "cb:duplicates:prevented", "cb:clock", "cb:meta"};
    static const char *const head[] = {"1", "900000", "268435456", "100000", "100000000"};

    script_call_reset(&b->call,
                      b->config->is_batch ? SCRIPT_TASK_CREATE_BATCH : SCRIPT_TASK_CREATE);
    for (size_t i = 0; i < CB_ARRAY_LEN(keys); i++)
        script_call_key(&b->call, keys[i]);
    const reply_t *first = reply_at(reply_at(entries, from), 1);
    snprintf(b->reply_key, sizeof b->reply_key, "cb:reply:%s",
             reply_str(reply_at(first, AT_REPLY)));
    script_call_key(&b->call, b->reply_key);
    for (size_t i = 0; i < n; i++) {
        const reply_t *fields = reply_at(reply_at(entries, from + i), 1);
        snprintf(b->ids[i], sizeof b->ids[i], "\"%s\"", reply_str(reply_at(fields, AT_ID)));
        if (b->config->with_idem) {
            snprintf(b->idem[i], sizeof b->idem[i], "cb:idem:%s",
                     reply_str(reply_at(fields, AT_IDEM)));
            script_call_key(&b->call, b->idem[i]);
        }
    }
    script_call_arg_str(&b->call, "cb:");
    script_call_arg_int(&b->call, (int64_t)n);
    script_call_arg_str(&b->call, "1");
    script_call_arg_str(&b->call, "0");
    for (size_t i = 0; i < CB_ARRAY_LEN(head); i++)
        script_call_arg_str(&b->call, head[i]);
    for (size_t i = 0; i < n; i++)
        add_request(b, reply_at(entries, from + i), i);
    scripts_append(b->link, &b->call);
}

static void append_read(struct bare *b)
{
    char count[12];
    snprintf(count, sizeof count, "%u", b->config->batch);
    redis_link_appendv(b->link, "XREADGROUP", "GROUP", "workers", "bare", "COUNT", count, "BLOCK",
                       "1000", "STREAMS", "cb:requests:task", ">", NULL);
}

static reply_t *read_reply(struct bare *b)
{
    struct cb_error err = {0};
    reply_t *reply = NULL;
    if (redis_link_read(b->link, 20000, &reply, &err) != 0)
        fail(&err);
    if (reply_is_error(reply)) {
        cb_error_set(&err, 0, "%s", reply_str(reply));
        fail(&err);
    }
    return reply;
}

void bare_serve(struct bench_env *env, const void *arg)
{
    struct bare b = {.config = arg};
    struct cb_error err = {0};
    reply_t *read = NULL;

    if (redis_link_open(&env->target, "bare", &b.link, &err) != 0 ||
        redis_link_callv(b.link, NULL, &err, "XGROUP", "CREATE", "cb:requests:task", "workers", "0",
                         "MKSTREAM", NULL) != 0 ||
        scripts_load(b.link, SCRIPT_TASK_CREATE, &err) != 0 ||
        scripts_load(b.link, SCRIPT_TASK_CREATE_BATCH, &err) != 0)
        fail(&err);
    script_call_init(&b.call, SCRIPT_TASK_CREATE);
    size_t group = b.config->is_batch ? 1 : b.config->batch < 64 ? b.config->batch : 64;
    for (;;) {
        const reply_t *entries = reply_at(reply_at(read, 0), 1);
        size_t n = entries ? reply_len(entries) : 0, calls = 0;
        for (size_t from = 0; from < n; from += group, calls++)
            append_group(&b, entries, from, n - from < group ? n - from : group);
        append_read(&b);
        for (size_t i = 0; i < calls; i++)
            reply_free(read_reply(&b));
        reply_free(read);
        read = read_reply(&b);
    }
}
