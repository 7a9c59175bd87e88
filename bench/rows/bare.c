/*
 * bare.c: see bare.h. It knows where in an entry everything stands (load_client.c puts it there) and where in the
 * params the arguments are (shape.h). As in a worker, the commits and the next read leave in one write.
 */
#include "common/compat.h"
#include "bench/rows/bare.h"

#include "common/exitcode.h"
#include "common/keys.h"
#include "worker/commit.h"

enum { READ_MS = 20000, SCOPE_SIZE = 27 };
/* id, method, params, reply, actor[, idem]: names at even places. */
enum { AT_ID = 1, AT_METHOD = 3, AT_PARAMS = 5, AT_REPLY = 7, AT_IDEM = 11 };

struct bare_step {
    const struct step *step;
    struct shape shape, operation;
};

struct bare_config {
    const struct row *row;
    struct bare_step steps[ROW_STEPS_MAX];
    unsigned nsteps;
};

struct bare {
    const struct env *env;
    const struct bare_config *config;
    struct redis_link *link;
    char consumer[24], count[12];
    char *stream, *fixed[4], *audit, *reply_prefix, *task_prefix;
    struct arena names; /* these strings */
    struct arena arena; /* of the entries in hand */
    struct script_call call;
};

/* A group: entries of one method. */
struct bare_group {
    const struct bare_step *step;
    const reply_t *entries[COMMIT_REQUESTS_MAX];
    size_t len, bytes;
    unsigned further;
    size_t lists[COMMIT_REQUESTS_MAX]; /* number of its reply list */
    const char *tokens[COMMIT_REQUESTS_MAX];
    size_t ntokens;
};

static CB_NORETURN void fail(const char *what)
{
    fprintf(stderr, "claudebench-bench: bare server: %s\n", what);
    _exit(EXITCODE_SOFTWARE);
}

static const reply_t *field(const reply_t *entry, size_t at)
{
    return reply_at(reply_at(entry, 1), at);
}

static const char *join(struct bare *b, const char *prefix, const char *text, size_t len)
{
    size_t head = strlen(prefix);
    char *out = arena_alloc(&b->arena, head + len + 1);
    memcpy(out, prefix, head);
    memcpy(out + head, text, len);
    return out;
}

/* ---- one call ---- */

static void add_keys(struct bare *b, const struct bare_group *g)
{
    const struct shape *shape = &g->step->shape;

    script_call_key(&b->call, b->stream);
    for (size_t i = 0; i < CB_ARRAY_LEN(b->fixed); i++)
        script_call_key(&b->call, b->fixed[i]);
    if (g->step->step->has_audit)
        script_call_key(&b->call, b->audit);
    for (size_t i = 0; i < g->ntokens; i++)
        script_call_key(&b->call, join(b, b->reply_prefix, g->tokens[i], strlen(g->tokens[i])));
    for (size_t i = 0; i < g->len; i++) {
        const char *params = reply_str(field(g->entries[i], AT_PARAMS));
        for (size_t k = 0; k < shape->nkeys; k++)
            script_call_key(
                &b->call, join(b, b->task_prefix, params + shape->keys[k].at, shape->keys[k].len));
    }
}

static void add_args(struct bare *b, const struct shape *shape, const char *params)
{
    for (size_t i = 0; i < shape->nargs; i++) {
        const struct shape_piece *piece = &shape->args[i];
        if (piece->is_constant)
            script_call_arg(&b->call, piece->text, piece->len);
        else if (piece->text[0] == '\0')
            script_call_arg(&b->call, params + piece->at, piece->len);
        else
            script_call_arg_str(&b->call, join(b, piece->text, params + piece->at, piece->len));
    }
}

static void add_request(struct bare *b, const struct bare_group *g, size_t i)
{
    const reply_t *entry = g->entries[i], *id = field(entry, AT_ID), *idem = field(entry, AT_IDEM);
    char *id_json = arena_alloc(&b->arena, reply_bytes(id) + 3);

    snprintf(id_json, reply_bytes(id) + 3, "\"%s\"", reply_str(id));
    script_call_arg_str(&b->call, reply_str(reply_at(entry, 0)));
    script_call_arg_str(&b->call, id_json);
    script_call_arg_str(&b->call, "0"); /* deadline */
    script_call_arg_str(&b->call, idem ? "0123456789a" : "");
    script_call_arg_str(&b->call, arena_printf(&b->arena, "%zu 1 %zu %zu", g->lists[i],
                                               g->step->shape.nkeys, g->step->shape.nargs));
    add_args(b, &g->step->shape, reply_str(field(entry, AT_PARAMS)));
    if (idem) /* its end, as long as a worker's scope of a key */
        script_call_arg_str(&b->call, reply_str(idem) + reply_bytes(idem) - SCOPE_SIZE);
}

static void append_call(struct bare *b, const struct bare_group *g)
{
    const struct options *opts = b->env->opts;

    script_call_reset(&b->call, g->step->step->script);
    add_keys(b, g);
    script_call_arg_str(&b->call, "cb:");
    script_call_arg_int(&b->call, (int64_t)g->len);
    script_call_arg_int(&b->call, (int64_t)g->ntokens);
    script_call_arg_int(&b->call, g->step->step->has_audit ? 1 : 0);
    script_call_arg_int(&b->call, (int64_t)g->step->operation.nargs);
    script_call_arg_int(&b->call, opts->limits.idempotency_ttl_ms);
    script_call_arg_int(&b->call, opts->limits.idempotency_bytes);
    script_call_arg_str(&b->call, options_events_policy(opts, &b->arena));
    script_call_arg_int(&b->call, 0); /* no gate */
    script_call_arg_int(&b->call, 1); /* one caller */
    add_args(b, &g->step->operation, "");
    script_call_arg_str(&b->call, "bench"); /* actor; session, agent, trace */
    for (int i = 0; i < 3; i++)
        script_call_arg_str(&b->call, "");
    for (size_t i = 0; i < g->len; i++)
        add_request(b, g, i);
    scripts_append(b->link, &b->call);
}

