/*
 * report_json.c: see report_json.h.
 */
#include "common/compat.h"
#include "bench/report/report_json.h"

#include "common/mem.h"

#include <json-c/json.h>

struct report_json {
    struct json_object *root, *runs, *run, *rows;
};

static void add_text(struct json_object *o, const char *name, const char *text)
{
    json_object_object_add(o, name, json_object_new_string(text));
}

static void add_int(struct json_object *o, const char *name, int64_t n)
{
    json_object_object_add(o, name, json_object_new_int64(n));
}

/* Six digits: more would be noise. */
static void add_number(struct json_object *o, const char *name, double x)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", x);
    json_object_object_add(o, name, json_object_new_double_s(x, text));
}

struct report_json *report_json_new(const struct machine *m, unsigned rounds)
{
    struct report_json *j = mem_alloc(sizeof *j);
    struct json_object *machine = json_object_new_object();

    *j = (struct report_json){.root = json_object_new_object(), .runs = json_object_new_array()};
    add_text(j->root, "program", "claudebench-bench " PACKAGE_VERSION);
    add_text(machine, "date", m->date);
    add_text(machine, "cpu", m->cpu);
    add_int(machine, "cores", m->cores);
    add_int(machine, "memory_mib", m->memory_mb);
    add_text(machine, "kernel", m->kernel);
    add_number(machine, "load", m->load);
    add_text(machine, "redis", m->redis);
    add_text(machine, "hiredis", m->hiredis);
    add_text(machine, "compiler", m->compiler);
    add_text(machine, "flags", m->flags);
    add_text(machine, "commit", m->commit);
    add_text(machine, "warning", m->warning);
    json_object_object_add(j->root, "machine", machine);
    add_int(j->root, "rounds", rounds);
    json_object_object_add(j->root, "runs", j->runs);
    return j;
}

void report_json_section(struct report_json *j, const char *aof, const char *layout)
{
    j->run = json_object_new_object();
    j->rows = json_object_new_array();
    add_text(j->run, "aof", aof);
    add_text(j->run, "pinned", layout);
    json_object_object_add(j->run, "rows", j->rows);
    json_object_array_add(j->runs, j->run);
}

static struct json_object *make_side(const struct load_result *l)
{
    struct json_object *o = json_object_new_object();
    double n = l->requests, us = 1e6 / n;

    add_int(o, "requests", l->requests);
    add_int(o, "tasks", l->tasks);
    add_int(o, "errors", l->errors);
    add_int(o, "short_replies", l->short_replies);
    add_number(o, "seconds", l->seconds);
    add_number(o, "requests_per_s", pair_rate(l));
    add_number(o, "p50_ms", l->p50_ms);
    add_number(o, "p95_ms", l->p95_ms);
    add_number(o, "p99_ms", l->p99_ms);
    add_number(o, "client_us", l->cost.client_s * us);
    add_number(o, "supervisor_us", l->cost.supervisor_s * us);
    add_number(o, "workers_us", l->cost.workers_s * us);
    add_number(o, "redis_us", l->cost.redis_s * us);
    add_number(o, "calls", l->cost.calls / n);
    add_number(o, "commands", l->cost.commands / n);
    add_int(o, "client_kib", l->cost.client_kb);
    add_int(o, "supervisor_kib", l->cost.supervisor_kb);
    add_int(o, "worker_kib", l->cost.worker_kb);
    add_int(o, "redis_kib", l->cost.redis_kb);
    return o;
}

static struct json_object *make_round(const struct pair_round *round)
{
    struct json_object *o = json_object_new_object();

    add_number(o, "ratio", round->ratio);
    json_object_object_add(o, "bare", make_side(&round->bare));
    json_object_object_add(o, "system", make_side(&round->system));
    return o;
}

void report_json_pair(struct report_json *j, const struct pair *pair)
{
    struct json_object *o = json_object_new_object(), *all = json_object_new_array();
    const struct row *row = pair->row;

    add_text(o, "row", row->name);
    add_int(o, "clients", row->clients);
    add_int(o, "in_flight", row->in_flight);
    add_int(o, "workers", row->workers);
    add_int(o, "bytes", row->bytes);
    add_int(o, "items", row->items);
    add_int(o, "batch", row_batch(row));
    json_object_object_add(o, "idem", json_object_new_boolean(row->has_idem));
    json_object_object_add(o, "void", json_object_new_boolean(pair_is_bad(pair)));
    add_number(o, "ratio", pair_median(pair)->ratio);
    add_number(o, "ratio_min", pair->round[0].ratio);
    add_number(o, "ratio_max", pair->round[pair->rounds - 1].ratio);
    json_object_object_add(o, "median", make_round(pair_median(pair)));
    for (unsigned i = 0; i < pair->rounds; i++)
        json_object_array_add(all, make_round(&pair->round[i]));
    json_object_object_add(o, "all", all);
    json_object_array_add(j->rows, o);
}

void report_json_depth(struct report_json *j, const struct depth *depth)
{
    struct json_object *o = json_object_new_object(), *all = json_object_new_array();

    add_int(o, "shallow_tasks", DEPTH_SHALLOW);
    add_int(o, "deep_tasks", depth->tasks);
    json_object_object_add(o, "void", json_object_new_boolean(depth_is_bad(depth)));
    add_number(o, "p99_ratio", depth_median(depth)->ratio);
    for (unsigned i = 0; i < depth->rounds; i++) {
        struct json_object *round = json_object_new_object();
        add_number(round, "p99_ratio", depth->round[i].ratio);
        json_object_object_add(round, "shallow", make_side(&depth->round[i].shallow));
        json_object_object_add(round, "deep", make_side(&depth->round[i].deep));
        json_object_array_add(all, round);
    }
    json_object_object_add(o, "all", all);
    json_object_object_add(j->run, "depth", o);
}

