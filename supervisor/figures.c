/*
 * figures.c: see figures.h.
 */
#include "common/compat.h"
#include "supervisor/figures.h"

#include "common/clock.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/mem.h"

enum { YOUNG_MS = 200, OLD_MS = 60000 };

struct figures {
    const struct options *opts;
    struct redis_conn *conn;
    enum script_id script;
    void (*came)(void *arg);
    void *arg;
    json_object *json; /* NULL: none so far */
    int64_t at_ms;
    bool is_busy;
    struct log_repeat said;
};

struct figures *figures_new(const struct options *opts, struct redis_conn *conn,
                            enum script_id script, void (*came)(void *arg), void *arg)
{
    struct figures *f = mem_alloc(sizeof *f);

    *f = (struct figures){.opts = opts, .conn = conn, .script = script, .came = came, .arg = arg};
    return f;
}

void figures_free(struct figures *f)
{
    if (!f)
        return;
    json_object_put(f->json);
    free(f);
}

static void complain(struct figures *f, const char *why)
{
    unsigned times;

    if (log_repeat_may(&f->said, why, &times))
        log_event(EV_script_error, LOG_S("script", scripts_name(f->script)), LOG_S("error", why),
                  LOG_I("times", times));
}

static void on_done(void *arg, const reply_t *reply)
{
    struct figures *f = arg;
    json_object *json = reply && !reply_is_error(reply) ? json_tokener_parse(reply_str(reply))
                                                        : NULL;

    f->is_busy = false;
    if (json_object_is_type(json, json_type_object)) {
        json_object_put(f->json);
        f->json = json;
        f->at_ms = clock_mono_ms();
        log_repeat_over(&f->said);
    } else {
        json_object_put(json);
        if (reply)
            complain(f, reply_is_error(reply) ? reply_str(reply) : "the answer is not JSON");
    }
    f->came(f->arg);
}

bool figures_ask(struct figures *f)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    const char *prefix = f->opts->redis.prefix;
    struct script_call call;

    if (f->is_busy)
        return true;
    if (!redis_conn_is_up(f->conn) || (f->json && clock_mono_ms() - f->at_ms < YOUNG_MS))
        return false;
    script_call_init(&call, f->script);
    script_call_key(&call, keys_make(&a, prefix, KEY_CLOCK));
    script_call_arg_str(&call, arena_printf(&a, "%s:", prefix));
    for (const char *const *domain = options_domain_names(); *domain; domain++)
        script_call_arg_str(&call, *domain);
    f->is_busy = true;
    redis_conn_script(f->conn, &call, on_done, f);
    script_call_done(&call);
    return true;
}

json_object *figures_peek(const struct figures *f, int64_t *ret_age_ms)
{
    int64_t age = clock_mono_ms() - f->at_ms;

    if (!f->json || age > OLD_MS)
        return NULL;
    *ret_age_ms = age;
    return f->json;
}
