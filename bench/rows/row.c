/*
 * row.c: the rows. Names: method-<requests in flight of each client, or tasks of a batch>[-c<clients>][-w<workers>]
 * [-idem|-16k|-single|-gate].
 */
#include "common/compat.h"
#include "bench/rows/row.h"

#include "common/mem.h"

#define KIND(name, ...) const struct row_kind row_kind_##name = {__VA_ARGS__}
KIND(create, .steps = {&step_create});
KIND(create_batch, .steps = {&step_create_batch});
KIND(claim, .steps = {&step_claim}, .stock = STOCK_PENDING);
KIND(complete, .steps = {&step_complete}, .stock = STOCK_HELD_ONCE);
KIND(drain, .steps = {&step_claim, &step_complete_next}, .stock = STOCK_PENDING);
KIND(complete_batch, .steps = {&step_complete_batch}, .stock = STOCK_HELD_ONCE);
KIND(drain_batch, .steps = {&step_claim, &step_complete_batch}, .stock = STOCK_PENDING);
KIND(fail, .steps = {&step_fail}, .stock = STOCK_HELD_ONCE);
KIND(release, .steps = {&step_release}, .stock = STOCK_HELD_ONCE);
KIND(renew, .steps = {&step_renew}, .stock = STOCK_HELD);
KIND(progress, .steps = {&step_progress}, .stock = STOCK_HELD);
KIND(update, .steps = {&step_update}, .stock = STOCK_IDS);
KIND(get, .steps = {&step_get}, .stock = STOCK_IDS);
KIND(list, .steps = {&step_list}, .stock = STOCK_IDS);
KIND(register, .steps = {&step_register}, .domain = "system");
KIND(heartbeat, .steps = {&step_heartbeat}, .has_instances = true, .domain = "system");
KIND(heartbeat_renew, .steps = {&step_heartbeat_renew}, .stock = STOCK_HELD, .has_instances = true,
     .domain = "system");

KIND(pre_tool, .steps = {&step_pre_tool}, .domain = "hook");

KIND(create_gate, .steps = {&step_create}, .has_gate = true);
KIND(drain_gate, .steps = {&step_claim, &step_complete_next}, .stock = STOCK_PENDING,
     .has_gate = true);
KIND(get_gate, .steps = {&step_get}, .stock = STOCK_IDS, .has_gate = true);

