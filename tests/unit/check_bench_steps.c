/*
 * check_bench_steps.c: bench/step: what the bare server passes to a script is, byte by byte, what the method's handler
 * would. Else the two sides of a row are not compared but confused.
 */
#include "common/compat.h"
#include "bench/rows/row.h"

#include "common/json.h"
#include "common/mem.h"
#include "worker/policy.h"
#include "worker/registry.h"

#include "tests/unit/unit.h"

enum { DRAWN_SLACK = 8 /* bytes: numbers have more digits or fewer */ };

static const char prefix[] = "cb";
static struct policy *policy; /* of the shipped rules */

static struct task_ref tasks[STEP_TASKS_MAX];

static void make_tasks(void)
{
    for (unsigned i = 0; i < STEP_TASKS_MAX; i++) {
        snprintf(tasks[i].id, sizeof tasks[i].id, "t-%016u", 900 + i);
        snprintf(tasks[i].token, sizeof tasks[i].token, "%016u-fedcba987%02u", i, i);
    }
}

/* The arguments as the handler of the method prepares them. */
static void prepare(const struct handler *h, const struct handler_context *ctx, struct arena *arena,
                    const struct buf *params, struct prepare *ret)
{
    static struct field_problem problem;
    struct json_span span;
    enum json_type type;
    struct json_error error;

    ck_assert_int_eq(json_check(params->data, params->len, &span, &type, &error), 0);
    *ret = (struct prepare){
        .ctx = ctx,
        .arena = arena,
        .handler = h,
        .values = arena_alloc(arena, (fields_count(h->params) + 1) * sizeof *ret->values),
        .operations = 1,
        .problem = &problem};
    ck_assert_msg(fields_parse(h->params, span, arena, ret->values, &problem) == 0 &&
                      h->prepare(ret) == 0,
                  "%s: %s expected, got %s", problem.path, problem.expected, problem.got);
}

static void check_args(const char *what, const struct shape *shape, const char *params,
                       const struct arg_list *args)
{
    ck_assert_msg(shape->nargs == args->len, "%s: %zu arguments, the worker's are %zu", what,
                  shape->nargs, args->len);
    for (size_t i = 0; i < args->len; i++) {
        const struct shape_piece *piece = &shape->args[i];
        char *ours = piece->is_constant
                         ? mem_printf("%s", piece->text)
                         : mem_printf("%s%.*s", piece->text, (int)piece->len, params + piece->at);
        size_t len = strlen(ours);
        bool is_same = len == args->items[i].len && memcmp(ours, args->items[i].data, len) == 0;
        bool is_near = len + DRAWN_SLACK >= args->items[i].len &&
                       len <= args->items[i].len + DRAWN_SLACK;
        ck_assert_msg(is_same || (piece->is_drawn && is_near),
                      "%s: argument %zu is '%s', the worker's '%.*s'", what, i, ours,
                      (int)args->items[i].len, args->items[i].data);
        free(ours);
    }
}

static void check_keys(const char *what, const struct shape *shape, const char *params,
                       const struct arg_list *keys, struct arena *arena)
{
    ck_assert_msg(shape->nkeys == keys->len, "%s: %zu keys, the worker's are %zu", what,
                  shape->nkeys, keys->len);
    for (size_t i = 0; i < keys->len; i++) {
        char *id = arena_strndup(arena, params + shape->keys[i].at, shape->keys[i].len);
        ck_assert_str_eq(keys_make(arena, prefix, KEY_TASK, id), keys->items[i].data);
    }
}

