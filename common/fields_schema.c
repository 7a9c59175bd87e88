/*
 * fields_schema.c: JSON Schema and items of the manual out of the tables that fields.c checks by. Used by
 * system.discover, the manual and the contract tests. Owns nothing.
 */
#include "common/compat.h"
#include "common/fields_inner.h"

#include "common/mdoc.h"

static void put_members(const struct field *table, bool is_open, struct buf *out);
static void put_schema(const struct field *field, struct buf *out);

/* --- JSON Schema -------------------------------------------------------------------------------- */

/* NULL for what takes any value. */
static const char *schema_type(enum field_type type)
{
    switch (type) {
    case FIELD_TYPE_INT:
        return "integer";
    case FIELD_TYPE_NUM:
        return "number";
    case FIELD_TYPE_BOOL:
        return "boolean";
    case FIELD_TYPE_OBJECT:
        return "object";
    case FIELD_TYPE_LIST:
        return "array";
    case FIELD_TYPE_ANY:
        return NULL;
    default:
        return "string";
    }
}

static void put_type(const struct field *field, struct buf *out)
{
    const char *type = schema_type(field->type);
    if (!type)
        return;
    json_put_key(out, "type");
    if (field->flags & FIELD_NULLABLE)
        buf_printf(out, "[\"%s\",\"null\"]", type);
    else
        json_put_cstr(out, type);
}

static void put_bytes(struct buf *out, int64_t min, int64_t max)
{
    json_put_int(out, "x-minBytes", min);
    if (max > 0)
        json_put_int(out, "x-maxBytes", max);
}

/* Bytes are what counts; in characters (of 1 to 4 bytes) that implies the following. */
static void put_string_length(struct buf *out, int64_t min, int64_t max)
{
    put_bytes(out, min, max);
    json_put_int(out, "minLength", (min + 3) / 4);
    if (max > 0)
        json_put_int(out, "maxLength", max);
}

static void put_enum(const struct field *field, struct buf *out)
{
    json_put_key(out, "enum");
    buf_putc(out, '[');
    for (const char *const *word = field->choices; *word; word++) {
        json_put_comma(out);
        json_put_cstr(out, *word);
    }
    if (field->flags & FIELD_NULLABLE)
        buf_puts(out, ",null");
    buf_putc(out, ']');
}

static void put_name_rules(struct buf *out)
{
    json_put_text(out, "pattern", "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$");
    json_put_key(out, "not");
    buf_puts(out, "{\"enum\":[");
    for (const char *const *own = fields_own_names; *own; own++) {
        json_put_comma(out);
        json_put_cstr(out, *own);
    }
    buf_puts(out, "]}");
}

static void put_string_rules(const struct field *field, struct buf *out)
{
    switch (field->type) {
    case FIELD_TYPE_STR:
        put_string_length(out, field->min, field->max);
        json_put_text(out, "pattern", "^[^\\u0000]*$");
        break;
    case FIELD_TYPE_ID:
        put_string_length(out, 1, FIELDS_ID_BYTES);
        json_put_text(out, "pattern", "^[^\\u0000-\\u001f\\u007f-\\u009f]*$");
        break;
    case FIELD_TYPE_NAME:
        put_string_length(out, 1, FIELDS_NAME_BYTES);
        put_name_rules(out);
        break;
    case FIELD_TYPE_TASK_ID:
        put_string_length(out, 3, FIELDS_TASK_DIGITS + 2);
        json_put_text(out, "pattern", "^t-[0-9]{1,20}$");
        break;
    case FIELD_TYPE_TOKEN:
        put_string_length(out, 1, FIELDS_TOKEN_BYTES);
        json_put_text(out, "pattern", "^[A-Za-z0-9_-]{1,128}$");
        break;
    case FIELD_TYPE_TIME:
        json_put_text(out, "format", "date-time");
        json_put_text(out, "x-minTime", "1970-01-01T00:00:00Z");
        json_put_text(out, "x-maxTime", "9999-12-31T23:59:59.999Z");
        break;
    default:
        put_enum(field, out);
    }
}

static void put_number_rules(const struct field *field, struct buf *out)
{
    if (!fields_has_range(field))
        return;
    json_put_int(out, "minimum", field->min);
    json_put_int(out, "maximum", field->max);
}

static void put_list_rules(const struct field *field, struct buf *out)
{
    json_put_key(out, "items");
    put_schema(field->sub, out);
    json_put_int(out, "minItems", field->min);
    if (field->max > 0)
        json_put_int(out, "maxItems", field->max);
    if (field->flags & FIELD_UNIQUE) {
        json_put_key(out, "uniqueItems");
        buf_puts(out, "true");
    }
}

