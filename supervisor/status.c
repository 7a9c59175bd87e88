/*
 * status.c: see status.h. json-c builds the document; nothing here waits for anybody.
 */
#include "common/compat.h"
#include "supervisor/jsonc.h"
#include "supervisor/status.h"

#include "common/clock.h"
#include "supervisor/circuits.h"
#include "supervisor/config.h"
#include "supervisor/durable.h"
#include "supervisor/figures.h"
#include "supervisor/lineage.h"
#include "supervisor/supervisor.h"

static void put_str(json_object *o, const char *key, const char *value)
{
    json_object_object_add(o, key, json_object_new_string(value));
}

static void put_int(json_object *o, const char *key, int64_t value)
{
    json_object_object_add(o, key, json_object_new_int64(value));
}

static void put_bool(json_object *o, const char *key, bool value)
{
    json_object_object_add(o, key, json_object_new_boolean(value));
}

static void put_time(json_object *o, const char *key, int64_t wall_ms)
{
    char text[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(wall_ms, text);
    put_str(o, key, text);
}

/* ---- redis, leader ---- */

static const char *redis_state_word(enum redis_state state)
{
    switch (state) {
    case REDIS_STATE_UP:
        return "up";
    case REDIS_STATE_LOADING:
        return "loading";
    case REDIS_STATE_DOWN:
        return "down";
    default:
        return "unknown";
    }
}

static json_object *redis_object(const struct supervisor *s)
{
    json_object *o = json_object_new_object();
    const struct scoreboard_global *g = &s->scoreboard->global;
    const char *error = redis_conn_error(s->redis);
    char url[200];

    redis_target_describe(&s->target, url, sizeof url);
    put_str(o, "state", redis_state_word(redis_conn_state(s->redis)));
    put_time(o, "since", redis_conn_since_ms(s->redis));
    put_str(o, "url", url);
    if (error[0])
        put_str(o, "error", error);
    put_bool(o, "embedded", s->embedded != NULL);
    if (s->embedded) {
        put_int(o, "pid", embedded_redis_pid(s->embedded));
        put_bool(o, "adopted", embedded_redis_is_adopted(s->embedded));
        put_int(o, "restarts", embedded_redis_restarts(s->embedded));
    }
    put_str(o, "appendfsync", durable_fsync(s->durable));
    put_int(o, "used_memory", (int64_t)atomic_load(&g->used_memory));
    put_int(o, "max_memory", (int64_t)atomic_load(&g->max_memory));
    return o;
}

static json_object *data_object(const struct supervisor *s)
{
    json_object *o = json_object_new_object();

    put_str(o, "generation", lineage_generation(s->lineage));
    put_str(o, "before", lineage_before(s->lineage));
    return o;
}

static json_object *leader_object(const struct supervisor *s)
{
    json_object *o = json_object_new_object();
    struct instance_leader l = instance_leader(s->instance);

    put_str(o, "id", l.id);
    put_bool(o, "is_self", l.is_self);
    put_str(o, "epoch", l.epoch);
    return o;
}

static json_object *hosts_object(const struct supervisor *s)
{
    json_object *o = json_object_new_object();
    const struct instance_hosts *hosts = instance_hosts(s->instance);

    put_int(o, "seen", hosts->seen);
    put_int(o, "known", hosts->known);
    if (hosts->silent[0])
        put_str(o, "silent", hosts->silent);
    if (hosts->partition_since_ms)
        put_time(o, "partition_since", hosts->partition_since_ms);
    return o;
}

static json_object *circuits_array(const struct supervisor *s)
{
    json_object *list = json_object_new_array();
    const struct circuits *circuits = instance_circuits(s->instance);

    for (size_t i = 0; i < circuits->len; i++) {
        json_object *o = json_object_new_object();
        put_str(o, "method", circuits->items[i].method);
        put_str(o, "state", circuits->items[i].state);
        put_time(o, "since", circuits->items[i].since_ms);
        put_str(o, "reason", circuits->items[i].reason);
        json_object_array_add(list, o);
    }
    return list;
}

/* ---- audit ---- */

static json_object *audit_object(const struct audit_status *a)
{
    json_object *o = json_object_new_object();

    put_str(o, "file", a->file);
    put_str(o, "state", a->error[0] ? "failing" : "ok");
    if (a->error[0])
        put_str(o, "error", a->error);
    put_int(o, "seq", a->seq);
    put_str(o, "id", a->id);
    put_str(o, "hash", a->hash);
    put_int(o, "records", a->records);
    put_int(o, "waiting", a->waiting);
    put_int(o, "lost", a->gaps);
    put_int(o, "local_last_hour", a->local);
    return o;
}

/* ---- workers ---- */

static const char *state_word(const struct child *c, const struct scoreboard_slot *slot)
{
    if (c->state != CHILD_UP && !child_is_refused(c))
        return child_state_name(c->state);
    return worker_state_name((enum worker_state)atomic_load(&slot->state));
}

static void put_method(json_object *o, const struct scoreboard_slot *slot)
{
    int index = atomic_load(&slot->method);
    char name[sizeof slot->methods[0].name] = "";

    if (index >= 0 && index < SCOREBOARD_METHODS)
        memcpy(name, slot->methods[index].name, sizeof name - 1);
    put_str(o, "method", name);
}

static json_object *worker_object(const struct child *c)
{
    const struct scoreboard_slot *slot = child_slot(c);
    json_object *o = json_object_new_object();
    int64_t now = clock_mono_ms();
    char entry[STREAM_ID_SIZE];

    scoreboard_get_entry(slot, entry);
    put_str(o, "domain", c->domain);
    put_int(o, "slot", c->slot);
    put_int(o, "generation", (int64_t)c->generation);
    put_int(o, "pid", c->pid);
    put_str(o, "state", state_word(c, slot));
    put_method(o, slot);
    put_str(o, "entry", entry);
    put_int(o, "requests", (int64_t)atomic_load(&slot->requests));
    put_int(o, "age_ms", c->pid > 0 ? now - c->started_ms : 0);
    put_int(o, "restarts", c->restarts);
    put_int(o, "next_start_ms", c->next_start_ms > now ? c->next_start_ms - now : 0);
    return o;
}

static json_object *workers_array(const struct supervisor *s)
{
    json_object *list = json_object_new_array();

    for (size_t i = 0; i < s->services.len; i++)
        for (size_t j = 0; j < s->services.items[i].len; j++)
            json_object_array_add(list, worker_object(s->services.items[i].children[j]));
    return list;
}

/* ---- hooks ---- */

static json_object *hooks_object(const struct supervisor *s)
{
    json_object *o = json_object_new_object();
    struct scoreboard_rules rules;

    scoreboard_sum_rules(s->scoreboard, &rules);
    put_int(o, "rules", rules.rules);
    put_str(o, "version", rules.version);
    if (rules.troubled)
        put_str(o, "problem", rules.problem);
    for (int i = 0; i < SCOREBOARD_DECISIONS; i++)
        put_int(o, scoreboard_decision_name((enum scoreboard_decision)i),
                (int64_t)scoreboard_decisions(s->scoreboard, (enum scoreboard_decision)i));
    return o;
}

/* ---- requests ---- */

static json_object *requests_object(const struct supervisor *s, const struct tally *t)
{
    json_object *o = json_object_new_object();

    put_int(o, "total", (int64_t)t->requests);
    put_int(o, "duplicates", (int64_t)t->duplicates);
    put_int(o, "commits", (int64_t)t->commits);
    put_int(o, "reconnects", (int64_t)t->reconnects);
    put_int(o, "handing_on", (int64_t)handon_count(s->handon));
    return o;
}

static json_object *method_object(const struct tally_method *m)
{
    json_object *o = json_object_new_object();

    put_int(o, "requests", (int64_t)m->requests);
    put_int(o, "errors", (int64_t)m->errors);
    put_int(o, "refused", (int64_t)m->refused);
    put_int(o, "total_us", (int64_t)m->total_us);
    put_int(o, "p50_us", scoreboard_percentile_us(m->buckets, 0.50));
    put_int(o, "p95_us", scoreboard_percentile_us(m->buckets, 0.95));
    put_int(o, "p99_us", scoreboard_percentile_us(m->buckets, 0.99));
    return o;
}

static void put_requests(json_object *o, const struct supervisor *s)
{
    CB_CLEANUP(tally_done) struct tally t = TALLY_INIT;
    json_object *by_method = json_object_new_object();

    services_sum(&s->services, &t);
    json_object_object_add(o, "requests", requests_object(s, &t));
    for (size_t i = 0; i < t.len; i++)
        json_object_object_add(by_method, t.methods[i].name, method_object(&t.methods[i]));
    json_object_object_add(o, "methods", by_method);
}

/* ---- the log, what only Redis knows ---- */

static json_object *log_array(const struct supervisor *s)
{
    json_object *list = json_object_new_array();
    struct log_ring_line lines[LOG_RING_LINES];
    size_t n = log_ring_read(&s->scoreboard->log, lines, CB_ARRAY_LEN(lines));

    for (size_t i = 0; i < n; i++) {
        json_object *o = json_object_new_object();
        put_time(o, "at", lines[i].wall_ms);
        put_str(o, "level", log_level_name((enum log_level)lines[i].level));
        put_str(o, "program", lines[i].program);
        put_int(o, "pid", lines[i].pid);
        put_str(o, "text", lines[i].text);
        json_object_array_add(list, o);
    }
    return list;
}

/* null: not known. */
static void put_figures(json_object *o, const struct supervisor *s)
{
    int64_t age_ms = 0;
    json_object *figures = figures_peek(s->figures, &age_ms);

    json_object_object_add(o, "figures", json_object_get(figures));
    json_object_object_add(o, "figures_age_ms", figures ? json_object_new_int64(age_ms) : NULL);
}

/* ---- all of it ---- */

static json_object *reasons_array(const struct health *h)
{
    json_object *list = json_object_new_array();

    for (unsigned i = 0; i < h->len; i++)
        json_object_array_add(list, json_object_new_string(h->reasons[i]));
    return list;
}

/* What is in force, and what is on its way. */
static json_object *config_object(const struct supervisor *s)
{
    json_object *o = json_object_new_object();
    struct service_counts n;

    services_count(&s->services, &n);
    put_str(o, "file", config_name(s->config));
    put_time(o, "loaded", s->reload.loaded_ms);
    put_int(o, "reloads", (int64_t)s->reload.count);
    put_int(o, "refused", (int64_t)s->reload.refused);
    json_object_object_add(o, "needs_restart", json_object_get(s->reload.restart));
    put_int(o, "old_workers", n.old);
    return o;
}

/* ---- archive ---- */

static json_object *archive_object(const struct supervisor *s)
{
    json_object *o = json_object_new_object();
    struct scoreboard_archives a;

    scoreboard_sum_archives(s->scoreboard, &a);
    put_str(o, "state", a.workers == 0 || a.down > 0 ? "waiting" : "ok");
    if (a.problem[0])
        put_str(o, "error", a.problem);
    put_int(o, "events", (int64_t)a.events);
    put_int(o, "refused", (int64_t)a.refused);
    put_int(o, "gaps", (int64_t)a.gaps);
    put_int(o, "waiting", (int64_t)a.waiting);
    put_int(o, "lag_ms", a.lag_ms);
    return o;
}

json_object *status_object(struct supervisor *s)
{
    json_object *o = json_object_new_object();
    struct audit_status audit;

    health_update(&s->health);
    put_int(o, "pid", getpid());
    put_str(o, "version", PACKAGE_VERSION);
    put_str(o, "instance", s->opts->instance.id);
    put_str(o, "incarnation", instance_incarnation(s->instance));
    put_int(o, "uptime_ms", clock_mono_ms() - s->started_ms);
    put_str(o, "status", health_status_name(s->health.status));
    json_object_object_add(o, "reasons", reasons_array(&s->health));
    put_time(o, "since", s->health.since_ms);
    json_object_object_add(o, "config", config_object(s));
    json_object_object_add(o, "redis", redis_object(s));
    json_object_object_add(o, "data", data_object(s));
    json_object_object_add(o, "leader", leader_object(s));
    json_object_object_add(o, "hosts", hosts_object(s));
    json_object_object_add(o, "circuits", circuits_array(s));
    if (audit_status(s->audit, &audit))
        json_object_object_add(o, "audit", audit_object(&audit));
    if (s->opts->domains.archive.workers > 0)
        json_object_object_add(o, "archive", archive_object(s));
    json_object_object_add(o, "workers", workers_array(s));
    json_object_object_add(o, "hooks", hooks_object(s));
    put_requests(o, s);
    put_figures(o, s);
    json_object_object_add(o, "log", log_array(s));
    return o;
}