/* clang-format off */
/*         name             kind              clients flight workers bytes items total batch idem */
const struct row rows[] = {
    {"create-1",            &row_kind_create,         1,  1, 1,   200,   1,  4000,  0, false},
    {"create-1-idem",       &row_kind_create,         1,  1, 1,   200,   1,  4000,  0, true},
    {"create-1-16k",        &row_kind_create,         1,  1, 1, 16384,   1,  2500,  0, false},
    {"create-64",           &row_kind_create,         1, 64, 1,   200,   1, 20000,  0, false},
    {"create-64-idem",      &row_kind_create,         1, 64, 1,   200,   1, 20000,  0, true},
    {"create-1-gate",       &row_kind_create_gate,    1,  1, 1,   200,   1,  4000,  0, false},
    {"create-64-gate",      &row_kind_create_gate,    1, 64, 1,   200,   1, 20000,  0, false},
    {"create-64-16k",       &row_kind_create,         1, 64, 1, 16384,   1,  5000,  0, false},
    {"create-64-single",    &row_kind_create,         1, 64, 1,   200,   1,  6000,  1, false},
    {"create-64-w2",        &row_kind_create,         1, 64, 2,   200,   1, 20000,  0, false},
    {"create-64-w3",        &row_kind_create,         1, 64, 3,   200,   1, 20000,  0, false},
    {"create-64-w4",        &row_kind_create,         1, 64, 4,   200,   1, 20000,  0, false},
    {"create-8-c8",         &row_kind_create,         8,  8, 1,   200,   1, 16000,  0, false},
    {"create-1-c64",        &row_kind_create,        64,  1, 1,   200,   1, 12000,  0, false},
    {"create-1-c64-w2",     &row_kind_create,        64,  1, 2,   200,   1, 12000,  0, false},
    {"create_batch-100",    &row_kind_create_batch,   1,  8, 1,   200, 100,   500,  0, false},
    {"create_batch-100-w2", &row_kind_create_batch,   1,  8, 2,   200, 100,   500,  0, false},
    {"create_batch-100-w4", &row_kind_create_batch,   1,  8, 4,   200, 100,   500,  0, false},
    {"create_batch-100-c8", &row_kind_create_batch,   8,  1, 1,   200, 100,   500,  0, false},
    {"claim-1",             &row_kind_claim,          1,  1, 1,   200,   1,  3000,  0, false},
    {"claim-64",            &row_kind_claim,          1, 64, 1,   200,   1, 10000,  0, false},
    {"claim-64-idem",       &row_kind_claim,          1, 64, 1,   200,   1, 10000,  0, true},
    {"claim-1-c64",         &row_kind_claim,         64,  1, 1,   200,   1,  8000,  0, false},
    {"claim-10",            &row_kind_claim,          1,  8, 1,   200,  10,  1500,  0, false},
    {"complete-64",         &row_kind_complete,       1, 64, 1,   200,   1, 10000,  0, false},
    {"drain-1",             &row_kind_drain,          1,  1, 1,   200,   1,  2500,  0, false},
    {"drain-64",            &row_kind_drain,          1, 64, 1,   200,   1,  8000,  0, false},
    {"drain-64-idem",       &row_kind_drain,          1, 64, 1,   200,   1,  8000,  0, true},
    {"drain-64-gate",       &row_kind_drain_gate,     1, 64, 1,   200,   1,  8000,  0, false},
    {"drain-64-16k",        &row_kind_drain,          1, 64, 1, 16384,   1,  3000,  0, false},
    {"drain-64-w2",         &row_kind_drain,          1, 64, 2,   200,   1,  8000,  0, false},
    {"drain-64-w3",         &row_kind_drain,          1, 64, 3,   200,   1,  8000,  0, false},
    {"drain-64-w4",         &row_kind_drain,          1, 64, 4,   200,   1,  8000,  0, false},
    {"drain-8-c8",          &row_kind_drain,          8,  8, 1,   200,   1,  8000,  0, false},
    {"drain-1-c64",         &row_kind_drain,         64,  1, 1,   200,   1,  6000,  0, false},
    {"drain-1-c64-w2",      &row_kind_drain,         64,  1, 2,   200,   1,  6000,  0, false},
    {"complete_batch-100",  &row_kind_complete_batch, 1,  8, 1,   200, 100,   200,  0, false},
    {"drain_batch-100",     &row_kind_drain_batch,    1,  4, 1,   200, 100,   400,  0, false},
    {"drain_batch-100-c8",  &row_kind_drain_batch,    8,  1, 1,   200, 100,   400,  0, false},
    {"fail-64",             &row_kind_fail,           1, 64, 1,   200,   1, 10000,  0, false},
    {"release-64",          &row_kind_release,        1, 64, 1,   200,   1, 10000,  0, false},
    {"renew-64",            &row_kind_renew,          1, 64, 1,   200,   1, 16000,  0, false},
    {"progress-64",         &row_kind_progress,       1, 64, 1,   200,   1, 16000,  0, false},
    {"update-64",           &row_kind_update,         1, 64, 1,   200,   1, 12000,  0, false},
    {"get-1",               &row_kind_get,            1,  1, 1,   200,   1,  4000,  0, false},
    {"get-64",              &row_kind_get,            1, 64, 1,   200,   1, 16000,  0, false},
    {"get-64-gate",         &row_kind_get_gate,       1, 64, 1,   200,   1, 16000,  0, false},
    {"get-64-16k",          &row_kind_get,            1, 64, 1, 16384,   1,  6000,  0, false},
    {"list-50",             &row_kind_list,           1,  8, 1,   200,   1,  1000,  0, false},
    {"heartbeat-64",        &row_kind_heartbeat,      1, 64, 1,   200,   1, 16000,  0, false},
    {"heartbeat-1-c64",     &row_kind_heartbeat,     64,  1, 1,   200,   1, 10000,  0, false},
    {"heartbeat_renew-10",  &row_kind_heartbeat_renew, 1, 8, 1,   200,  10,  3000,  0, false},
    {"pre_tool-1",          &row_kind_pre_tool,       1,  1, 1,   200,   1,  4000,  0, false},
    {"pre_tool-64",         &row_kind_pre_tool,       1, 64, 1,   200,   1, 16000,  0, false},
    {"pre_tool-1-c64",      &row_kind_pre_tool,      64,  1, 1,   200,   1, 12000,  0, false},
    {0},
};
/* clang-format on */

unsigned row_batch(const struct row *row)
{
    return row->batch ? row->batch : 64;
}

const char *row_domain(const struct row *row)
{
    return row->kind->domain ? row->kind->domain : "task";
}

unsigned row_workers(const struct row *row, const char *domain)
{
    if (strcmp(domain, row_domain(row)) == 0)
        return row->workers;
    return strcmp(domain, "hook") == 0 ? 0 : 1;
}

const struct step *row_main_step(const struct row *row)
{
    return row->kind->steps[1] ? row->kind->steps[1] : row->kind->steps[0];
}

/* Twice what can be in flight at least: then each client of a drain holds what it will go on with. */
unsigned row_warm_up(const struct row *row, unsigned total)
{
    unsigned in_flight = row->clients * row->in_flight;
    return total / 20 > 2 * in_flight ? total / 20 : 2 * in_flight;
}

char *row_literal(const struct row *row)
{
    char *literal = mem_alloc(row->bytes + 1);

    cb_assert(row->bytes > 2);
    memset(literal, 'x', row->bytes);
    literal[0] = literal[row->bytes - 1] = '"';
    return literal;
}
