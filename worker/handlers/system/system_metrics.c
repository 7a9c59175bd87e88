/*
 * system_metrics.c: system.metrics: counters and latencies from this host's scoreboard, summed over its
 * workers, those that are gone included (`retired`); lua/system_metrics.lua adds the counts of tasks.
 */
#include "common/compat.h"
#include "common/clock.h"
#include "worker/handlers/system/system_tables.h"

#define COUNT(name, doc) FIELD_INT(name, REQUIRED, 0, INT64_MAX, doc)

static const struct field params[] = {FIELD_END};

static const struct field counter_fields[] = {
    COUNT("requests", "Requests handled, with those that were refused."),
    COUNT("commits", "Script calls: a group of requests is one."),
    COUNT("duplicates", "Commits that changed nothing: somebody else had the entry."),
    COUNT("reconnects", "Connections to Redis that were lost and made again."),
    COUNT("restarts", "Workers that died and were replaced."),
    FIELD_END,
};

static const struct field gauge_fields[] = {
    COUNT("workersWanted", "Worker processes that there should be."),
    COUNT("workersReady", "Worker processes that are ready."),
    COUNT("usedMemory", "Bytes that Redis uses."),
    COUNT("maxMemory", "Bytes that it may use, 0 = no limit."),
    FIELD_BOOL("isLeader", REQUIRED, "This host leads."),
    FIELD_END,
};

static const struct field hook_fields[] = {
    COUNT("none", "Calls and prompts about which no rule had an opinion."),
    COUNT("allow", "Those that a rule allowed."),
    COUNT("modify", "Those that were rewritten."),
    COUNT("ask", "Those that the user was to decide."),
    COUNT("deny", "Those that were refused."),
    COUNT("fallbacks", "Those that clients decided without a daemon, as they told later."),
    COUNT("cached", "Decisions that were taken from the cache."),
    FIELD_END,
};

static const struct field audit_fields[] = {
    COUNT("records", "Entries of the audit trail that were written to this host's audit file."),
    COUNT("waiting", "Those that are not in it yet: its lag."),
    COUNT("lost", "Those that left the stream before they could be."),
    COUNT("localLastHour", "Calls of the last hour that clients decided without a daemon."),
    FIELD_END,
};

static const struct field archive_fields[] = {
    COUNT("workers", "Archive workers that run."),
    COUNT("down", "Those that wait for PostgreSQL."),
    COUNT("events", "Events that they have archived since the daemon's start."),
    COUNT("rows", "Rows that these events were."),
    COUNT("refused", "Records that PostgreSQL did not take."),
    COUNT("gaps", "How often events were gone before they were archived, and all was read again."),
    COUNT("waiting", "Events that are not archived yet, of all hosts: the lag."),
    COUNT("lag_ms", "The age of the oldest of these."),
    FIELD_END,
};

static const struct field method_fields[] = {
    FIELD_STR("method", REQUIRED, 1, 64, "The method."),
    COUNT("requests", "Requests for it."),
    COUNT("errors", "Those that its script answered with an error."),
    COUNT("refused", "Those that were refused before, circuit and rate limit included."),
    FIELD_NUM("p50_ms", REQUIRED, 0, 1000000000, "From read to committed: half are faster."),
    FIELD_NUM("p95_ms", REQUIRED, 0, 1000000000, "95 % are faster."),
    FIELD_NUM("p99_ms", REQUIRED, 0, 1000000000, "99 % are faster."),
    FIELD_END,
};
static const struct field method_element[] = {
    FIELD_OBJECT("", REQUIRED, method_fields, "A method that was asked for."),
    FIELD_END,
};

static const struct field script_fields[] = {
    FIELD_STR("script", REQUIRED, 1, 64, "The script."),
    COUNT("calls", "Calls that committed a group of requests."),
    COUNT("requests", "Requests in these groups."),
    FIELD_NUM("total_ms", REQUIRED, 0, 1000000000000, "Round trips, added up."),
    FIELD_NUM("mean_ms", REQUIRED, 0, 1000000000, "Of a round trip."),
    FIELD_NUM("max_ms", REQUIRED, 0, 1000000000, "The longest one."),
    FIELD_END,
};
static const struct field script_element[] = {
    FIELD_OBJECT("", REQUIRED, script_fields, "A script that was called."),
    FIELD_END,
};

