/*
 * waiting.c: see waiting.h. Nothing of it is attended to during a measurement, which must be shorter than a claim may wait.
 */
#include "common/compat.h"
#include "bench/rows/waiting.h"

#include "bench/env/stop.h"
#include "common/clock.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/rnd.h"

enum { TOKEN = 24, PARK_MS = 10000, STEP_MS = 5 };

#define PARAMS "{\"workerId\":\"waiting-%03u\",\"queue\":\"quiet\",\"wait_ms\":30000}"

struct agent {
    struct redis_link *link;
};

struct waiting {
    struct env *env;
    struct agent *agents;
    unsigned len;
};

static void wait_for_nothing(struct waiting *w, unsigned i, bool has_claim)
{
    struct arena arena CB_CLEANUP(arena_done) = ARENA_INIT;
    const char *prefix = w->env->opts->redis.prefix;
    char token[TOKEN + 1], params[128];
    struct cb_error err;

    rnd_token(token, TOKEN);
    snprintf(params, sizeof params, PARAMS, i);
    w->agents[i].link = env_link(w->env, "bench-waiting");
    if (has_claim && redis_link_callv(w->agents[i].link, NULL, &err, "XADD",
                                      keys_make(&arena, prefix, KEY_REQUESTS, "task"), "*", "id",
                                      "w", "method", "task.claim", "params", params, "reply", token,
                                      "actor", "bench-waiting", NULL) != 0)
        stop_failed("redis: %s", err.text);
    redis_link_appendv(w->agents[i].link, "BLPOP", keys_make(&arena, prefix, KEY_REPLY, token), "0",
                       NULL);
    while (redis_link_wants_write(w->agents[i].link))
        if (redis_link_on_writable(w->agents[i].link, &err) != 0)
            stop_failed("redis: %s", err.text);
}

/* Until the workers have parked all claims. */
static void wait_until_parked(struct waiting *w)
{
    struct arena arena CB_CLEANUP(arena_done) = ARENA_INIT;
    const char *key = keys_make(&arena, w->env->opts->redis.prefix, KEY_WAITERS);
    struct redis_link *link = env_link(w->env, NULL);
    int64_t until = clock_mono_ms() + PARK_MS;
    unsigned parked = 0;

    for (;;) {
        reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
        struct cb_error err;
        if (redis_link_callv(link, &reply, &err, "HLEN", key, NULL) != 0)
            stop_failed("redis: %s", err.text);
        parked = (unsigned)reply_int(reply);
        if (parked >= w->len)
            break;
        if (clock_mono_ms() > until)
            stop_failed("%u of %u claims wait", parked, w->len);
        stop_sleep_ms(STEP_MS);
    }
    redis_link_free(link);
}

struct waiting *waiting_new(struct env *env, unsigned agents, bool has_claims)
{
    struct waiting *w = mem_alloc(sizeof *w);

    cb_assert(agents <= WAITING_MAX);
    *w = (struct waiting){.env = env, .agents = mem_calloc(agents ? agents : 1, sizeof *w->agents)};
    for (; w->len < agents; w->len++)
        wait_for_nothing(w, w->len, has_claims);
    if (has_claims && agents)
        wait_until_parked(w);
    return w;
}

void waiting_free(struct waiting *w)
{
    for (unsigned i = 0; i < w->len; i++)
        redis_link_free(w->agents[i].link);
    free(w->agents);
    free(w);
}
