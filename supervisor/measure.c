/*
 * measure.c: see measure.h.
 */
#include "common/compat.h"
#include "supervisor/measure.h"

#include "common/clock.h"
#include "common/methods.h"
#include "supervisor/circuits.h"
#include "supervisor/figures.h"
#include "supervisor/supervisor.h"

enum { JSON_VERSION = 1 };

static void put(struct metrics *m, enum metric_id id, double value)
{
    metrics_add(m, id, value, "", "");
}

static void put_one(struct metrics *m, enum metric_id id, const char *label, double value)
{
    metrics_add(m, id, value, label, "");
}

static double count(const _Atomic uint64_t *n)
{
    return (double)atomic_load_explicit(n, memory_order_relaxed);
}

/* ---- the daemon ---- */

static void take_daemon(struct supervisor *s, struct metrics *m)
{
    const struct scoreboard_global *g = &s->scoreboard->global;
    const struct instance_hosts *hosts = instance_hosts(s->instance);

    health_update(&s->health);
    put_one(m, METRIC_build_info, PACKAGE_VERSION, 1);
    put(m, METRIC_start_time_seconds, (double)atomic_load(&g->started_ms) / 1000);
    put(m, METRIC_written_time_seconds, (double)clock_wall_ms() / 1000);
    for (int i = HEALTH_HEALTHY; i <= HEALTH_UNHEALTHY; i++)
        put_one(m, METRIC_health, health_status_name((enum health_status)i),
                (int)s->health.status == i);
    put(m, METRIC_leader, instance_leader(s->instance).is_self);
    put_one(m, METRIC_daemons, "known", (double)hosts->known);
    put_one(m, METRIC_daemons, "seen", (double)hosts->seen);
    put(m, METRIC_config_reloads_total, count(&g->reloads));
    put(m, METRIC_config_reload_failures_total, count(&g->reloads_refused));
}

/* ---- workers ---- */

static void take_workers(const struct supervisor *s, struct metrics *m)
{
    for (size_t i = 0; i < s->services.len; i++) {
        const struct service *service = &s->services.items[i];
        struct service_counts n;
        service_count(&s->services, service, &n);
        metrics_add(m, METRIC_workers, n.wanted, service->name, "wanted");
        metrics_add(m, METRIC_workers, n.up, service->name, "up");
        metrics_add(m, METRIC_workers, n.looping, service->name, "crash_looping");
        metrics_add(m, METRIC_workers, n.gave_up, service->name, "gave_up");
        for (int r = 0; i < SCOREBOARD_DOMAINS && r < SCOREBOARD_RESTARTS; r++)
            metrics_add(m, METRIC_worker_restarts_total,
                        count(&s->scoreboard->global.restarts_by[i][r]), service->name,
                        scoreboard_restart_name((enum scoreboard_restart)r));
    }
}

/* ---- Redis ---- */

static void take_redis(const struct supervisor *s, const struct tally *t, struct metrics *m)
{
    const struct scoreboard_global *g = &s->scoreboard->global;

    put(m, METRIC_redis_connected, redis_conn_is_up(s->redis));
    put_one(m, METRIC_redis_reconnects_total, "daemon", count(&g->redis_reconnects));
    put_one(m, METRIC_redis_reconnects_total, "worker", (double)t->reconnects);
    put(m, METRIC_redis_memory_used_bytes, count(&g->used_memory));
    put(m, METRIC_redis_memory_max_bytes, count(&g->max_memory));
}

/* ---- requests ---- */

static void take_codes(const char *method, const uint64_t codes[SCOREBOARD_CODES],
                       struct metrics *m)
{
    for (int i = 0; i < SCOREBOARD_CODES; i++)
        if (codes[i])
            metrics_add(m, METRIC_requests_total, (double)codes[i], method,
                        scoreboard_code_name((enum scoreboard_code)i));
}

static void take_requests(const struct tally *t, struct metrics *m)
{
    for (size_t i = 0; i < t->len; i++) {
        const struct tally_method *method = &t->methods[i];
        take_codes(method->name, method->codes, m);
        struct metric_sample *s = metrics_add(m, METRIC_request_seconds,
                                              (double)method->total_us / 1e6, method->name, "");
        s->count = method->requests;
        memcpy(s->bounded, method->bounded, sizeof s->bounded);
    }
    take_codes("unknown", t->nameless, m);
    put(m, METRIC_request_duplicates_total, (double)t->duplicates);
    for (size_t i = 0; i < t->nscripts; i++)
        metrics_add(m, METRIC_script_seconds, (double)t->scripts[i].total_us / 1e6,
                    t->scripts[i].name, "")
            ->count = t->scripts[i].calls;
}

