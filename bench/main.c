/*
 * main.c: claudebench-bench: the command line. README.md says what is measured and how to read it.
 */
#include "common/compat.h"
#include "bench/growth/depth.h"
#include "bench/growth/growth.h"
#include "bench/report/report.h"

#include "bench/env/stop.h"
#include "common/exitcode.h"

#include <fnmatch.h>
#include <getopt.h>

enum { GLOBS_MAX = 32, GROWS_MAX = 16, QUICK_DIVIDES = 20, ROUNDS = 3, IDLE_S = 10 };

static const char *const modes[] = {"everysec", "off"};

struct arguments {
    unsigned rounds;
    unsigned divide; /* requests of a run are the row's divided by this */
    const char *aof; /* NULL: both */
    enum pin_layout layout;
    unsigned idle_s;      /* 0: neither idle nor memory */
    const char *patterns; /* a glob; NULL: not asked for */
    unsigned depth;       /* 0: not asked for */
    const char *globs[GLOBS_MAX];
    size_t nglobs;
    struct growth grows[GROWS_MAX];
    size_t ngrows;
    const char *json;
};

static const char help[] =
    "usage: claudebench-bench [option…]\n"
    "Measures requests through the real processes beside a bare loop that runs the same scripts.\n"
    "The table goes to stdout as Markdown; bench/README.md says how to read it.\n"
    "\n"
    "  --row GLOB          only rows whose names match; may be repeated\n"
    "  --list              print the rows' names and end\n"
    "  --rounds N          rounds of a row (default 3; odd numbers have a middle)\n"
    "  --aof everysec|off  only this setting (default: both, one after the other)\n"
    "  --pin none|one|split\n"
    "                      everything on one core; or Redis on one, the rest on another\n"
    "  --idle SECONDS      length of the idle measurement (default 10); 0 leaves it and memory "
    "out\n"
    "  --depth TASKS       claims with so many tasks queued beside claims with 1000; without --row "
    "only these\n"
    "  --grow ROW[,ROW…]:WHAT=N[,N…]\n"
    "                      the rows with N of WHAT, growing; may be repeated; without --row only "
    "these\n"
    "                      WHAT: depth (tasks queued), workers, payload (bytes), instances,\n"
    "                      clients, or connected (agents that wait beside)\n"
    "  --patterns[=GLOB]   push, pull and hybrid; stream, pub/sub and both; without --row only "
    "these\n"
    "  --quick             a twentieth of the requests, one round, no idle: to see that it works\n"
    "  --json FILE         write all figures of all rounds there\n"
    "  -h, --help          this text\n";

static bool is_wanted(const struct arguments *args, const struct row *row)
{
    for (size_t i = 0; i < args->nglobs; i++)
        if (fnmatch(args->globs[i], row->name, 0) == 0)
            return true;
    return args->nglobs == 0 && !args->depth && !args->ngrows && !args->patterns;
}

static bool is_pattern(const char *glob)
{
    for (size_t i = 0; patterns[i].name; i++)
        if (fnmatch(glob, patterns[i].name, 0) == 0)
            return true;
    return false;
}

static int usage_error(const char *what)
{
    fprintf(stderr, "claudebench-bench: %s\n%s", what, help);
    return EXITCODE_USAGE;
}

static int list_rows(void)
{
    for (const struct row *row = rows; row->name; row++)
        puts(row->name);
    return EXITCODE_OK;
}

static bool parse_number(const char *text, unsigned max, unsigned *ret)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (end == text || *end || text[0] == '-' || n > max)
        return false;
    *ret = (unsigned)n;
    return true;
}

/* One option. Returns NULL, or what is wrong with it. */
static const char *take_option(int opt, const char *value, struct arguments *args)
{
    switch (opt) {
    case 'w':
        if (args->nglobs == GLOBS_MAX)
            return "too many --row";
        args->globs[args->nglobs++] = value;
        return NULL;
    case 'r':
        return parse_number(value, PAIR_ROUNDS_MAX, &args->rounds) && args->rounds > 0
                   ? NULL
                   : "--rounds wants a number from 1 to 64";
    case 'a':
        args->aof = value;
        return strcmp(value, modes[0]) == 0 || strcmp(value, modes[1]) == 0
                   ? NULL
                   : "--aof wants everysec or off";
    case 'p':
        return pin_find(value, &args->layout) ? NULL : "--pin wants none, one or split";
    case 'i':
        return parse_number(value, 3600, &args->idle_s) ? NULL : "--idle wants seconds";
    case 'd':
        return parse_number(value, DEPTH_MAX, &args->depth) && args->depth > 0
                   ? NULL
                   : "--depth wants a number from 1 to 10000000";
    case 'g': {
        const char *problem = args->ngrows == GROWS_MAX
                                  ? "too many --grow"
                                  : growth_parse(value, &args->grows[args->ngrows]);
        args->ngrows += !problem;
        return problem;
    }
    case 'P':
        args->patterns = value ? value : "*";
        return NULL;
    case 'q':
        args->divide = QUICK_DIVIDES;
        args->rounds = 1;
        args->idle_s = 0;
        return NULL;
    case 'j':
        args->json = value;
        return NULL;
    default:
        return "unknown option";
    }
}

