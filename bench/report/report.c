/*
 * report.c: see report.h: the tables.
 */
#include "common/compat.h"
#include "bench/report/report.h"

#include "bench/env/machine.h"
#include "bench/env/stop.h"
#include "bench/report/report_json.h"
#include "common/mem.h"

enum { KEPT_MAX = 128 };

/* What the table of memory needs of a row. */
struct kept {
    const struct row *row;
    struct cost bare, system;
};

struct report {
    struct report_json *json;
    struct kept kept[KEPT_MAX];
    size_t nkept;
    unsigned rounds;
};

struct report *report_new(struct env *env, unsigned rounds, bool is_quick)
{
    struct report *r = mem_alloc(sizeof *r);
    struct machine machine;

    machine_read(env, &machine);
    r->rounds = rounds;
    r->json = report_json_new(&machine, rounds);
    printf("# claudebench-bench %s\n\n", PACKAGE_VERSION);
    printf("- date: %s\n- machine: %s, %ld cores, %ld MiB, %s; load average at the start %.2f\n",
           machine.date, machine.cpu, machine.cores, machine.memory_mb, machine.kernel,
           machine.load);
    printf("- redis %s, hiredis %s\n- compiler: %s, %s\n- commit: %s\n", machine.redis,
           machine.hiredis, machine.compiler, machine.flags, machine.commit);
    if (machine.warning[0])
        printf("- **not a build to measure: %s**\n", machine.warning);
    if (is_quick)
        printf("- **--quick: no figures to quote**\n");
    fflush(stdout);
    return r;
}

void report_section(struct report *r, const struct env *env)
{
    report_json_section(r->json, env->appendfsync, pin_name(env->layout));
    printf("\n## AOF %s, pinned: %s, %u rounds\n", env->appendfsync, pin_name(env->layout),
           r->rounds);
    r->nkept = 0;
    fflush(stdout);
}

static void print_heads(void)
{
    printf("\n"
           "| row | clients | in flight | workers | bytes | side | req/s | tasks/s | p50 ms | "
           "p95 ms | p99 ms | client µs | supervisor µs | workers µs | redis µs | calls | "
           "commands | ratio | min–max |\n"
           "|---|---:|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
           "---:|---|\n");
}

static void print_side(const struct row *row, const struct load_result *l, bool is_system)
{
    double n = l->requests, us = 1e6 / n;

    printf("| %s | %u | %u | %u | %u | %s | %.0f | ", row->name, row->clients, row->in_flight,
           row->workers, row->bytes, is_system ? "system" : "bare", pair_rate(l));
    if (row->items > 1 && strcmp(row_domain(row), "task") == 0)
        printf("%.0f", l->tasks / l->seconds);
    printf(" | %.3f | %.3f | %.3f | %.1f | ", l->p50_ms, l->p95_ms, l->p99_ms,
           l->cost.client_s * us);
    if (is_system)
        printf("%.2f", l->cost.supervisor_s * us);
    printf(" | %.1f | %.1f | %.2f | %.2f | ", l->cost.workers_s * us, l->cost.redis_s * us,
           l->cost.calls / n, l->cost.commands / n);
}

void report_pair(struct report *r, const struct pair *pair)
{
    const struct pair_round *m = pair_median(pair);

    if (r->nkept == 0)
        print_heads();
    print_side(pair->row, &m->bare, false);
    printf(" | |\n");
    print_side(pair->row, &m->system, true);
    if (pair_is_bad(pair))
        printf("**void** | error replies, or replies without tasks |\n");
    else
        printf("%.0f %% | %.0f–%.0f %% |\n", m->ratio * 100, pair->round[0].ratio * 100,
               pair->round[pair->rounds - 1].ratio * 100);
    fflush(stdout);
    report_json_pair(r->json, pair);
    cb_assert(r->nkept < KEPT_MAX);
    r->kept[r->nkept++] = (struct kept){pair->row, m->bare.cost, m->system.cost};
}

void report_section_end(struct report *r)
{
    if (r->nkept == 0)
        return;
    printf("\nResident memory at the end of the row, KiB:\n\n"
           "| row | client | supervisor | largest worker | redis | redis beside bare |\n"
           "|---|---:|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < r->nkept; i++) {
        const struct kept *k = &r->kept[i];
        printf("| %s | %ld | %ld | %ld | %ld | %ld |\n", k->row->name, k->system.client_kb,
               k->system.supervisor_kb, k->system.worker_kb, k->system.redis_kb, k->bare.redis_kb);
    }
    fflush(stdout);
    r->nkept = 0;
}

void report_idle(struct report *r, const struct footprint_idle *idle)
{
    printf("\nIdle: a supervisor with %d task and %d system workers, %.0f s: %.2f Redis commands/s "
           "sent (a supervisor may send 3 and a worker 1.5), %.1f/s more inside scripts; CPU of "
           "one core: supervisor %.2f %%, all workers %.2f %%, redis %.2f %%; resident: supervisor "
           "%ld KiB, largest worker %ld KiB.\n",
           FOOTPRINT_TASK_WORKERS, FOOTPRINT_SYSTEM_WORKERS, idle->seconds, idle->commands_per_s,
           idle->inner_per_s, idle->supervisor_percent, idle->workers_percent, idle->redis_percent,
           idle->supervisor_kb, idle->worker_kb);
    report_json_idle(r->json, idle);
    fflush(stdout);
}

static void print_depth(unsigned tasks, const struct load_result *l)
{
    double n = l->requests;

    printf("| %u | %.0f | %.3f | %.3f | %.3f | %.1f | %.1f | %.2f |\n", tasks, pair_rate(l),
           l->p50_ms, l->p95_ms, l->p99_ms, l->cost.workers_s * 1e6 / n, l->cost.redis_s * 1e6 / n,
           l->cost.commands / n);
}

