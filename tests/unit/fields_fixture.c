/*
 * fields_fixture.c: see fields_fixture.h.
 */
#include "common/compat.h"
#include "tests/unit/fields_fixture.h"

#include "common/mem.h"

const char *const moods[] = {"calm", "eager", NULL};

const struct field point_fields[] = {
    FIELD_INT("x", REQUIRED, 0, 10, "Across."),
    FIELD_NUM("y", DEFAULT(0.5), -1, 1, "Up."),
    FIELD_END,
};
static const struct field point[] = {FIELD_OBJECT("", OPTIONAL, point_fields, "A point."),
                                     FIELD_END};
const struct field task_id[] = {FIELD_TASK_ID("", OPTIONAL, "A task."), FIELD_END};
const struct field any_int[] = {FIELD_INT("", NULLABLE, 0, 0, "A number."), FIELD_END};
static const struct field int_list[] = {FIELD_LIST("", OPTIONAL, 0, 3, any_int, "Numbers."),
                                        FIELD_END};

const struct field table[] = {
    FIELD_STR("text", OPTIONAL, 1, 10, "What is to be done."),
    FIELD_STR("note", OPTIONAL, 0, 0, "Anything."),
    FIELD_STR("code", OPTIONAL, 3, 3, "Three."),
    FIELD_ID("workerId", OPTIONAL, "Who."),
    FIELD_NAME("queue", OPTIONAL, "Where."),
    FIELD_TASK_ID("taskId", OPTIONAL, "Which."),
    FIELD_TOKEN("token", OPTIONAL, "The lease."),
    FIELD_INT("priority", OPTIONAL, 0, 100, "Higher is sooner."),
    FIELD_INT("big", OPTIONAL, 0, 0, "Without limits."),
    FIELD_NUM("ratio", OPTIONAL, 0, 1, "A share."),
    FIELD_BOOL("retry", OPTIONAL, "Again?"),
    FIELD_ENUM("mood", OPTIONAL, moods, "How."),
    FIELD_TIME("run_at", OPTIONAL, "When."),
    FIELD_ANY("payload", OPTIONAL, "Yours."),
    {.name = "small", .type = FIELD_TYPE_ANY, .max = 8, .text = "Not much."},
    FIELD_OBJECT("metadata", OPTIONAL, NULL, "Yours too."),
    FIELD_OBJECT("at", OPTIONAL, point_fields, "A point."),
    FIELD_LIST("after", UNIQUE, 1, 3, task_id, "Others."),
    FIELD_LIST("points", OPTIONAL, 0, 2, point, "Points."),
    FIELD_LIST("lists", OPTIONAL, 0, 0, int_list, "Lists."),
    FIELD_INT("perhaps", NULLABLE, 1, 5, "Or null."),
    FIELD_END,
};

_Static_assert(CB_ARRAY_LEN(table) - 1 == ROWS, "fields_fixture.h counts the rows");

struct arena arena;
struct field_value values[ROWS];
struct field_problem problem;

void fixture_done(void)
{
    arena_done(&arena);
}

int parse_with(const struct field *rows, const char *text)
{
    struct json_span span;
    ck_assert_msg(json_check(text, strlen(text), &span, NULL, NULL) == 0, "not JSON: %s", text);
    memset(&problem, 0, sizeof problem);
    return fields_parse(rows, span, &arena, values, &problem);
}

int parse(const char *text)
{
    return parse_with(table, text);
}

const struct field_value *value_of(const char *name)
{
    return &values[fields_index(table, name)];
}

/* Parses {"name": literal} and returns the value. */
const struct field_value *good(const char *name, const char *literal)
{
    char *text = mem_printf("{\"%s\":%s}", name, literal);
    ck_assert_msg(parse(text) == 0, "%s: path %s, expected %s, got %s", text, problem.path,
                  problem.expected, problem.got);
    const struct field_value *value = value_of(name);
    ck_assert(value->is_set && !value->is_default);
    ck_assert_uint_eq(value->raw.len, strlen(literal));
    free(text); /* `raw` is stale now */
    return value;
}

void assert_refused(const struct field *rows, const struct refusal *r)
{
    ck_assert_msg(parse_with(rows, r->text) < 0, "accepted: %s", r->text);
    ck_assert_int_eq(problem.code, -32602);
    ck_assert_msg(strcmp(problem.path, r->path) == 0, "%s: path %s", r->text, problem.path);
    ck_assert_msg(strcmp(problem.expected, r->expected) == 0, "%s: expected %s", r->text,
                  problem.expected);
    ck_assert_msg(strcmp(problem.got, r->got) == 0, "%s: got %s", r->text, problem.got);
}