static void check_step(const struct row *row, const struct step *step, const struct options *opts)
{
    const struct handler *h = registry_handler(step->method);
    struct handler_context ctx = {
        .opts = opts, .prefix = prefix, .domain = row_domain(row), .policy = policy};
    struct arena arena CB_CLEANUP(arena_done) = ARENA_INIT;
    struct arg_list op_keys = {0}, op_args = {0};
    struct shape shape, operation;
    struct prepare p;
    struct shape_writer w = {.shape = NULL};
    char *literal = row_literal(row);
    struct step_input in = {.number = 70,
                            .worker = "worker-007",
                            .literal = literal,
                            .items = row->items,
                            .tasks = tasks};

    step_shapes(step, opts, literal, row->items, &shape, &operation);
    step->put(&w, &in);
    ck_assert_uint_eq(w.params.len, shape.params_len);
    prepare(h, &ctx, &arena, &w.params, &p);
    for (int i = 0; i < 50 && step->has_audit && p.keys.len > 0; i++)
        prepare(h, &ctx, &arena, &w.params, &p); /* a slow machine: that decision would be kept */
    check_args(row->name, &shape, w.params.data, &p.args);
    check_keys(row->name, &shape, w.params.data, &p.keys, &arena);
    ck_assert_msg(shape.operations == p.operations, "%s: %u operations, the worker's are %u",
                  row->name, shape.operations, p.operations);
    ck_assert_int_eq(h->script, step->script);
    if (h->operation)
        h->operation(&ctx, &arena, &op_keys, &op_args);
    ck_assert_uint_eq(op_keys.len,
                      step->has_audit ? 1 : 0); /* the bare server has no place for others */
    if (step->has_audit)
        ck_assert_str_eq(op_keys.items[0].data, keys_make(&arena, prefix, KEY_AUDIT));
    check_args(row->name, &operation, "", &op_args);
    buf_done(&w.params);
    shape_done(&shape);
    shape_done(&operation);
    free(literal);
}

/* Rows and what they are prepared with. */
START_TEST(same_arguments)
{
    static const struct row more = {
        .name = "register", .kind = &row_kind_register, .bytes = 200, .items = 1};
    static const struct row peer = {
        .name = "claim_wait", .kind = &row_kind_claim, .bytes = 200, .items = 100};
    static struct scoreboard_slot slot;
    struct redis_link *link = NULL;
    const char *top = getenv("TOP_SRCDIR");
    char *config = mem_printf("limits: { backlog: 77777 }\n"
                              "task: { max_pending: 99999, lease_ms: 12345 }\n"
                              "hooks: { rules_dir: %s/etc/rules.d }\n",
                              top ? top : "/nowhere");
    struct options_errors errors = OPTIONS_ERRORS_INIT;
    struct options *opts = NULL;

    make_tasks();
    ck_assert_int_eq(options_load_text(config, strlen(config), "test", &opts, &errors), 0);
    policy = policy_new(opts, &slot, &link);
    policy_look(policy, false);
    ck_assert_ptr_null(policy_problem(policy));
    for (const struct row *row = rows; row->name; row++)
        for (size_t i = 0; i < 2 && row->kind->steps[i]; i++)
            check_step(row, row->kind->steps[i], opts);
    check_step(&more, more.kind->steps[0], opts);
    check_step(&peer, &step_claim_wait, opts);
    policy_free(policy);
    options_free(opts);
    free(config);
}
END_TEST

/* What a run of a row relies on. */
START_TEST(rows_are_sound)
{
    for (const struct row *row = rows; row->name; row++) {
        for (const struct row *other = rows; other != row; other++)
            ck_assert_str_ne(other->name, row->name);
        ck_assert_uint_ge(row->clients, 1);
        ck_assert_uint_le(row->clients, ROW_CLIENTS_MAX);
        ck_assert_uint_le(row->items, STEP_TASKS_MAX);
        ck_assert_uint_ge(row_warm_up(row, row->total), 2 * row->clients * row->in_flight);
        for (size_t i = 0; i < 2 && row->kind->steps[i]; i++)
            ck_assert_int_eq(strncmp(methods[row->kind->steps[i]->method].name, row_domain(row),
                                     strlen(row_domain(row))),
                             0);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, same_arguments);
    tcase_add_test(tc, rows_are_sound);
}

UNIT_MAIN("bench_steps", add_tests)