static void take_circuits(const struct supervisor *s, struct metrics *m)
{
    const struct circuits *circuits = instance_circuits(s->instance);

    for (size_t i = 0; redis_conn_is_up(s->redis) && i < circuits->len; i++)
        metrics_add(m, METRIC_circuit_state, 1, circuits->items[i].method,
                    circuits->items[i].state);
}

static void take_tasks(const struct supervisor *s, const struct tally *t, struct metrics *m)
{
    const struct scoreboard_global *g = &s->scoreboard->global;

    for (int i = 0; i < SCOREBOARD_CLAIMS; i++)
        put_one(m, METRIC_task_claims_total, scoreboard_claim_name((enum scoreboard_claim)i),
                (double)t->claims[i]);
    put(m, METRIC_leases_expired_total, count(&g->leases_expired));
    put(m, METRIC_tasks_moved_total, count(&g->tasks_moved));
}

/* ---- hooks, audit, archive ---- */

static void take_hooks(const struct supervisor *s, const struct tally *t, struct metrics *m)
{
    struct scoreboard_rules rules;

    for (int e = 0; e < SCOREBOARD_HOOK_EVENTS; e++) {
        const char *event = scoreboard_hook_event_name((enum scoreboard_hook_event)e);
        for (int d = DECISION_NONE; d <= DECISION_DENY; d++)
            metrics_add(m, METRIC_hook_decisions_total, (double)t->hook_events[e][d], event,
                        scoreboard_decision_name((enum scoreboard_decision)d));
        put_one(m, METRIC_hook_cached_total, event, (double)t->hook_events[e][DECISION_CACHED]);
    }
    put(m, METRIC_hook_fallback_total, (double)t->fallbacks);
    scoreboard_sum_rules(s->scoreboard, &rules);
    if (rules.workers == 0)
        return;
    put(m, METRIC_hook_rules, rules.rules);
    put(m, METRIC_hook_rules_broken, rules.troubled);
}

static void take_audit(const struct supervisor *s, struct metrics *m)
{
    struct audit_status audit;

    if (!audit_status(s->audit, &audit))
        return;
    put(m, METRIC_audit_records_total, (double)audit.records);
    put(m, METRIC_audit_lost_total, (double)audit.gaps);
    put(m, METRIC_audit_waiting, (double)audit.waiting);
    put(m, METRIC_audit_failing, audit.error[0] != '\0');
}

static void take_archive(const struct supervisor *s, struct metrics *m)
{
    struct scoreboard_archives a;

    if (s->opts->domains.archive.workers == 0)
        return;
    scoreboard_sum_archives(s->scoreboard, &a);
    put(m, METRIC_archive_up, a.workers > 0 && a.down == 0);
    put(m, METRIC_archive_lag_seconds, (double)a.lag_ms / 1000);
    put(m, METRIC_archive_waiting, (double)a.waiting);
    put(m, METRIC_archive_events_total, (double)a.events);
    put(m, METRIC_archive_refused_total, (double)a.refused);
    put(m, METRIC_archive_gaps_total, (double)a.gaps);
}

/* ---- what only Redis knows ---- */

static double number(json_object *o, const char *name)
{
    json_object *value = NULL;

    return json_object_object_get_ex(o, name, &value) ? json_object_get_double(value) : 0;
}

/* A sample for each member of figures.<name> but one. */
static void take_members(json_object *figures, const char *name, enum metric_id id,
                         const char *except, struct metrics *m)
{
    json_object *members = NULL;

    if (!json_object_object_get_ex(figures, name, &members))
        return;
    json_object_object_foreach(members, key, value)
    {
        if (!except || strcmp(key, except) != 0)
            put_one(m, id, key, json_object_get_double(value));
    }
}

static void take_backlogs(json_object *figures, struct metrics *m)
{
    json_object *domains = NULL;

    if (!json_object_object_get_ex(figures, "backlog", &domains))
        return;
    json_object_object_foreach(domains, domain, o)
    {
        put_one(m, METRIC_stream_backlog, domain, number(o, "length"));
        put_one(m, METRIC_stream_oldest_seconds, domain, number(o, "oldest_ms") / 1000);
    }
}