/* ---- groups ---- */

static bool fits(const struct bare_group *g, size_t bytes)
{
    return g->len < COMMIT_REQUESTS_MAX &&
           g->further + commit_further(g->step->shape.operations) <= COMMIT_FURTHER_MAX &&
           g->bytes + bytes <= COMMIT_BYTES_MAX;
}

static void add_entry(struct bare_group *g, const reply_t *entry, size_t bytes)
{
    const char *token = reply_str(field(entry, AT_REPLY));
    size_t list = 0;

    while (list < g->ntokens && strcmp(g->tokens[list], token) != 0)
        list++;
    if (list == g->ntokens)
        g->tokens[g->ntokens++] = token;
    g->lists[g->len] = list + 1;
    g->entries[g->len++] = entry;
    g->further += commit_further(g->step->shape.operations);
    g->bytes += bytes;
}

/* Those entries that are for `step`; returns the number of calls. */
static size_t append_step(struct bare *b, const struct bare_step *step, const reply_t *entries)
{
    struct bare_group g = {.step = step};
    size_t calls = 0;

    for (size_t i = 0; i < reply_count(entries); i++) {
        const reply_t *entry = reply_at(entries, i);
        size_t bytes = reply_bytes(field(entry, AT_PARAMS));
        if (strcmp(reply_str(field(entry, AT_METHOD)), methods[step->step->method].name) != 0)
            continue;
        if (bytes != step->shape.params_len)
            fail("a request has another shape");
        if (g.len > 0 && !fits(&g, bytes)) {
            append_call(b, &g);
            calls++;
            g.len = g.bytes = g.ntokens = 0;
            g.further = 0;
        }
        add_entry(&g, entry, bytes);
    }
    if (g.len > 0) {
        append_call(b, &g);
        calls++;
    }
    return calls;
}

/* ---- the loop ---- */

static reply_t *read_reply(struct bare *b)
{
    struct cb_error err = {0};
    reply_t *reply = NULL;

    if (redis_link_read(b->link, READ_MS, &reply, &err) != 0)
        fail(err.text);
    if (reply_is_error(reply))
        fail(reply_str(reply));
    return reply;
}

static void serve(struct bare *b)
{
    reply_t *read = NULL;

    for (;;) {
        const reply_t *entries = reply_at(reply_at(read, 0), 1);
        size_t calls = 0;
        for (unsigned s = 0; entries && s < b->config->nsteps; s++)
            calls += append_step(b, &b->config->steps[s], entries);
        redis_link_appendv(b->link, "XREADGROUP", "GROUP", "workers", b->consumer, "COUNT",
                           b->count, "BLOCK", "1000", "STREAMS", b->stream, ">", NULL);
        while (calls-- > 0)
            reply_free(read_reply(b));
        reply_free(read);
        arena_reset(&b->arena);
        read = read_reply(b);
    }
}

static void make_names(struct bare *b)
{
    static const enum key_id fixed[] = {KEY_EVENTS, KEY_DUPLICATES, KEY_CLOCK, KEY_META};
    const char *prefix = b->env->opts->redis.prefix;

    b->stream = keys_make(&b->names, prefix, KEY_REQUESTS, row_domain(b->config->row));
    for (size_t i = 0; i < CB_ARRAY_LEN(fixed); i++)
        b->fixed[i] = keys_make(&b->names, prefix, fixed[i]);
    b->reply_prefix = keys_make(&b->names, prefix, KEY_REPLY, "");
    b->audit = keys_make(&b->names, prefix, KEY_AUDIT);
    b->task_prefix = keys_make(&b->names, prefix, KEY_TASK, "");
    snprintf(b->count, sizeof b->count, "%u", row_batch(b->config->row));
}

static void run(struct env *env, const void *arg, unsigned number)
{
    struct bare b = {.env = env, .config = arg};
    struct cb_error err = {0};

    make_names(&b);
    snprintf(b.consumer, sizeof b.consumer, "bare-%u", number);
    if (redis_link_open(&env->target, b.consumer, &b.link, &err) != 0)
        fail(err.text);
    if (redis_link_callv(b.link, NULL, &err, "XGROUP", "CREATE", b.stream, "workers", "0",
                         "MKSTREAM", NULL) != 0 &&
        strncmp(err.text, "BUSYGROUP", 9) != 0)
        fail(err.text);
    for (unsigned s = 0; s < b.config->nsteps; s++)
        if (scripts_load(b.link, b.config->steps[s].step->script, &err) != 0)
            fail(err.text);
    script_call_init(&b.call, b.config->steps[0].step->script);
    serve(&b);
}

void bare_start(struct env *env, const struct row *row, unsigned count)
{
    struct bare_config config = {.row = row};
    char *literal = row_literal(row);

    for (; config.nsteps < CB_ARRAY_LEN(row->kind->steps) && row->kind->steps[config.nsteps];
         config.nsteps++) {
        struct bare_step *s = &config.steps[config.nsteps];
        s->step = row->kind->steps[config.nsteps];
        step_shapes(s->step, env->opts, literal, row->items, &s->shape, &s->operation);
    }
    env_fork_workers(env, count, run, &config); /* they have copies of it */
    for (unsigned i = 0; i < config.nsteps; i++) {
        shape_done(&config.steps[i].shape);
        shape_done(&config.steps[i].operation);
    }
    free(literal);
}
