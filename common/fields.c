/*
 * fields.c: see fields.h. The check of a document against a table, and what the rows make of it.
 *
 * Called for each request before its handler sees it. All that it allocates is the arena's. The first
 * problem ends it; the words for it are fields_problem.c's. Tables that contradict themselves (a
 * default that its own row refuses) are bugs and abort.
 */
#include "common/compat.h"
#include "common/fields.h"

#include "common/fields_inner.h"
#include "common/rfc3339.h"

enum { ITEMS_ROOM = 16 };

struct parse {
    struct arena *arena;
    struct field_problem *problem;
};

const char *const fields_own_names[] = {"tasks",    "instance", "current", "latest",
                                        "detected", "recovery", NULL};

static int parse_value(struct parse *p, const struct field *field, const struct fields_path *path,
                       struct json_span raw, struct field_value *value);

/* --- Tables ------------------------------------------------------------------------------------- */

size_t fields_count(const struct field *table)
{
    size_t n = 0;
    while (table[n].name)
        n++;
    return n;
}

size_t fields_index(const struct field *table, const char *name)
{
    /* Mostly the caller's literal is the very one of its table, since the compiler keeps one of each. */
    for (size_t i = 0; table[i].name; i++)
        if (table[i].name == name)
            return i;
    size_t i = 0;
    while (table[i].name && strcmp(table[i].name, name) != 0)
        i++;
    cb_assert(table[i].name);
    return i;
}

bool fields_has_range(const struct field *field)
{
    return field->min != 0 || field->max != 0;
}

static bool is_in_range(const struct field *field, size_t n)
{
    return (int64_t)n >= field->min && (field->max == 0 || (int64_t)n <= field->max);
}

/* --- Strings ------------------------------------------------------------------------------------ */

/* The decoded string in arena memory. */
static void take_string(struct parse *p, struct json_span raw, struct field_value *value)
{
    if (!memchr(raw.at, '\\', raw.len)) {
        value->str = arena_strndup(p->arena, raw.at + 1, raw.len - 2);
        value->len = raw.len - 2;
        return;
    }
    struct buf decoded = BUF_INIT;
    json_decode_string(raw, &decoded);
    value->str = arena_strndup(p->arena, buf_peek(&decoded), decoded.len);
    value->len = decoded.len;
    buf_done(&decoded);
}

static bool is_alphanumeric(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_text(const struct field *field, const struct field_value *value)
{
    return is_in_range(field, value->len) && !memchr(value->str, '\0', value->len);
}

static bool is_id(const struct field_value *value)
{
    for (size_t i = 0; i < value->len; i++) {
        unsigned char c = (unsigned char)value->str[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)value->str[i + 1] < 0xa0))
            return false;
    }
    return value->len >= 1 && value->len <= FIELDS_ID_BYTES;
}

/* 1 to `max` letters, digits and others out of `more`. */
static bool is_word(const struct field_value *value, size_t max, const char *more)
{
    for (size_t i = 0; i < value->len; i++) {
        char c = value->str[i];
        if (!is_alphanumeric(c) && (!c || !strchr(more, c)))
            return false;
    }
    return value->len >= 1 && value->len <= max;
}

static bool is_task_id(const struct field_value *value)
{
    size_t digits = value->len < 2 ? 0 : strspn(value->str + 2, "0123456789");
    return strncmp(value->str, "t-", 2) == 0 && digits >= 1 && digits <= FIELDS_TASK_DIGITS &&
           digits + 2 == value->len;
}

static bool is_well_formed(const struct field *field, struct field_value *value)
{
    switch (field->type) {
    case FIELD_TYPE_STR:
        return is_text(field, value);
    case FIELD_TYPE_ID:
        return is_id(value);
    case FIELD_TYPE_NAME:
        return is_word(value, FIELDS_NAME_BYTES, "_.-") && is_alphanumeric(value->str[0]);
    case FIELD_TYPE_TASK_ID:
        return is_task_id(value);
    case FIELD_TYPE_TOKEN:
        return is_word(value, FIELDS_TOKEN_BYTES, "_-");
    case FIELD_TYPE_TIME:
        return rfc3339_parse(value->str, value->len, &value->num) == 0;
    default:
        cb_assert(false);
    }
}

static bool is_own_name(const char *name)
{
    for (const char *const *own = fields_own_names; *own; own++) {
        if (strcmp(*own, name) == 0)
            return true;
    }
    return false;
}

static int parse_string(struct parse *p, const struct field *field, const struct fields_path *path,
                        struct field_value *value)
{
    if (json_type_of(value->raw) != JSON_STRING)
        return fields_refuse(p->problem, path, field, value->raw);
    take_string(p, value->raw, value);
    if (!is_well_formed(field, value))
        return fields_refuse(p->problem, path, field, value->raw);
    if (field->type == FIELD_TYPE_NAME && is_own_name(value->str))
        return fields_refuse_own_name(p->problem, path, value->str);
    return 0;
}