static void put_rules(const struct field *field, struct buf *out)
{
    switch (field->type) {
    case FIELD_TYPE_INT:
    case FIELD_TYPE_NUM:
        put_number_rules(field, out);
        break;
    case FIELD_TYPE_BOOL:
        break;
    case FIELD_TYPE_LIST:
        put_list_rules(field, out);
        break;
    case FIELD_TYPE_OBJECT:
        if (field->sub)
            put_members(field->sub, field->flags & FIELD_OPEN, out);
        else if (fields_has_range(field))
            put_bytes(out, field->min, field->max);
        break;
    case FIELD_TYPE_ANY:
        if (fields_has_range(field))
            put_bytes(out, field->min, field->max);
        break;
    default:
        put_string_rules(field, out);
    }
}

static void put_schema(const struct field *field, struct buf *out)
{
    buf_putc(out, '{');
    put_type(field, out);
    put_rules(field, out);
    if (field->fallback) {
        json_put_key(out, "default");
        buf_puts(out, field->fallback);
    }
    if (field->text)
        json_put_text(out, "description", field->text);
    buf_putc(out, '}');
}

static void put_required(const struct field *table, struct buf *out)
{
    json_put_key(out, "required");
    buf_putc(out, '[');
    for (const struct field *row = table; row->name; row++) {
        if (row->flags & FIELD_REQUIRED) {
            json_put_comma(out);
            json_put_cstr(out, row->name);
        }
    }
    buf_putc(out, ']');
}

/* The rules for the members of an object, into its schema. */
static void put_members(const struct field *table, bool is_open, struct buf *out)
{
    is_open = is_open || (table[fields_count(table)].flags & FIELD_OPEN);
    json_put_key(out, "properties");
    buf_putc(out, '{');
    for (const struct field *row = table; row->name; row++) {
        json_put_key(out, row->name);
        put_schema(row, out);
    }
    buf_putc(out, '}');
    put_required(table, out);
    json_put_key(out, "additionalProperties");
    buf_puts(out, is_open ? "true" : "false");
}

void fields_put_schema(const struct field *table, struct buf *out)
{
    buf_puts(out, "{\"type\":\"object\"");
    put_members(table, false, out);
    buf_putc(out, '}');
}

/* --- Help --------------------------------------------------------------------------------------- */

/* The rows below this one: the members of an object, or of a list's objects; NULL when there are none. */
static const struct field *rows_below(const struct field *field)
{
    while (field->type == FIELD_TYPE_LIST)
        field = field->sub;
    return field->type == FIELD_TYPE_OBJECT ? field->sub : NULL;
}

/* Appends "name" or, for a list, "name[]". */
static void put_help_name(const struct field *row, struct buf *out)
{
    buf_puts(out, row->name);
    for (const struct field *f = row; f->type == FIELD_TYPE_LIST; f = f->sub)
        buf_puts(out, "[]");
}

/* Calls `line` for each row and those below, depth first, with the row's full name in `name`. */
static void each_row(const struct field *table, struct buf *name,
                     void (*line)(const struct field *row, const char *name, void *arg), void *arg)
{
    size_t len = name->len;
    for (const struct field *row = table; row->name; row++) {
        put_help_name(row, name);
        line(row, buf_peek(name), arg);
        if (rows_below(row)) {
            buf_putc(name, '.');
            each_row(rows_below(row), name, line, arg);
        }
        name->len = len;
    }
}

static void put_item(const struct field *row, const char *name, void *arg)
{
    struct buf *out = arg;
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;

    buf_printf(out, ".It Li %s\n", name);
    if (row->text)
        mdoc_put_text(out, row->text);
    buf_putc(&text, '(');
    fields_put_expected(row, &text);
    if (row->type == FIELD_TYPE_LIST) {
        buf_puts(&text, row->flags & FIELD_UNIQUE ? ", no two equal: " : ": ");
        fields_put_expected(row->sub, &text);
    }
    if (row->flags & FIELD_REQUIRED)
        buf_puts(&text, "; required");
    if (row->fallback)
        buf_printf(&text, "; default %s", row->fallback);
    buf_putc(&text, ')');
    mdoc_put_text(out, buf_peek(&text));
}

void fields_put_mdoc(const struct field *table, struct buf *out)
{
    struct buf name CB_CLEANUP(buf_done) = BUF_INIT;

    each_row(table, &name, put_item, out);
}