static const struct field global_fields[] = {
    FIELD_TIME("since", REQUIRED, "Since when these are counted."),
    FIELD_TIME("at", REQUIRED, "When the leader summed them up."),
    COUNT("requests", "Requests handled."),
    COUNT("errors", "Those that their script answered with an error."),
    COUNT("refused", "Those that were refused before."),
    COUNT("commits", "Script calls."),
    COUNT("duplicates", "Commits that changed nothing."),
    COUNT("reconnects", "Connections to Redis that were made again."),
    COUNT("restarts", "Workers that died and were replaced."),
    COUNT("hosts", "Daemons whose figures are fresh."),
    COUNT("workers", "Their workers that are ready."),
    COUNT("decisions", "Tool calls and prompts that rules decided."),
    COUNT("denied", "Those that were refused."),
    COUNT("fallbacks", "Those that clients decided without a daemon, as they told later."),
    FIELD_NUM("requests_per_s", REQUIRED, 0, 1000000000, "Over the last 10 s."),
    FIELD_NUM("p50_ms", REQUIRED, 0, 1000000000,
              "Of the requests of the last minute: half are faster."),
    FIELD_NUM("p95_ms", REQUIRED, 0, 1000000000, "95 % are faster."),
    FIELD_NUM("p99_ms", REQUIRED, 0, 1000000000, "99 % are faster."),
    FIELD_END,
};

static const struct field scaling_fields[] = {
    COUNT("daemons", "Daemons whose figures are fresh."),
    COUNT("agents", "Agents that are registered, of 100 at most."),
    COUNT("capacity", "Tasks that they take at once."),
    COUNT("held", "Tasks that they hold."),
    FIELD_NUM("load_min", REQUIRED, 0, 1000000000,
              "Tasks held by capacity, of the one that has least to do."),
    FIELD_NUM("load_max", REQUIRED, 0, 1000000000, "Of the one that has most to do."),
    FIELD_NUM("load_spread", REQUIRED, 0, 1000000000, "The difference."),
    FIELD_NUM("created_per_s", REQUIRED, 0, 1000000000, "Tasks created, over the last 30 s."),
    FIELD_NUM("completed_per_s", REQUIRED, 0, 1000000000, "Tasks completed, over the last 30 s."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_ID("instance", REQUIRED_OR_NULL, "The host whose workers these are."),
    FIELD_TIME("since", REQUIRED, "When its daemon started."),
    FIELD_OBJECT("counters", REQUIRED, counter_fields,
                 "What its workers have counted since its daemon started."),
    FIELD_OBJECT("gauges", REQUIRED, gauge_fields, "How it is now."),
    FIELD_OBJECT("hooks", REQUIRED, hook_fields, "Decisions of its rules, the same."),
    FIELD_OBJECT("audit", REQUIRED, audit_fields,
                 "Its audit file, since its daemon started; zeroes when there is none."),
    FIELD_OBJECT("archive", REQUIRED, archive_fields,
                 "Its part in the archive in PostgreSQL; zeroes when it has none."),
    FIELD_LIST("methods", REQUIRED, 0, SCOREBOARD_METHODS, method_element, "By method."),
    FIELD_LIST("scripts", REQUIRED, 0, SCOREBOARD_SCRIPTS, script_element,
               "By script. A round trip is the worker's: from the write of a call to its reply, so "
               "that it waits for the calls before it; what a script takes inside Redis is in "
               "INFO commandstats and SLOWLOG."),
    FIELD_OBJECT("tasks", REQUIRED, system_counts_fields, "Tasks in each state, of all hosts."),
    FIELD_OBJECT("global", REQUIRED_OR_NULL, global_fields,
                 "The daemons on this Redis together, those that are gone included; null before "
                 "the first sum."),
    FIELD_OBJECT("scaling", REQUIRED_OR_NULL, scaling_fields,
                 "How much there is to do, and by whom."),
    FIELD_LIST("circuits", REQUIRED, 0, 100, system_circuit_element,
               "Circuit breakers that have counted something, of all hosts."),
    FIELD_END,
};

struct method_sum {
    uint64_t requests;
    uint64_t errors;
    uint64_t refused;
    uint64_t buckets[SCOREBOARD_BUCKETS];
};

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_slot_method(const struct scoreboard_method *m, struct method_sum *sum)
{
    if (get(&m->requests) == 0)
        return;
    sum->requests += get(&m->requests);
    sum->errors += get(&m->errors);
    sum->refused += get(&m->refused);
    for (size_t i = 0; i < SCOREBOARD_BUCKETS; i++)
        sum->buckets[i] += get(&m->buckets[i]);
}

static void put_count(struct buf *out, const char *name, uint64_t n)
{
    json_put_key(out, name);
    buf_printf(out, "%" PRIu64, n);
}

static void put_ms(struct buf *out, const char *name, const struct method_sum *sum, double p)
{
    json_put_key(out, name);
    buf_printf(out, "%.3f", (double)scoreboard_percentile_us(sum->buckets, p) / 1000.0);
}

/* Workers of one build number the methods alike; those that are gone may have been of another one. */
static void put_method(struct buf *out, const struct scoreboard *board, int id)
{
    struct method_sum sum = {0};

    for (size_t i = 0; i < SCOREBOARD_METHODS; i++)
        if (strcmp(board->retired.methods[i].name, methods[id].name) == 0)
            add_slot_method(&board->retired.methods[i], &sum);
    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++)
        if (strcmp(board->slots[i].methods[id].name, methods[id].name) == 0)
            add_slot_method(&board->slots[i].methods[id], &sum);
    if (sum.requests == 0)
        return;
    json_put_comma(out);
    buf_putc(out, '{');
    json_put_text(out, "method", methods[id].name);
    put_count(out, "requests", sum.requests);
    put_count(out, "errors", sum.errors);
    put_count(out, "refused", sum.refused);
    put_ms(out, "p50_ms", &sum, 0.50);
    put_ms(out, "p95_ms", &sum, 0.95);
    put_ms(out, "p99_ms", &sum, 0.99);
    buf_putc(out, '}');
}