static int parse_enum(struct parse *p, const struct field *field, const struct fields_path *path,
                      struct field_value *value)
{
    bool is_string = json_type_of(value->raw) == JSON_STRING;
    for (size_t i = 0; is_string && field->choices[i]; i++) {
        if (json_string_equals(value->raw, field->choices[i])) {
            value->num = (int64_t)i;
            value->str = field->choices[i];
            value->len = strlen(value->str);
            return 0;
        }
    }
    return fields_refuse(p->problem, path, field, value->raw);
}

/* --- Numbers, booleans, anything ---------------------------------------------------------------- */

static int parse_int(struct parse *p, const struct field *field, const struct fields_path *path,
                     struct field_value *value)
{
    if (json_type_of(value->raw) != JSON_NUMBER || json_decode_int(value->raw, &value->num) < 0)
        return fields_refuse(p->problem, path, field, value->raw);
    if (fields_has_range(field) && (value->num < field->min || value->num > field->max))
        return fields_refuse(p->problem, path, field, value->raw);
    value->real = (double)value->num;
    return 0;
}

static int parse_num(struct parse *p, const struct field *field, const struct fields_path *path,
                     struct field_value *value)
{
    if (json_decode_double(value->raw, &value->real) < 0)
        return fields_refuse(p->problem, path, field, value->raw);
    if (fields_has_range(field) &&
        (value->real < (double)field->min || value->real > (double)field->max))
        return fields_refuse(p->problem, path, field, value->raw);
    return 0;
}

static int parse_bool(struct parse *p, const struct field *field, const struct fields_path *path,
                      struct field_value *value)
{
    if (json_type_of(value->raw) != JSON_BOOL)
        return fields_refuse(p->problem, path, field, value->raw);
    value->num = *value->raw.at == 't';
    return 0;
}

static int parse_any(struct parse *p, const struct field *field, const struct fields_path *path,
                     struct field_value *value)
{
    return is_in_range(field, value->raw.len) ? 0
                                              : fields_refuse(p->problem, path, field, value->raw);
}

/* --- Objects ------------------------------------------------------------------------------------ */

/* The row of a member, NULL when there is none. */
static const struct field *find_row(const struct field *table, struct json_span key)
{
    bool has_escape = memchr(key.at, '\\', key.len);
    for (const struct field *row = table; row->name; row++) {
        if ((has_escape || row->name[0] == key.at[1]) && json_string_equals(key, row->name))
            return row;
    }
    return NULL;
}

static int parse_default(struct parse *p, const struct field *row, const struct fields_path *path,
                         struct field_value *value)
{
    struct json_span literal;
    cb_assert(json_check(row->fallback, strlen(row->fallback), &literal, NULL, NULL) == 0);
    cb_assert(parse_value(p, row, path, literal, value) == 0);
    value->is_default = true;
    return 0;
}

/* What the document did not give: defaults, and complaints about required members. */
static int fill_absent(struct parse *p, const struct field *table, const struct fields_path *path,
                       struct field_value *values)
{
    for (const struct field *row = table; row->name; row++) {
        struct field_value *value = &values[row - table];
        struct fields_path at = {path, row->name, 0};
        if (value->is_set)
            continue;
        if (row->fallback)
            parse_default(p, row, &at, value);
        else if ((row->flags & FIELD_REQUIRED) && !value->raw.at)
            return fields_refuse(p->problem, &at, row, value->raw);
    }
    return 0;
}

/* `values` are zeroed. */
static int parse_members(struct parse *p, const struct field *table, bool is_open,
                         const struct fields_path *path, struct json_span object,
                         struct field_value *values)
{
    struct json_iter it;
    struct json_item item;
    is_open = is_open || (table[fields_count(table)].flags & FIELD_OPEN);
    json_iter_init(&it, object);
    while (json_iter_next(&it, &item)) {
        const struct field *row = find_row(table, item.key);
        if (!row && is_open)
            continue;
        if (!row)
            return fields_refuse_unknown(p->problem, path, table, item.key);
        struct fields_path at = {path, row->name, 0};
        if (parse_value(p, row, &at, item.value, &values[row - table]) < 0)
            return -1;
    }
    return fill_absent(p, table, path, values);
}

static int parse_object(struct parse *p, const struct field *field, const struct fields_path *path,
                        struct field_value *value)
{
    if (json_type_of(value->raw) != JSON_OBJECT)
        return fields_refuse(p->problem, path, field, value->raw);
    if (!field->sub)
        return parse_any(p, field, path, value);
    value->sub = arena_alloc(p->arena, fields_count(field->sub) * sizeof *value->sub);
    return parse_members(p, field->sub, field->flags & FIELD_OPEN, path, value->raw, value->sub);
}