static void take_figures(const struct supervisor *s, struct metrics *m)
{
    int64_t age_ms = 0;
    json_object *figures = figures_peek(s->metrics_figures, &age_ms), *ever = NULL;

    if (!figures)
        return;
    take_members(figures, "tasks", METRIC_tasks, NULL, m);
    if (json_object_object_get_ex(figures, "ever", &ever))
        put(m, METRIC_tasks_created_total, number(ever, "created"));
    take_members(figures, "ever", METRIC_tasks_ended_total, "created", m);
    put(m, METRIC_dead_letters, number(figures, "dead_letters"));
    put(m, METRIC_dead_letters_dropped_total, number(figures, "dead_letters_dropped"));
    put(m, METRIC_event_stream_entries, number(figures, "events"));
    take_backlogs(figures, m);
}

/* ---- all of it ---- */

void measure(struct supervisor *s, struct metrics *ret)
{
    CB_CLEANUP(tally_done) struct tally t = TALLY_INIT;

    services_sum(&s->services, &t);
    take_daemon(s, ret);
    take_workers(s, ret);
    take_redis(s, &t, ret);
    take_requests(&t, ret);
    take_circuits(s, ret);
    take_tasks(s, &t, ret);
    take_hooks(s, &t, ret);
    take_audit(s, ret);
    take_archive(s, ret);
    take_figures(s, ret);
}

/* ---- answers ---- */

static void add_number(json_object *o, const char *name, double value)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;

    metrics_put_number(&text, value);
    json_object *n = mem_must(json_object_new_double_s(value, buf_peek(&text)));
    json_object_object_add(o, name, n);
}

static void add_buckets(json_object *o, const struct metric_sample *s)
{
    json_object *list = json_object_new_array();
    uint64_t sum = 0;

    for (size_t i = 0; i < SCOREBOARD_BOUNDS; i++) {
        json_object *bucket = json_object_new_object();
        sum += s->bounded[i];
        add_number(bucket, "le", (double)scoreboard_bounds_us[i] / 1e6);
        json_object_object_add(bucket, "count", json_object_new_int64((int64_t)sum));
        json_object_array_add(list, bucket);
    }
    json_object_object_add(o, "buckets", list);
}

static json_object *sample_object(const struct metric *m, const struct metric_sample *s)
{
    json_object *o = json_object_new_object(), *labels = json_object_new_object();
    bool is_distribution = m->type == METRIC_HISTOGRAM || m->type == METRIC_SUMMARY;

    for (size_t i = 0; i < METRIC_LABELS && m->labels[i]; i++)
        json_object_object_add(labels, m->labels[i], json_object_new_string(s->labels[i]));
    json_object_object_add(o, "labels", labels);
    add_number(o, is_distribution ? "sum" : "value", s->value);
    if (is_distribution)
        json_object_object_add(o, "count", json_object_new_int64((int64_t)s->count));
    if (m->type == METRIC_HISTOGRAM)
        add_buckets(o, s);
    return o;
}

json_object *measure_object(struct supervisor *s)
{
    struct metrics all CB_CLEANUP(metrics_done) = METRICS_INIT;
    json_object *o = json_object_new_object(), *list = json_object_new_array();

    measure(s, &all);
    for (size_t id = 0; id < METRIC_COUNT; id++) {
        json_object *m = json_object_new_object(), *samples = json_object_new_array();
        json_object_object_add(m, "name", json_object_new_string(metrics[id].name));
        json_object_object_add(m, "type",
                               json_object_new_string(metric_type_name(metrics[id].type)));
        json_object_object_add(m, "help", json_object_new_string(metrics[id].help));
        for (size_t i = 0; i < all.by[id].len; i++)
            json_object_array_add(samples, sample_object(&metrics[id], &all.by[id].items[i]));
        json_object_object_add(m, "samples", samples);
        json_object_array_add(list, m);
    }
    json_object_object_add(o, "version", json_object_new_int64(JSON_VERSION));
    json_object_object_add(o, "metrics", list);
    return o;
}

json_object *measure_text_object(struct supervisor *s)
{
    struct metrics all CB_CLEANUP(metrics_done) = METRICS_INIT;
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    json_object *o = json_object_new_object();

    measure(s, &all);
    metrics_put_text(&all, &text);
    json_object_object_add(o, "text", json_object_new_string(buf_peek(&text)));
    return o;
}