static void put_us(struct buf *out, const char *name, double us)
{
    json_put_key(out, name);
    buf_printf(out, "%.3f", us / 1000.0);
}

static void put_script(struct buf *out, const struct scoreboard *board, int id)
{
    struct scoreboard_script sum = {.calls = 0};

    snprintf(sum.name, sizeof sum.name, "%s", scripts_name((enum script_id)id));
    for (size_t i = 0; i < SCOREBOARD_SCRIPTS; i++)
        scoreboard_add_script(&sum, &board->retired.scripts[i]);
    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++)
        scoreboard_add_script(&sum, &board->slots[i].scripts[id]);
    uint64_t calls = get(&sum.calls);
    if (calls == 0)
        return;
    json_put_comma(out);
    buf_putc(out, '{');
    json_put_text(out, "script", sum.name);
    put_count(out, "calls", calls);
    put_count(out, "requests", get(&sum.requests));
    put_us(out, "total_ms", (double)get(&sum.total_us));
    put_us(out, "mean_ms", (double)get(&sum.total_us) / (double)calls);
    put_us(out, "max_ms", (double)get(&sum.max_us));
    buf_putc(out, '}');
}

static void put_counters(struct buf *out, const struct scoreboard *board)
{
    uint64_t requests = get(&board->retired.requests), commits = get(&board->retired.commits);
    uint64_t duplicates = get(&board->retired.duplicates);
    uint64_t reconnects = get(&board->retired.reconnects);

    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++) {
        const struct scoreboard_slot *slot = &board->slots[i];
        requests += get(&slot->requests);
        commits += get(&slot->commits);
        duplicates += get(&slot->duplicates);
        reconnects += get(&slot->reconnects);
    }
    json_put_key(out, "counters");
    buf_putc(out, '{');
    put_count(out, "requests", requests);
    put_count(out, "commits", commits);
    put_count(out, "duplicates", duplicates);
    put_count(out, "reconnects", reconnects);
    put_count(out, "restarts", get(&board->global.restarts));
    buf_putc(out, '}');
}

