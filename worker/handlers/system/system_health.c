/*
 * system_health.c: system.health: what this host's supervisor has put on the scoreboard. Committed by
 * lua/answer.lua. It is always a result: that something is wrong is what it is asked for.
 */
#include "common/compat.h"
#include "common/clock.h"
#include "worker/handler.h"

enum { STALE_US = 5000000 };

static const char *const healths[] = {"healthy", "degraded", "unhealthy", NULL};
static const char *const services[] = {"ok", "degraded", "down", "disabled", NULL};

static const struct field params[] = {FIELD_END};

static const struct field service_fields[] = {
    FIELD_ENUM("redis", REQUIRED, services, "The shared Redis."),
    FIELD_ENUM("workers", REQUIRED, services, "This host's worker processes."),
    FIELD_ENUM("supervisor", REQUIRED, services, "This host's supervisor."),
    FIELD_ENUM("postgres", REQUIRED, services, "The archive."),
    FIELD_END,
};
static const struct field reason_element[] = {
    FIELD_STR("", REQUIRED, 1, 200, "A sentence."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_ENUM("status", REQUIRED, healths, "The worst of the services."),
    FIELD_OBJECT("services", REQUIRED, service_fields, "Each by itself."),
    FIELD_TIME("since", REQUIRED, "Since when Redis is as it is, as the supervisor saw it."),
    FIELD_LIST("reasons", REQUIRED, 0, 10, reason_element, "What is wrong."),
    FIELD_END,
};

struct health {
    const char *redis;
    const char *workers;
    const char *supervisor;
    struct buf reasons;
    bool is_degraded;
};

static void complain(struct health *h, const char *reason)
{
    h->is_degraded = true;
    json_put_comma(&h->reasons);
    json_put_cstr(&h->reasons, reason);
}

static void look(struct health *h, const struct scoreboard_global *g)
{
    int wanted = atomic_load(&g->workers_wanted), ready = atomic_load(&g->workers_ready);
    char text[96];

    *h = (struct health){"ok", "ok", "ok", BUF_INIT, false};
    buf_putc(&h->reasons, '[');
    if (scoreboard_is_memory_short(g)) {
        h->redis = "degraded";
        complain(h, "Redis uses 90 % or more of its memory: creating methods are refused");
    }
    if (ready < wanted) {
        h->workers = "degraded";
        snprintf(text, sizeof text, "%d of %d workers are ready", ready, wanted);
        complain(h, text);
    }
    if (clock_mono_us() - atomic_load(&g->supervisor_beat_us) > STALE_US) {
        h->supervisor = "down";
        complain(h, "the supervisor is silent: dead workers are not replaced");
    }
    buf_putc(&h->reasons, ']');
}

static int prepare(struct prepare *p)
{
    const struct scoreboard_global *g = &p->ctx->board->global;
    struct health h;
    char since[CLOCK_RFC3339_SIZE];

    look(&h, g);
    clock_format_rfc3339(atomic_load(&g->redis_since_ms), since);
    prepare_arg_str(
        p, arena_printf(p->arena,
                        "{\"status\":\"%s\",\"services\":{\"redis\":\"%s\",\"workers\":\"%s\","
                        "\"supervisor\":\"%s\",\"postgres\":\"disabled\"},\"since\":\"%s\","
                        "\"reasons\":%s}",
                        h.is_degraded ? "degraded" : "healthy", h.redis, h.workers, h.supervisor,
                        since, buf_peek(&h.reasons)));
    buf_done(&h.reasons);
    return 0;
}

const struct handler handler_system_health = {
    .method = METHOD_system_health,
    .summary = "Tell how the system is.",
    .params = params,
    .result = result,
    .script = SCRIPT_ANSWER,
    .prepare = prepare,
};