/* Returns -1 to go on, else the exit code. */
static int parse(int argc, char **argv, struct arguments *args)
{
    static const struct option longs[] = {{"row", required_argument, NULL, 'w'},
                                          {"list", no_argument, NULL, 'l'},
                                          {"rounds", required_argument, NULL, 'r'},
                                          {"aof", required_argument, NULL, 'a'},
                                          {"pin", required_argument, NULL, 'p'},
                                          {"idle", required_argument, NULL, 'i'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"json", required_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"depth", required_argument, NULL, 'd'},
                                          {"grow", required_argument, NULL, 'g'},
                                          {"patterns", optional_argument, NULL, 'P'},
                                          {NULL, 0, NULL, 0}};
    int opt;

    *args = (struct arguments){.rounds = ROUNDS, .divide = 1, .idle_s = IDLE_S};
    opterr = 0;
    while ((opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (opt == 'l')
            return list_rows();
        if (opt == 'h')
            return fputs(help, stdout) < 0 ? EXITCODE_SOFTWARE : EXITCODE_OK;
        const char *problem = take_option(opt, optarg, args);
        if (problem)
            return usage_error(problem);
    }
    if (optind != argc)
        return usage_error("there is one argument too many");
    if (args->patterns && !is_pattern(args->patterns))
        return usage_error("no pattern matches");
    if ((args->depth || args->ngrows || args->patterns) && args->nglobs == 0)
        return -1;
    for (const struct row *row = rows; row->name; row++)
        if (is_wanted(args, row))
            return -1;
    return usage_error("no row matches");
}

/* What is asked for by name is all that is wanted. */
static bool is_idle_wanted(const struct arguments *args)
{
    return args->nglobs > 0 || (!args->depth && !args->ngrows && !args->patterns);
}

static bool run_depth(struct env *env, struct report *report, const struct arguments *args)
{
    static struct depth depth;

    depth_run(env, args->depth, args->rounds, args->divide, &depth);
    report_depth(report, &depth);
    return !depth_is_bad(&depth);
}

/* All of them in each round, so that what else the machine does meets all of them alike. */
static bool run_grows(struct env *env, struct report *report, struct arguments *args)
{
    bool is_good = true;

    for (unsigned round = 0; round < args->rounds; round++)
        for (size_t i = 0; i < args->ngrows; i++) {
            growth_round(env, &args->grows[i], round, args->divide);
            report_growth_progress(report, &args->grows[i], round);
        }
    for (size_t i = 0; i < args->ngrows; i++)
        is_good = report_growth(report, &args->grows[i]) && is_good;
    return is_good;
}

static bool run_patterns(struct env *env, struct report *report, const struct arguments *args)
{
    static struct pattern_result results[PATTERNS_MAX];
    bool is_good = true, is_first = true;

    for (unsigned round = 0; round < args->rounds; round++)
        for (size_t i = 0; patterns[i].name; i++) {
            if (fnmatch(args->patterns, patterns[i].name, 0) != 0)
                continue;
            results[i].pattern = &patterns[i];
            pattern_round(env, &patterns[i], args->divide, &results[i].round[round]);
        }
    for (size_t i = 0; patterns[i].name; i++) {
        if (!results[i].pattern)
            continue;
        report_pattern(report, &results[i], is_first);
        is_first = false;
        is_good = is_good && pattern_is_whole(&results[i], args->rounds);
    }
    return is_good;
}

/* Both tables of one AOF setting. Returns false when a row's figures mean nothing. */
static bool run_section(struct env *env, struct report *report, const struct arguments *args)
{
    static struct pair pair;
    bool is_good = true;

    report_section(report, env);
    for (const struct row *row = rows; row->name; row++) {
        if (!is_wanted(args, row))
            continue;
        unsigned total = row->total / args->divide;
        pair_run(env, row, args->rounds, total > 20 ? total : 20, &pair);
        report_pair(report, &pair);
        is_good = is_good && !pair_is_bad(&pair);
    }
    report_section_end(report);
    return is_good;
}

static void run_rest(struct env *env, struct report *report, unsigned seconds)
{
    struct footprint_idle idle;

    footprint_idle(env, seconds, &idle);
    report_idle(report, &idle);
    report_task_bytes(report, footprint_task_bytes(env));
}

int main(int argc, char **argv)
{
    struct arguments args;
    struct report *report = NULL;
    struct env env;
    bool is_good = true;
    int code = parse(argc, argv, &args);

    if (code >= 0)
        return code;
    stop_on_signals();
    pin_check(args.layout);
    pin_self(args.layout, false);
    for (size_t i = 0; i < CB_ARRAY_LEN(modes); i++) {
        if (args.aof && strcmp(args.aof, modes[i]) != 0)
            continue;
        env_open(&env, modes[i], args.layout);
        if (!report)
            report = report_new(&env, args.rounds, args.divide > 1);
        is_good = run_section(&env, report, &args) && is_good;
        if (args.depth)
            is_good = run_depth(&env, report, &args) && is_good;
        if (args.ngrows)
            is_good = run_grows(&env, report, &args) && is_good;
        if (args.patterns)
            is_good = run_patterns(&env, report, &args) && is_good;
        if (args.idle_s && is_idle_wanted(&args))
            run_rest(&env, report, args.idle_s);
        env_close(&env);
    }
    report_finish(report, args.json);
    for (size_t i = 0; i < args.ngrows; i++)
        growth_done(&args.grows[i]);
    return is_good ? EXITCODE_OK : EXITCODE_SOFTWARE;
}