static uint64_t not_negative(int n)
{
    return n > 0 ? (uint64_t)n : 0;
}

static void put_gauges(struct buf *out, const struct scoreboard_global *g)
{
    json_put_key(out, "gauges");
    buf_putc(out, '{');
    put_count(out, "workersWanted", not_negative(atomic_load(&g->workers_wanted)));
    put_count(out, "workersReady", not_negative(atomic_load(&g->workers_ready)));
    put_count(out, "usedMemory", get(&g->used_memory));
    put_count(out, "maxMemory", get(&g->max_memory));
    json_put_key(out, "isLeader");
    buf_puts(out, atomic_load(&g->is_leader) ? "true}" : "false}");
}

static void put_audit(struct buf *out, const struct scoreboard_global *g)
{
    json_put_key(out, "audit");
    buf_putc(out, '{');
    put_count(out, "records", get(&g->audit_records));
    put_count(out, "waiting", get(&g->audit_waiting));
    put_count(out, "lost", get(&g->audit_lost));
    put_count(out, "localLastHour", get(&g->audit_local));
    buf_putc(out, '}');
}

static void put_archive(struct buf *out, const struct scoreboard *board)
{
    struct scoreboard_archives archive;

    scoreboard_sum_archives(board, &archive);
    json_put_key(out, "archive");
    buf_putc(out, '{');
    put_count(out, "workers", (uint64_t)archive.workers);
    put_count(out, "down", (uint64_t)archive.down);
    put_count(out, "events", archive.events);
    put_count(out, "rows", archive.rows);
    put_count(out, "refused", archive.refused);
    put_count(out, "gaps", archive.gaps);
    put_count(out, "waiting", archive.waiting);
    put_count(out, "lag_ms", (uint64_t)archive.lag_ms);
    buf_putc(out, '}');
}

static void put_hooks(struct buf *out, const struct scoreboard *board)
{
    json_put_key(out, "hooks");
    buf_putc(out, '{');
    for (int i = 0; i < SCOREBOARD_DECISIONS; i++)
        put_count(out, scoreboard_decision_name((enum scoreboard_decision)i),
                  scoreboard_decisions(board, (enum scoreboard_decision)i));
    buf_putc(out, '}');
}

static void put_host(struct buf *out, const struct scoreboard_global *g)
{
    char since[CLOCK_RFC3339_SIZE], id[sizeof g->instance_id];

    memcpy(id, g->instance_id, sizeof id);
    id[sizeof id - 1] = '\0';
    clock_format_rfc3339(atomic_load(&g->started_ms), since);
    json_put_key(out, "instance");
    if (id[0])
        json_put_cstr(out, id);
    else
        buf_puts(out, "null");
    json_put_text(out, "since", since);
}

static int prepare(struct prepare *p)
{
    struct buf out = BUF_INIT;

    buf_putc(&out, '{');
    put_host(&out, &p->ctx->board->global);
    put_counters(&out, p->ctx->board);
    put_gauges(&out, &p->ctx->board->global);
    put_hooks(&out, p->ctx->board);
    put_audit(&out, &p->ctx->board->global);
    put_archive(&out, p->ctx->board);
    json_put_key(&out, "methods");
    buf_putc(&out, '[');
    for (int i = 0; i < METHOD_COUNT; i++)
        put_method(&out, p->ctx->board, i);
    buf_putc(&out, ']');
    json_put_key(&out, "scripts");
    buf_putc(&out, '[');
    for (int i = 0; i < SCRIPT_COUNT; i++)
        put_script(&out, p->ctx->board, i);
    buf_putc(&out, ']');
    prepare_arg(p, arena_strndup(p->arena, out.data, out.len), out.len);
    buf_done(&out);
    return 0;
}

const struct handler handler_system_metrics = {
    .method = METHOD_system_metrics,
    .summary = "Show counters and latencies of this host and of all, and counts of tasks.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_METRICS,
    .prepare = prepare,
};