static struct json_object *make_point(const struct growth_point *point, bool has_bare,
                                      unsigned rounds)
{
    struct json_object *o = json_object_new_object(), *all = json_object_new_array();

    add_int(o, "value", point->value);
    json_object_object_add(o, "void", json_object_new_boolean(growth_point_is_bad(point, rounds)));
    for (unsigned i = 0; i < rounds; i++) {
        struct json_object *round = json_object_new_object();
        if (has_bare)
            json_object_object_add(round, "bare", make_side(&point->round[i].bare));
        json_object_object_add(round, "system", make_side(&point->round[i].system));
        json_object_array_add(all, round);
    }
    json_object_object_add(o, "all", all);
    return o;
}

void report_json_growth(struct report_json *j, const struct growth *growth, unsigned rounds)
{
    struct json_object *list;

    if (!json_object_object_get_ex(j->run, "growth", &list)) {
        list = json_object_new_array();
        json_object_object_add(j->run, "growth", list);
    }
    for (unsigned i = 0; i < growth->nseries; i++) {
        const struct growth_series *series = &growth->series[i];
        struct json_object *o = json_object_new_object(), *points = json_object_new_array();
        add_text(o, "row", series->row.name);
        add_text(o, "what", growth_name(growth->what));
        for (unsigned v = 0; v < growth->nvalues; v++)
            json_object_array_add(
                points, make_point(&series->point[v], growth_has_bare(growth->what), rounds));
        json_object_object_add(o, "points", points);
        json_object_array_add(list, o);
    }
}

static struct json_object *make_half(const struct pattern_half *h)
{
    struct json_object *o = json_object_new_object();
    double n = h->done ? h->done : 1, us = 1e6 / n;

    add_int(o, "asked", h->asked);
    add_int(o, "done", h->done);
    add_number(o, "seconds", h->seconds);
    add_number(o, "per_s", h->done / h->seconds);
    add_number(o, "client_us", h->cost.client_s * us);
    add_number(o, "reader_us", h->reader_s * us);
    add_number(o, "supervisor_us", h->cost.supervisor_s * us);
    add_number(o, "workers_us", h->cost.workers_s * us);
    add_number(o, "redis_us", h->cost.redis_s * us);
    add_number(o, "commands", h->cost.commands / n);
    add_number(o, "in_bytes", h->in_bytes / n);
    add_number(o, "out_bytes", h->out_bytes / n);
    add_int(o, "client_kib", h->cost.client_kb);
    add_int(o, "supervisor_kib", h->cost.supervisor_kb);
    add_int(o, "worker_kib", h->cost.worker_kb);
    add_int(o, "redis_kib", h->cost.redis_kb);
    return o;
}

void report_json_pattern(struct report_json *j, const struct pattern_result *result,
                         unsigned rounds)
{
    const char letter[] = {result->pattern->letter, '\0'};
    struct json_object *o = json_object_new_object(), *all = json_object_new_array(), *list;

    if (!json_object_object_get_ex(j->run, "patterns", &list)) {
        list = json_object_new_array();
        json_object_object_add(j->run, "patterns", list);
    }
    add_text(o, "pattern", result->pattern->name);
    add_text(o, "letter", letter);
    json_object_object_add(o, "whole", json_object_new_boolean(pattern_is_whole(result, rounds)));
    for (unsigned i = 0; i < rounds; i++) {
        const struct pattern_round *r = &result->round[i];
        struct json_object *round = json_object_new_object();
        add_number(round, "p50_ms", r->p50_ms);
        add_number(round, "p95_ms", r->p95_ms);
        add_number(round, "p99_ms", r->p99_ms);
        json_object_object_add(round, "alone", make_half(&r->alone));
        json_object_object_add(round, "at_once", make_half(&r->at_once));
        json_object_array_add(all, round);
    }
    json_object_object_add(o, "all", all);
    json_object_array_add(list, o);
}

void report_json_idle(struct report_json *j, const struct footprint_idle *idle)
{
    struct json_object *o = json_object_new_object();

    add_number(o, "seconds", idle->seconds);
    add_number(o, "commands_per_s", idle->commands_per_s);
    add_number(o, "inner_commands_per_s", idle->inner_per_s);
    add_number(o, "supervisor_percent", idle->supervisor_percent);
    add_number(o, "workers_percent", idle->workers_percent);
    add_number(o, "redis_percent", idle->redis_percent);
    add_int(o, "supervisor_kib", idle->supervisor_kb);
    add_int(o, "worker_kib", idle->worker_kb);
    json_object_object_add(j->run, "idle", o);
}

void report_json_task_bytes(struct report_json *j, double bytes)
{
    add_number(j->run, "task_bytes", bytes);
}

char *report_json_take(struct report_json *j)
{
    char *text = mem_printf("%s\n",
                            json_object_to_json_string_ext(j->root, JSON_C_TO_STRING_PRETTY));
    json_object_put(j->root);
    free(j);
    return text;
}
