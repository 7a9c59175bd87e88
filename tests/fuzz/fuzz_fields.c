/*
 * fuzz_fields.c: any JSON to fields_parse() with a table that has every type, and what must hold afterwards.
 *
 * Accepted: each value lies within its row's limits and points into the document, the arena or a default.
 * Refused: the words are there, fit, and are safe for a terminal. Broken promises abort.
 */
#include "common/compat.h"
#include "common/fields.h"
#include "common/rfc3339.h"
#include "common/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const modes[] = {"pull", "push", "hybrid", NULL};
static const struct field element_id[] = {FIELD_TASK_ID("", OPTIONAL, "A task."), FIELD_END};
static const struct field element_any[] = {FIELD_ANY("", NULLABLE, "Whatever."), FIELD_END};
static const struct field element_list[] = {FIELD_LIST("", UNIQUE, 0, 4, element_any, "Lists."),
                                            FIELD_END};
static const struct field item[] = {
    FIELD_TASK_ID("id", REQUIRED, "Which."),
    FIELD_TOKEN("lease_token", REQUIRED, "The lease."),
    FIELD_NUM("share", DEFAULT(0.5), 0, 1, "How much."),
    FIELD_LIST("lists", OPTIONAL, 0, 3, element_list, "Lists of lists."),
    FIELD_END,
};
static const struct field element_item[] = {FIELD_OBJECT("", OPTIONAL, item, "An item."),
                                            FIELD_END};
static const struct field table[] = {
    FIELD_STR("text", OPTIONAL, 1, 12, "What is to be done."),
    FIELD_ID("actor", OPTIONAL, "Who."),
    FIELD_NAME("queue", DEFAULT("default"), "Where."),
    FIELD_TASK_ID("id", OPTIONAL, "Which."),
    FIELD_TOKEN("token", OPTIONAL, "The lease."),
    FIELD_INT("priority", DEFAULT(50), 0, 100, "Higher is sooner."),
    FIELD_INT("n", NULLABLE, 0, 0, "Any."),
    FIELD_NUM("load", OPTIONAL, 0, 1, "How much."),
    FIELD_BOOL("retry", DEFAULT(true), "Again?"),
    FIELD_ENUM("mode", OPTIONAL, modes, "How."),
    FIELD_TIME("run_at", OPTIONAL, "When."),
    {.name = "payload", .type = FIELD_TYPE_ANY, .max = 64, .text = "Yours."},
    FIELD_OBJECT("metadata", DEFAULT({}), NULL, "Yours too."),
    FIELD_LIST("after", UNIQUE, 0, 5, element_id, "Others."),
    FIELD_LIST("items", OPTIONAL, 1, 4, element_item, "Items."),
    FIELD_OBJECT("next", OPTIONAL, item, "One more."),
    FIELD_END,
};

static void check_text(const char *text, size_t size)
{
    const char *end = memchr(text, '\0', size);
    cb_assert(end);
    for (size_t n; text < end; text += n) {
        uint32_t code;
        n = utf8_decode(text, (size_t)(end - text), &code);
        cb_assert(n > 0 && !utf8_is_control(code));
    }
}

static void check_problem(const struct field_problem *problem)
{
    cb_assert(problem->code == -32600 || problem->code == -32602);
    cb_assert(problem->expected[0] && problem->got[0]);
    check_text(problem->path, sizeof problem->path);
    check_text(problem->expected, sizeof problem->expected);
    check_text(problem->got, sizeof problem->got);
}

static void check_string(const struct field *row, const struct field_value *v)
{
    cb_assert(v->str && strlen(v->str) == v->len);
    cb_assert(json_is_utf8(v->str, v->len) && json_string_equals(v->raw, v->str));
    cb_assert(row->max == 0 || ((int64_t)v->len >= row->min && (int64_t)v->len <= row->max));
}

static void check_values(const struct field *rows, const struct field_value *values);

static void check_value(const struct field *row, const struct field_value *v)
{
    int64_t ms;
    switch (row->type) {
    case FIELD_TYPE_INT:
    case FIELD_TYPE_NUM:
        cb_assert(row->max == 0 || (v->real >= (double)row->min && v->real <= (double)row->max));
        break;
    case FIELD_TYPE_BOOL:
        cb_assert(v->num == 0 || v->num == 1);
        break;
    case FIELD_TYPE_ANY:
        cb_assert(row->max == 0 || v->raw.len <= (size_t)row->max);
        break;
    case FIELD_TYPE_OBJECT:
        if (row->sub)
            check_values(row->sub, v->sub);
        break;
    case FIELD_TYPE_LIST:
        cb_assert(v->len == json_count(v->raw) && (int64_t)v->len <= row->max);
        for (size_t i = 0; i < v->len; i++) {
            if (v->sub[i].is_set)
                check_value(row->sub, &v->sub[i]);
        }
        break;
    case FIELD_TYPE_ENUM:
        cb_assert(v->str == row->choices[v->num]);
        check_string(row, v);
        break;
    case FIELD_TYPE_TIME:
        cb_assert(rfc3339_parse(v->str, v->len, &ms) == 0 && ms == v->num);
        break;
    default:
        check_string(row, v);
    }
}

static void check_values(const struct field *rows, const struct field_value *values)
{
    for (size_t i = 0; rows[i].name; i++) {
        cb_assert(values[i].is_set || !(rows[i].flags & FIELD_REQUIRED));
        cb_assert(values[i].is_set || !rows[i].fallback);
        if (values[i].is_set)
            check_value(&rows[i], &values[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct json_span whole;
    struct arena arena = ARENA_INIT;
    struct field_value values[CB_ARRAY_LEN(table)];
    struct field_problem problem = {0};
    if (json_check((const char *)data, len, &whole, NULL, NULL) < 0)
        return 0;
    if (fields_parse(table, whole, &arena, values, &problem) < 0)
        check_problem(&problem);
    else
        check_values(table, values);
    arena_done(&arena);
    return 0;
}
