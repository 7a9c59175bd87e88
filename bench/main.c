/*
 * main.c: claudebench-bench: runs the rows, pair by pair, and prints the table. See README.md.
 */
#include "common/compat.h"
#include "bench/bench.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/mem.h"

#include <getopt.h>
#include <sys/utsname.h>
#include <time.h>

struct row {
    const char *name;
    const char *method;
    unsigned payload; /* bytes of the text or payload */
    unsigned in_flight;
    unsigned total;
    unsigned workers;
    unsigned batch; /* most requests a group */
    unsigned tasks; /* task.create_batch: tasks a request */
    bool with_idem;
};

enum { TEXT_MAX = 500 }; /* longer ones travel as payload */

static const struct row rows[] = {
    {"create, 1 in flight", "task.create", 200, 1, 4000, 1, 64, 0, false},
    {"create, 64 in flight", "task.create", 200, 64, 60000, 1, 64, 0, false},
    {"create, 64 in flight, 2 workers", "task.create", 200, 64, 60000, 2, 64, 0, false},
    {"create, 64 in flight, 4 workers", "task.create", 200, 64, 60000, 4, 64, 0, false},
    {"create, 64 in flight, groups of 1", "task.create", 200, 64, 30000, 1, 1, 0, false},
    {"create, 64 in flight, idempotency keys", "task.create", 200, 64, 60000, 1, 64, 0, true},
    {"create, 64 in flight, 16 KiB payload", "task.create", 16384, 64, 10000, 1, 64, 0, false},
    {"create_batch of 100, 8 in flight", "task.create_batch", 200, 8, 1000, 1, 64, 100, false},
    {"create_batch of 100, 8 in flight, 2 workers", "task.create_batch", 200, 8, 1000, 2, 64, 100,
     false},
};

struct arguments {
    unsigned rounds;
    unsigned divide; /* --quick: fewer requests */
    const char *aof; /* NULL: both */
    bool pinned;
    unsigned idle_s;
};

/* ---- one row ---- */

static char *make_text(unsigned bytes)
{
    char *text = mem_alloc(bytes + 3);
    text[0] = '"';
    memset(text + 1, 'x', bytes);
    text[bytes + 1] = '"';
    return text;
}

static char *make_params(const struct row *row, const char *text)
{
    struct buf out = BUF_INIT;
    bool is_payload = row->payload > TEXT_MAX;

    if (!row->tasks) {
        buf_printf(&out, is_payload ? "{\"text\":\"x\",\"payload\":%s}" : "{\"text\":%s}", text);
        return buf_take(&out);
    }
    buf_puts(&out, "{\"tasks\":[");
    for (unsigned i = 0; i < row->tasks; i++)
        buf_printf(&out, "%s{\"text\":%s}", i ? "," : "", text);
    buf_puts(&out, "]}");
    return buf_take(&out);
}

static struct bench_result run_system(struct bench_env *env, const struct row *row,
                                      const struct bench_load *load)
{
    env_flush(env);
    env_start_daemon(env, row->workers, row->batch);
    struct bench_load warm = *load;
    warm.total = load->total / 20 + 1;
    load_run(env, &warm);
    struct bench_result result = load_run(env, load);
    env_stop_daemon(env);
    return result;
}

static struct bench_result run_bare(struct bench_env *env, const struct row *row,
                                    const struct bench_load *load, const char *text)
{
    struct bare_config config = {.batch = row->batch,
                                 .is_batch = row->tasks > 0,
                                 .tasks = row->tasks,
                                 .text = text,
                                 .payload = row->payload > TEXT_MAX ? text : NULL,
                                 .with_idem = row->with_idem};
    env_flush(env);
    env->workers[0] = env_fork(env, bare_serve, &config);
    env->nworkers = 1;
    struct bench_load warm = *load;
    warm.total = load->total / 20 + 1;
    load_run(env, &warm);
    struct bench_result result = load_run(env, load);
    env_kill(&env->workers[0]);
    env->nworkers = 0;
    return result;
}