/* --- Lists -------------------------------------------------------------------------------------- */

static bool is_same(enum field_type type, const struct field_value *a, const struct field_value *b)
{
    switch (type) {
    case FIELD_TYPE_INT:
    case FIELD_TYPE_BOOL:
    case FIELD_TYPE_TIME:
    case FIELD_TYPE_ENUM:
        return a->num == b->num;
    case FIELD_TYPE_NUM:
        return a->real == b->real;
    case FIELD_TYPE_ANY:
    case FIELD_TYPE_OBJECT:
    case FIELD_TYPE_LIST:
        return a->raw.len == b->raw.len && memcmp(a->raw.at, b->raw.at, a->raw.len) == 0;
    default:
        return a->len == b->len && memcmp(a->str, b->str, a->len) == 0;
    }
}

static int check_unique(struct parse *p, const struct field *field, const struct fields_path *path,
                        const struct field_value *list)
{
    cb_assert(field->max > 0 && field->max <= FIELDS_UNIQUE_MAX);
    for (size_t i = 1; i < list->len; i++) {
        for (size_t j = 0; j < i; j++) {
            struct fields_path at = {path, NULL, i};
            if (list->sub[i].is_set && list->sub[j].is_set &&
                is_same(field->sub->type, &list->sub[i], &list->sub[j]))
                return fields_refuse_repeated(p->problem, &at, j);
        }
    }
    return 0;
}

/* Finds the items, whose literals are put into `value`, zeroed otherwise; of more than `max` (0: any number) only the count. */
static void find_items(struct parse *p, size_t max, struct field_value *value)
{
    struct json_iter it;
    struct json_item item;
    size_t room = 0, n = 0;
    json_iter_init(&it, value->raw);
    for (; json_iter_next(&it, &item); n++) {
        if (max > 0 && n >= max)
            continue;
        if (n == room) {
            struct field_value *before = value->sub;
            room = room ? 2 * room : ITEMS_ROOM;
            value->sub = arena_alloc(p->arena, room * sizeof *value->sub);
            if (n > 0)
                memcpy(value->sub, before, n * sizeof *before);
        }
        value->sub[n].raw = item.value;
    }
    value->len = n;
}

static int parse_list(struct parse *p, const struct field *field, const struct fields_path *path,
                      struct field_value *value)
{
    if (json_type_of(value->raw) != JSON_ARRAY)
        return fields_refuse(p->problem, path, field, value->raw);
    find_items(p, (size_t)field->max, value);
    if (!is_in_range(field, value->len))
        return fields_refuse(p->problem, path, field, value->raw);
    for (size_t i = 0; i < value->len; i++) {
        struct fields_path at = {path, NULL, i};
        if (parse_value(p, field->sub, &at, value->sub[i].raw, &value->sub[i]) < 0)
            return -1;
    }
    return field->flags & FIELD_UNIQUE ? check_unique(p, field, path, value) : 0;
}

/* --- Values and the whole ----------------------------------------------------------------------- */

typedef int parse_fn(struct parse *p, const struct field *field, const struct fields_path *path,
                     struct field_value *value);

static parse_fn *const parsers[] = {
    [FIELD_TYPE_STR] = parse_string,   [FIELD_TYPE_ID] = parse_string,
    [FIELD_TYPE_NAME] = parse_string,  [FIELD_TYPE_TASK_ID] = parse_string,
    [FIELD_TYPE_TOKEN] = parse_string, [FIELD_TYPE_TIME] = parse_string,
    [FIELD_TYPE_ENUM] = parse_enum,    [FIELD_TYPE_INT] = parse_int,
    [FIELD_TYPE_NUM] = parse_num,      [FIELD_TYPE_BOOL] = parse_bool,
    [FIELD_TYPE_ANY] = parse_any,      [FIELD_TYPE_OBJECT] = parse_object,
    [FIELD_TYPE_LIST] = parse_list,
};

/* `value` is zeroed. */
static int parse_value(struct parse *p, const struct field *field, const struct fields_path *path,
                       struct json_span raw, struct field_value *value)
{
    value->raw = raw;
    if ((field->flags & FIELD_NULLABLE) && json_type_of(raw) == JSON_NULL)
        return 0;
    if (parsers[field->type](p, field, path, value) < 0)
        return -1;
    value->is_set = true;
    return 0;
}

int fields_parse(const struct field *table, struct json_span object, struct arena *arena,
                 struct field_value *values, struct field_problem *problem)
{
    struct parse p = {arena, problem};
    size_t rows = fields_count(table);
    if (rows)
        memset(values, 0, rows * sizeof *values);
    if (object.len == 0)
        object = (struct json_span){"{}", 2};
    if (json_type_of(object) != JSON_OBJECT)
        return fields_refuse_whole(problem, object);
    return parse_members(&p, table, false, NULL, object, values);
}
