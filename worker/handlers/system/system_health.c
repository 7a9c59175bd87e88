/*
 * system_health.c: system.health: what this host's supervisor has put on the scoreboard; lua/system_health.lua adds
 * the circuits. It is always a result: that something is wrong is what it is asked for.
 */
#include "common/compat.h"
#include "common/clock.h"
#include "worker/handlers/system/system_tables.h"

enum { STALE_US = 5000000, REASONS_MAX = 10 };

static const char *const healths[] = {"healthy", "degraded", "unhealthy", NULL};
static const char *const services[] = {"ok", "degraded", "down", "disabled", NULL};

static const struct field params[] = {FIELD_END};

static const struct field service_fields[] = {
    FIELD_ENUM("redis", REQUIRED, services, "The shared Redis."),
    FIELD_ENUM("workers", REQUIRED, services, "This host's worker processes."),
    FIELD_ENUM("supervisor", REQUIRED, services,
               "This host's supervisor: degraded when nobody new reaches it, or its Redis."),
    FIELD_ENUM(
        "hosts", REQUIRED, services,
        "The daemons on this Redis: degraded when some are silent, down in a partition, when fewer "
        "than half are seen."),
    FIELD_ENUM("hooks", REQUIRED, services,
               "The rules of this host's hook workers: degraded when there are some that cannot be "
               "used, so that "
               "calls are refused (hooks.on_error)."),
    FIELD_ENUM("postgres", REQUIRED, services,
               "The archive, as this host's archive workers see it: down when they wait for "
               "PostgreSQL, degraded when it is behind by more than archive.lag_ms, disabled when "
               "this host has none."),
    FIELD_ENUM("audit", REQUIRED, services,
               "This host's audit file: degraded when it is not written, disabled when there is "
               "to be none."),
    FIELD_ENUM("requests", REQUIRED, services,
               "Requests to domains that this host has no workers for: degraded when some wait "
               "that no other host serves either."),
    FIELD_END,
};
static const struct field reason_element[] = {
    FIELD_STR("", REQUIRED, 1, 200, "A sentence."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_ENUM("status", REQUIRED, healths,
               "The worst of the services; unhealthy in a partition, degraded when a circuit is "
               "not closed."),
    FIELD_OBJECT("services", REQUIRED, service_fields, "Each by itself."),
    FIELD_TIME("since", REQUIRED, "When the status changed last, as the supervisor saw it."),
    FIELD_LIST("reasons", REQUIRED, 0, 10, reason_element, "What is wrong."),
    FIELD_INT(
        "fallbacks", REQUIRED, 0, INT64_MAX,
        "Tool calls and prompts that clients decided without a daemon, as they told this host "
        "later (hook.spool)."),
    FIELD_LIST("circuits", REQUIRED, 0, 100, system_circuit_element,
               "Circuits that are not closed, of all hosts."),
    FIELD_END,
};

struct health {
    const char *redis;
    const char *workers;
    const char *supervisor;
    const char *hosts;
    const char *hooks;
    const char *postgres;
    const char *audit;
    const char *requests;
    const char *reasons[REASONS_MAX];
    size_t nreasons;
    struct arena *arena;
    bool is_degraded;
    bool is_unhealthy;
};

static void complain(struct health *h, const char *reason)
{
    h->is_degraded = true;
    cb_assert(h->nreasons < REASONS_MAX);
    h->reasons[h->nreasons++] = arena_strndup(h->arena, reason, strlen(reason));
}

static void look_at_supervisor(struct health *h, const struct scoreboard_global *g)
{
    char problem[SCOREBOARD_TEXT_SIZE];

    if (clock_mono_us() - atomic_load(&g->supervisor_beat_us) > STALE_US) {
        h->supervisor = "down";
        complain(h, "the supervisor is silent: dead workers are not replaced");
    } else if (scoreboard_get_trouble(g, TROUBLE_SOCKET, problem)) {
        h->supervisor = "degraded";
        complain(h, problem);
    }
}

static void look_at_hosts(struct health *h, const struct scoreboard_global *g)
{
    int seen = atomic_load(&g->hosts_seen), known = atomic_load(&g->hosts_known);
    int64_t partition_ms = atomic_load(&g->partition_since_ms);
    char text[96], at[CLOCK_RFC3339_SIZE];

    if (seen >= known)
        return;
    if (partition_ms) {
        clock_format_rfc3339(partition_ms, at);
        snprintf(text, sizeof text, "partition: only %d of %d daemons are seen, since %s", seen,
                 known, at);
    } else {
        snprintf(text, sizeof text, "%d of %d daemons are seen", seen, known);
    }
    h->hosts = partition_ms ? "down" : "degraded";
    h->is_unhealthy = partition_ms != 0;
    complain(h, text);
}

static void look_at_rules(struct health *h, const struct scoreboard *board)
{
    struct scoreboard_rules rules;
    char text[sizeof rules.problem + 40];

    scoreboard_sum_rules(board, &rules);
    if (rules.workers == 0)
        h->hooks = "disabled";
    if (rules.troubled == 0)
        return;
    h->hooks = "degraded";
    snprintf(text, sizeof text, "rules cannot be used: %s", rules.problem);
    complain(h, text);
}

static void look_at_archive(struct health *h, const struct handler_context *ctx)
{
    struct scoreboard_archives archive;
    char text[sizeof archive.problem + 40];

    if (ctx->opts->domains.archive.workers == 0)
        return;
    scoreboard_sum_archives(ctx->board, &archive);
    h->postgres = "ok";
    if (archive.workers == 0) {
        h->postgres = "down"; /* why is the workers' matter */
    } else if (archive.down > 0) {
        h->postgres = archive.down == archive.workers ? "down" : "degraded";
        snprintf(text, sizeof text, "the archive waits: %s", archive.problem);
        complain(h, text);
    } else if (archive.lag_ms > ctx->opts->archive.lag_ms) {
        h->postgres = "degraded";
        snprintf(text, sizeof text, "the archive is %" PRId64 " s behind", archive.lag_ms / 1000);
        complain(h, text);
    }
}

static void look_at_audit(struct health *h, const struct handler_context *ctx)
{
    char problem[SCOREBOARD_TEXT_SIZE], text[sizeof problem + 40];

    if (!ctx->opts->audit.file[0])
        return;
    h->audit = "ok";
    if (!scoreboard_get_trouble(&ctx->board->global, TROUBLE_AUDIT, problem))
        return;
    h->audit = "degraded";
    snprintf(text, sizeof text, "the audit file is not written: %s", problem);
    complain(h, text);
}

static void look_at_requests(struct health *h, const struct scoreboard_global *g)
{
    char problem[SCOREBOARD_TEXT_SIZE];

    if (!scoreboard_get_trouble(g, TROUBLE_UNSERVED, problem))
        return;
    h->requests = "degraded";
    complain(h, problem);
}

static void look(struct health *h, const struct handler_context *ctx, struct arena *arena)
{
    const struct scoreboard *board = ctx->board;
    const struct scoreboard_global *g = &board->global;
    int wanted = atomic_load(&g->workers_wanted), ready = atomic_load(&g->workers_ready);
    char text[96];

    *h = (struct health){.redis = "ok",
                         .workers = "ok",
                         .supervisor = "ok",
                         .hosts = "ok",
                         .hooks = "ok",
                         .postgres = "disabled",
                         .audit = "disabled",
                         .requests = "ok",
                         .arena = arena};
    if (scoreboard_is_memory_short(g)) {
        h->redis = "degraded";
        complain(h, "Redis uses 90 % or more of its memory: creating methods are refused");
    }
    if (ready < wanted) {
        h->workers = "degraded";
        snprintf(text, sizeof text, "%d of %d workers are ready", ready, wanted);
        complain(h, text);
    }
    look_at_supervisor(h, g);
    look_at_hosts(h, g);
    look_at_rules(h, board);
    look_at_archive(h, ctx);
    look_at_audit(h, ctx);
    look_at_requests(h, g);
}

/* A supervisor that is silent does not tell since when. */
static int64_t since_ms(const struct scoreboard_global *g)
{
    int64_t silent_us = clock_mono_us() - atomic_load(&g->supervisor_beat_us);

    return silent_us > STALE_US ? clock_wall_ms() - silent_us / 1000
                                : atomic_load(&g->health_since_ms);
}

static int prepare(struct prepare *p)
{
    const struct scoreboard_global *g = &p->ctx->board->global;
    struct health h;
    char since[CLOCK_RFC3339_SIZE];

    look(&h, p->ctx, p->arena);
    clock_format_rfc3339(since_ms(g), since);
    prepare_arg_str(p, h.is_unhealthy ? "unhealthy" : h.is_degraded ? "degraded" : "healthy");
    prepare_arg_str(
        p,
        arena_printf(p->arena,
                     "{\"redis\":\"%s\",\"workers\":\"%s\",\"supervisor\":\"%s\",\"hosts\":\"%s\","
                     "\"hooks\":\"%s\",\"postgres\":\"%s\",\"audit\":\"%s\",\"requests\":\"%s\"}",
                     h.redis, h.workers, h.supervisor, h.hosts, h.hooks, h.postgres, h.audit,
                     h.requests));
    prepare_arg_str(p, arena_printf(p->arena, "\"%s\"", since));
    prepare_arg_str(p, arena_printf(p->arena, "%" PRIu64,
                                    scoreboard_decisions(p->ctx->board, DECISION_FALLBACK)));
    prepare_arg_int(p, (int64_t)h.nreasons);
    for (size_t i = 0; i < h.nreasons; i++)
        prepare_arg_str(p, h.reasons[i]);
    return 0;
}

const struct handler handler_system_health = {
    .method = METHOD_system_health,
    .summary = "Tell how the system is.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_HEALTH,
    .prepare = prepare,
};