void report_depth(struct report *r, const struct depth *depth)
{
    const struct depth_round *m = depth_median(depth);

    printf("\nClaims of one task, one in flight, by how many are queued, %u rounds:\n\n"
           "| queued | req/s | p50 ms | p95 ms | p99 ms | workers µs | redis µs | commands |\n"
           "|---:|---:|---:|---:|---:|---:|---:|---:|\n",
           depth->rounds);
    print_depth(DEPTH_SHALLOW, &m->shallow);
    print_depth(depth->tasks, &m->deep);
    if (depth_is_bad(depth))
        printf("\n**void**: error replies, or replies without tasks\n");
    else
        printf("\np99 with %u queued over p99 with %d: %.0f %% (%.0f–%.0f %%).\n", depth->tasks,
               DEPTH_SHALLOW, m->ratio * 100, depth->round[0].ratio * 100,
               depth->round[depth->rounds - 1].ratio * 100);
    report_json_depth(r->json, depth);
    fflush(stdout);
}

void report_growth_progress(const struct report *r, const struct growth *growth, unsigned round)
{
    fprintf(stderr, "%s: round %u of %u\n", growth_name(growth->what), round + 1, r->rounds);
}

static int by_number(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double middle(double *numbers, unsigned n)
{
    qsort(numbers, n, sizeof *numbers, by_number);
    return numbers[n / 2];
}

/* Each figure's median over the rounds by itself; what is compared is of one round. */
static void print_point(const struct report *r, const struct growth *growth,
                        const struct growth_series *series, unsigned v)
{
    const struct growth_round *round = series->point[v].round, *first = series->point[0].round;
    double rate[PAIR_ROUNDS_MAX] = {0}, p50[PAIR_ROUNDS_MAX] = {0}, p99[PAIR_ROUNDS_MAX] = {0},
           redis[PAIR_ROUNDS_MAX] = {0}, grown[PAIR_ROUNDS_MAX] = {0}, ratio[PAIR_ROUNDS_MAX] = {0};

    for (unsigned i = 0; i < r->rounds; i++) {
        const struct load_result *l = &round[i].system;
        rate[i] = pair_rate(l);
        p50[i] = l->p50_ms;
        p99[i] = l->p99_ms;
        redis[i] = l->cost.redis_s * 1e6 / l->requests;
        grown[i] = pair_rate(l) / pair_rate(&first[i].system);
        ratio[i] = round[i].bare.requests ? pair_rate(l) / pair_rate(&round[i].bare) : 0;
    }
    printf("| %s | %u | %.0f | %.3f | %.3f | %.1f | %.0f %% | ", series->row.name,
           series->point[v].value, middle(rate, r->rounds), middle(p50, r->rounds),
           middle(p99, r->rounds), middle(redis, r->rounds), middle(grown, r->rounds) * 100);
    if (growth_point_is_bad(&series->point[v], r->rounds))
        printf("**void** |\n");
    else if (growth_has_bare(growth->what))
        printf("%.0f %% |\n", middle(ratio, r->rounds) * 100);
    else
        printf("|\n");
}

bool report_growth(struct report *r, const struct growth *growth)
{
    bool is_good = true;

    printf("\nBy %s, medians of %u rounds:\n\n"
           "| row | %s | req/s | p50 ms | p99 ms | redis µs | over the first | over bare |\n"
           "|---|---:|---:|---:|---:|---:|---:|---:|\n",
           growth_name(growth->what), r->rounds, growth_name(growth->what));
    for (unsigned s = 0; s < growth->nseries; s++)
        for (unsigned v = 0; v < growth->nvalues; v++) {
            print_point(r, growth, &growth->series[s], v);
            is_good = is_good && !growth_point_is_bad(&growth->series[s].point[v], r->rounds);
        }
    report_json_growth(r->json, growth, r->rounds);
    fflush(stdout);
    return is_good;
}

void report_pattern(struct report *r, const struct pattern_result *result, bool is_first)
{
    double p50[PATTERN_ROUNDS_MAX] = {0}, p99[PATTERN_ROUNDS_MAX] = {0},
           rate[PATTERN_ROUNDS_MAX] = {0};

    if (is_first)
        printf("\nPatterns, medians of %u rounds:\n\n"
               "| | pattern | p50 ms | p99 ms | /s | |\n|---|---|---:|---:|---:|---|\n",
               r->rounds);
    for (unsigned i = 0; i < r->rounds; i++) {
        const struct pattern_round *round = &result->round[i];
        p50[i] = round->p50_ms;
        p99[i] = round->p99_ms;
        rate[i] = round->at_once.done / round->at_once.seconds;
    }
    printf("| %c | %s | %.3f | %.3f | %.0f | %s |\n", result->pattern->letter,
           result->pattern->name, middle(p50, r->rounds), middle(p99, r->rounds),
           middle(rate, r->rounds),
           pattern_is_whole(result, r->rounds) ? "" : "**not all arrived**");
    report_json_pattern(r->json, result, r->rounds);
    fflush(stdout);
}

void report_task_bytes(struct report *r, double bytes)
{
    printf("\nMemory: a queued task with a payload of %d bytes takes %.0f bytes of Redis beyond "
           "the payload.\n",
           FOOTPRINT_PAYLOAD, bytes);
    report_json_task_bytes(r->json, bytes);
    fflush(stdout);
}

void report_finish(struct report *r, const char *path)
{
    char *text = report_json_take(r->json);
    FILE *f = path ? fopen(path, "we") : NULL;

    if (path && (!f || fputs(text, f) < 0 || fclose(f) != 0))
        stop_failed("cannot write %s: %s", path, strerror(errno));
    free(text);
    free(r);
}
