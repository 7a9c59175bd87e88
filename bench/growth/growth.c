/*
 * growth.c: see growth.h.
 */
#include "common/compat.h"
#include "bench/growth/growth.h"

#include "bench/rows/waiting.h"
#include "common/mem.h"

/* A point ought to take about a second, and Redis' memory is not what is measured here. */
enum { FULL_FLIGHT = 16, BYTES_MAX = 128 * 1024 * 1024, REQUESTS_MIN = 20 };

static const struct {
    const char *name;
    unsigned max;
    bool has_bare;
} whats[] = {
    [GROWTH_DEPTH] = {"depth", 10000000, false},
    [GROWTH_WORKERS] = {"workers", 16, true},
    [GROWTH_PAYLOAD] = {"payload", 200000, true},
    [GROWTH_INSTANCES] = {"instances", ENV_DAEMONS_MAX, true},
    [GROWTH_CLIENTS] = {"clients", ROW_CLIENTS_MAX, true},
    [GROWTH_CONNECTED] = {"connected", WAITING_MAX, true},
};
static const char form[] =
    "--grow wants ROW[,ROW…]:WHAT=N[,N…], with WHAT depth, workers, payload, "
    "instances, clients or connected";

/* ---- what is asked for ---- */

const char *growth_name(enum growth_what what)
{
    return whats[what].name;
}

bool growth_has_bare(enum growth_what what)
{
    return whats[what].has_bare;
}

void growth_done(struct growth *growth)
{
    free(growth->series);
    *growth = (struct growth){0};
}

static const char *parse_rows(char *text, struct growth *growth)
{
    char *rest = NULL;

    for (char *name = strtok_r(text, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        const struct row *row = rows;
        while (row->name && strcmp(row->name, name) != 0)
            row++;
        if (!row->name)
            return "--grow: there is no such row (see --list)";
        if (growth->nseries == GROWTH_ROWS_MAX)
            return "--grow: too many rows";
        growth->series[growth->nseries++].row = *row;
    }
    return growth->nseries ? NULL : form;
}

static const char *parse_values(char *text, struct growth *growth)
{
    char *rest = NULL;

    for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        char *end;
        unsigned long n = strtoul(word, &end, 10);
        if (*end || word[0] == '-' || n < 1 || n > whats[growth->what].max)
            return "--grow: a number is out of range";
        if (growth->nvalues == GROWTH_VALUES_MAX)
            return "--grow: too many numbers";
        /* The queue is filled up from point to point. */
        if (growth->nvalues && n <= growth->values[growth->nvalues - 1])
            return "--grow: numbers must grow";
        growth->values[growth->nvalues++] = (unsigned)n;
    }
    return growth->nvalues ? NULL : form;
}

static const char *parse(char *text, struct growth *growth)
{
    char *colon = strchr(text, ':'), *equals = colon ? strchr(colon, '=') : NULL;
    size_t what = 0;

    if (!equals)
        return form;
    *colon = *equals = '\0';
    while (what < CB_ARRAY_LEN(whats) && strcmp(whats[what].name, colon + 1) != 0)
        what++;
    if (what == CB_ARRAY_LEN(whats))
        return form;
    growth->what = (enum growth_what)what;
    const char *problem = parse_rows(text, growth);
    return problem ? problem : parse_values(equals + 1, growth);
}

const char *growth_parse(const char *text, struct growth *ret_growth)
{
    char *copy = mem_strdup(text);

    *ret_growth = (struct growth){
        .series = mem_calloc(GROWTH_ROWS_MAX, sizeof *ret_growth->series)};
    const char *problem = parse(copy, ret_growth);
    free(copy);
    if (problem)
        growth_done(ret_growth);
    return problem;
}

/* ---- measuring ---- */

/* The row as it is at one point. */
static struct row row_with(const struct growth *growth, const struct row *row, unsigned value)
{
    struct row r = *row;

    if (growth->what == GROWTH_WORKERS)
        r.workers = value;
    if (growth->what == GROWTH_PAYLOAD)
        r.bytes = value;
    if (growth->what == GROWTH_CLIENTS)
        r.clients = value;
    return r;
}

static unsigned total_of(const struct row *row, unsigned divide)
{
    unsigned flight = row->clients * row->in_flight;
    size_t total = row->total;

    if (flight < FULL_FLIGHT && row->clients < 2) /* one after the other takes longer */
        total = total < 4000 ? total : 4000;
    if (total * row->bytes * row->items > BYTES_MAX)
        total = BYTES_MAX / row->bytes / row->items;
    total /= divide;
    return total > REQUESTS_MIN ? (unsigned)total : REQUESTS_MIN;
}

static void run_point(struct env *env, struct growth *growth, struct growth_series *series,
                      unsigned value_number, unsigned round, unsigned divide)
{
    unsigned value = growth->values[value_number];
    struct growth_point *point = &series->point[value_number];
    struct growth_round *r = &point->round[round];
    struct row row = row_with(growth, &series->row, value);
    struct pair_side side = {.row = &row,
                             .total = total_of(&row, divide),
                             .more = growth->what == GROWTH_DEPTH ? value : 0,
                             .instances = growth->what == GROWTH_INSTANCES ? value : 0,
                             .connected = growth->what == GROWTH_CONNECTED ? value : 0,
                             .is_going_on = growth->what == GROWTH_DEPTH};

    point->value = value;
    for (unsigned i = 0; i < 2; i++) {
        side.is_bare = i == round % 2; /* who goes first changes */
        if (!side.is_bare || growth_has_bare(growth->what))
            pair_run_side(env, &side, side.is_bare ? &r->bare : &r->system);
    }
}

void growth_round(struct env *env, struct growth *growth, unsigned round, unsigned divide)
{
    cb_assert(round < PAIR_ROUNDS_MAX);
    env_flush(env);
    for (unsigned v = 0; v < growth->nvalues; v++)
        for (unsigned s = 0; s < growth->nseries; s++)
            run_point(env, growth, &growth->series[s], v, round, divide);
}

bool growth_point_is_bad(const struct growth_point *point, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        const struct load_result *bare = &point->round[i].bare, *system = &point->round[i].system;
        if (bare->errors || system->errors || bare->short_replies || system->short_replies)
            return true;
    }
    return false;
}