static void print_result(const struct row *row, const char *side, const struct bench_result *r,
                         double ratio)
{
    double n = r->total;
    printf("| %s | %s | %.0f | %.3f | %.3f | %.3f | %.1f | %.1f | %.1f | %.1f | %.2f | %ld | ",
           row->name, side, n / r->seconds * (row->tasks ? row->tasks : 1), r->p50_ms, r->p95_ms,
           r->p99_ms, r->cost.client_s / n * 1e6, r->cost.supervisor_s / n * 1e6,
           r->cost.workers_s / n * 1e6, r->cost.redis_s / n * 1e6, r->cost.commands / n,
           r->cost.worker_kb);
    if (ratio > 0)
        printf("%.0f %% |\n", ratio * 100);
    else
        printf("|\n");
    if (r->errors)
        printf("|  %u error replies ||||||||||||\n", r->errors);
    fflush(stdout);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Both sides in turn, `rounds` times; the last round's figures and the median of the ratios. */
static void run_row(struct bench_env *env, const struct row *row, const struct arguments *args)
{
    char *text = make_text(row->payload);
    struct bench_load load = {.method = row->method,
                              .params = make_params(row, text),
                              .in_flight = row->in_flight,
                              .total = row->total / args->divide,
                              .with_idem = row->with_idem};
    struct bench_result system = {0}, bare = {0};
    double ratios[64] = {0};
    unsigned rounds = args->rounds < CB_ARRAY_LEN(ratios) ? args->rounds : CB_ARRAY_LEN(ratios);

    for (unsigned i = 0; i < rounds; i++) {
        bare = run_bare(env, row, &load, text);
        system = run_system(env, row, &load);
        ratios[i] = (system.total / system.seconds) / (bare.total / bare.seconds);
    }
    qsort(ratios, rounds, sizeof ratios[0], by_value);
    print_result(row, "bare", &bare, 0);
    print_result(row, "system", &system, ratios[rounds / 2]);
    free(text);
    free(load.params);
}

/* ---- idle, memory ---- */

static void run_idle(struct bench_env *env, const struct arguments *args)
{
    env_flush(env);
    env_start_daemon(env, 2, 64);
    struct timespec settle = {1, 0}, window = {args->idle_s, 0};
    nanosleep(&settle, NULL); /* the start is over */
    struct bench_cost before = cost_now(env);
    double commands = cost_idle_commands(env);
    nanosleep(&window, NULL); /* this is the measurement: nothing happens */
    commands = cost_idle_commands(env) - commands - 1; /* its own INFO */
    struct bench_cost after = cost_now(env);
    struct bench_cost c = cost_between(&before, &after);
    double seconds = args->idle_s;
    printf("\nIdle, a supervisor with 2 task and 2 system workers, %u s: %.2f Redis commands/s in "
           "all (a supervisor may "
           "send 3 and a worker 1.5: 9 together), CPU supervisor %.2f %%, task workers %.2f %%, "
           "redis %.2f %%; RSS "
           "supervisor %ld KiB, worker %ld KiB.\n",
           args->idle_s, commands / seconds, c.supervisor_s / seconds * 100,
           c.workers_s / seconds * 100, c.redis_s / seconds * 100, after.supervisor_kb,
           after.worker_kb);
    env_stop_daemon(env);
}

/* What a queued task takes in Redis beyond its payload: batches without idempotency keys, so that nothing but the
 * tasks, their queue and about one event per hundred is left. */
static void run_memory(struct bench_env *env)
{
    enum { TASKS = 100, REQUESTS = 500, PAYLOAD = 1000 };
    char *payload = make_text(PAYLOAD - 2);
    struct buf params = BUF_INIT;

    buf_puts(&params, "{\"tasks\":[");
    for (unsigned i = 0; i < TASKS; i++)
        buf_printf(&params, "%s{\"text\":\"a task of the bench\",\"payload\":%s}", i ? "," : "",
                   payload);
    buf_puts(&params, "]}");
    struct bench_load load = {
        .method = "task.create_batch", .params = params.data, .in_flight = 1, .total = REQUESTS};
    env_flush(env);
    env_start_daemon(env, 1, 64);
    double before = cost_used_memory(env);
    load_run(env, &load);
    double each = (cost_used_memory(env) - before) / (TASKS * REQUESTS);
    printf("\nMemory: %.0f bytes of Redis a queued task with a payload of %d bytes: %.0f beyond "
           "the payload.\n",
           each, PAYLOAD, each - PAYLOAD);
    env_stop_daemon(env);
    buf_done(&params);
    free(payload);
}

/* ---- the program ---- */

static void print_head(const char *aof, const struct arguments *args)
{
    printf("\n## AOF %s, %s, %u rounds\n\n"
           "| row | side | /s | p50 ms | p95 ms | p99 ms | client µs | supervisor µs | workers µs "
           "| redis µs | "
           "commands | worker KiB | ratio |\n"
           "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
           aof, args->pinned ? "all on one core" : "not pinned", args->rounds);
}

static void print_machine(void)
{
    struct utsname u;
    char date[32], line[256], cpu[200] = "?";
    time_t now = time(NULL);
    struct tm tm;

    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &tm));
    uname(&u);
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0)
            snprintf(cpu, sizeof cpu, "%.*s", (int)strcspn(strchr(line, ':') + 2, "\n"),
                     strchr(line, ':') + 2);
    if (f)
        fclose(f);
    printf("# claudebench-bench %s\n\n%s; %s, %ld cores; %s %s.\n", PACKAGE_VERSION, date, cpu,
           sysconf(_SC_NPROCESSORS_ONLN), u.sysname, u.release);
    fflush(stdout);
}

static int usage(FILE *out, int code)
{
    fputs("usage: claudebench-bench [--rounds N] [--quick] [--aof everysec|off] [--pin] [--idle "
          "SECONDS]\n"
          "Measures the path through the real processes beside a bare loop; see bench/README.md.\n",
          out);
    return code;
}

static int parse(int argc, char **argv, struct arguments *args)
{
    static const struct option longs[] = {{"rounds", required_argument, NULL, 'r'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"aof", required_argument, NULL, 'a'},
                                          {"pin", no_argument, NULL, 'p'},
                                          {"idle", required_argument, NULL, 'i'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int opt;

    *args = (struct arguments){.rounds = 3, .divide = 1, .idle_s = 10};
    while ((opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (opt == 'r')
            args->rounds = (unsigned)strtoul(optarg, NULL, 10);
        else if (opt == 'q')
            args->divide = 10;
        else if (opt == 'a')
            args->aof = optarg;
        else if (opt == 'p')
            args->pinned = true;
        else if (opt == 'i')
            args->idle_s = (unsigned)strtoul(optarg, NULL, 10);
        else
            return opt == 'h' ? usage(stdout, 0) : usage(stderr, EXITCODE_USAGE);
    }
    if (args->rounds < 1 || optind != argc)
        return usage(stderr, EXITCODE_USAGE);
    return -1;
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"everysec", "off"};
    struct arguments args;
    int code = parse(argc, argv, &args);

    if (code >= 0)
        return code;
    print_machine();
    for (size_t m = 0; m < CB_ARRAY_LEN(modes); m++) {
        if (args.aof && strcmp(args.aof, modes[m]) != 0)
            continue;
        struct bench_env env;
        env_open(&env, modes[m], args.pinned);
        print_head(modes[m], &args);
        for (size_t i = 0; i < CB_ARRAY_LEN(rows); i++)
            run_row(&env, &rows[i], &args);
        if (args.idle_s && m == 0) {
            run_idle(&env, &args);
            run_memory(&env);
        }
        env_close(&env);
    }
    return EXITCODE_OK;
}
