/*
 * fields_problem.c: the words for what is wrong with a caller's params, and for what a row expects.
 *
 * Called by fields.c when it refuses a value, and by fields_schema.c for the help. What the caller
 * wrote is escaped (it may reach a terminal) and cut; tokens are secrets and only measured.
 */
#include "common/compat.h"
#include "common/fields_inner.h"

#include "common/nearest.h"
#include "common/utf8.h"

enum {
    INVALID_REQUEST = -32600,
    INVALID_PARAMS = -32602,
    SHOWN_BYTES = 40, /* of a caller's string */
};

/* --- What is expected --------------------------------------------------------------------------- */

/* "A of 1 to 5 units", with whatever of the range there is. */
static void put_size(struct buf *out, const char *what, const struct field *field,
                     const char *units)
{
    buf_puts(out, what);
    if (field->min > 0 && field->min == field->max)
        buf_printf(out, " of exactly %" PRId64 " %s", field->min, units);
    else if (field->min > 0 && field->max > 0)
        buf_printf(out, " of %" PRId64 " to %" PRId64 " %s", field->min, field->max, units);
    else if (field->max > 0)
        buf_printf(out, " of at most %" PRId64 " %s", field->max, units);
    else if (field->min > 0)
        buf_printf(out, " of at least %" PRId64 " %s", field->min, units);
}

static void put_number(struct buf *out, const char *what, const struct field *field)
{
    buf_puts(out, what);
    if (fields_has_range(field))
        buf_printf(out, " from %" PRId64 " to %" PRId64, field->min, field->max);
}

static void put_choices(struct buf *out, const char *const *choices)
{
    buf_puts(out, "one of ");
    for (const char *const *word = choices; *word; word++)
        buf_printf(out, "%s\"%s\"", word == choices ? "" : ", ", *word);
}

static const char *fixed_words(enum field_type type)
{
    switch (type) {
    case FIELD_TYPE_ID:
        return "string of 1 to 128 bytes without control characters";
    case FIELD_TYPE_NAME:
        return "name of 1 to 64 letters, digits, '_', '.', '-', first a letter or digit";
    case FIELD_TYPE_TASK_ID:
        return "task id: \"t-\" and 1 to 20 digits";
    case FIELD_TYPE_TOKEN:
        return "token of 1 to 128 letters, digits, '_', '-'";
    case FIELD_TYPE_TIME:
        return "RFC 3339 date-time from 1970 to 9999, such as \"2026-11-21T18:20:00Z\"";
    default:
        return "true or false";
    }
}

void fields_put_expected(const struct field *field, struct buf *out)
{
    switch (field->type) {
    case FIELD_TYPE_STR:
        put_size(out, "string", field, "bytes");
        break;
    case FIELD_TYPE_INT:
        put_number(out, "integer", field);
        break;
    case FIELD_TYPE_NUM:
        put_number(out, "number", field);
        break;
    case FIELD_TYPE_ENUM:
        put_choices(out, field->choices);
        break;
    case FIELD_TYPE_ANY:
        put_size(out, "JSON value", field, "bytes");
        break;
    case FIELD_TYPE_OBJECT:
        put_size(out, "object", field, "bytes");
        break;
    case FIELD_TYPE_LIST:
        put_size(out, "array", field, "items");
        break;
    default:
        buf_puts(out, fixed_words(field->type));
    }
    if (field->flags & FIELD_NULLABLE)
        buf_puts(out, " or null");
}

/* --- What came ---------------------------------------------------------------------------------- */

/* The text in quotes, escaped; of a long one its beginning. */
static void put_quoted(struct buf *out, const char *s, size_t len)
{
    size_t shown = len;
    if (len > SHOWN_BYTES) {
        shown = SHOWN_BYTES;
        while (shown > 0 && (s[shown] & 0xc0) == 0x80)
            shown--;
    }
    buf_putc(out, '"');
    utf8_put_escaped(out, s, shown, '"');
    buf_puts(out, shown < len ? "...\"" : "\"");
}

static void put_got_string(const struct field *field, struct json_span raw, struct buf *out)
{
    struct buf decoded = BUF_INIT;
    json_decode_string(raw, &decoded);
    bool is_size_wrong = field->type == FIELD_TYPE_STR || decoded.len > FIELDS_ID_BYTES;
    if (decoded.len == 0)
        buf_puts(out, "empty string");
    else if (field->type == FIELD_TYPE_STR && memchr(decoded.data, '\0', decoded.len))
        buf_puts(out, "string with a NUL");
    else if (field->type == FIELD_TYPE_TOKEN || is_size_wrong)
        buf_printf(out, "string of %zu bytes", decoded.len);
    else {
        buf_puts(out, "string ");
        put_quoted(out, decoded.data, decoded.len);
    }
    buf_done(&decoded);
}

static void put_got(const struct field *field, struct json_span raw, struct buf *out)
{
    enum json_type type = json_type_of(raw);
    bool is_sized = field->type == FIELD_TYPE_ANY || field->type == FIELD_TYPE_OBJECT;
    if (!raw.at)
        buf_puts(out, "nothing");
    else if (type == JSON_STRING && !is_sized)
        put_got_string(field, raw, out);
    else if (type == JSON_NUMBER && raw.len <= SHOWN_BYTES)
        buf_printf(out, "number %.*s", (int)raw.len, raw.at);
    else if (type == JSON_ARRAY && field->type == FIELD_TYPE_LIST)
        buf_printf(out, "array of %zu items", json_count(raw));
    else if (field->type == FIELD_TYPE_ANY || (is_sized && type == JSON_OBJECT))
        buf_printf(out, "%s of %zu bytes", json_type_name(type), raw.len);
    else
        buf_puts(out, json_type_name(type));
}

/* --- The problem -------------------------------------------------------------------------------- */

/* As much of the text as fits, in whole characters. */
static void put_cut(char *to, size_t size, const struct buf *from)
{
    size_t len = from->len;
    if (len >= size) {
        len = size - 4;
        while (len > 0 && (from->data[len] & 0xc0) == 0x80)
            len--;
    }
    snprintf(to, size, "%.*s%s", (int)len, buf_peek(from), len < from->len ? "..." : "");
}

static void put_path(const struct fields_path *path, struct buf *out)
{
    if (!path)
        return;
    put_path(path->up, out);
    if (path->name)
        buf_printf(out, "%s%s", path->up ? "." : "", path->name);
    else
        buf_printf(out, "[%zu]", path->index);
}

/* Fills *problem and frees both texts. */
static int refuse(struct field_problem *problem, int code, const struct fields_path *path,
                  struct buf *expected, struct buf *got)
{
    if (problem) {
        struct buf where = BUF_INIT;
        put_path(path, &where);
        problem->code = code;
        put_cut(problem->path, sizeof problem->path, &where);
        put_cut(problem->expected, sizeof problem->expected, expected);
        put_cut(problem->got, sizeof problem->got, got);
        buf_done(&where);
    }
    buf_done(expected);
    buf_done(got);
    return -1;
}

int fields_refuse(struct field_problem *problem, const struct fields_path *path,
                  const struct field *field, struct json_span raw)
{
    struct buf expected = BUF_INIT, got = BUF_INIT;
    fields_put_expected(field, &expected);
    put_got(field, raw, &got);
    return refuse(problem, INVALID_PARAMS, path, &expected, &got);
}

int fields_refuse_whole(struct field_problem *problem, struct json_span raw)
{
    static const struct field whole = {.type = FIELD_TYPE_OBJECT};
    struct buf expected = BUF_INIT, got = BUF_INIT;
    fields_put_expected(&whole, &expected);
    put_got(&whole, raw, &got);
    return refuse(problem, INVALID_REQUEST, NULL, &expected, &got);
}

int fields_refuse_own_name(struct field_problem *problem, const struct fields_path *path,
                           const char *name)
{
    struct buf expected = BUF_INIT, got = BUF_INIT;
    buf_puts(&expected, "a name other than ");
    for (const char *const *own = fields_own_names; *own; own++)
        buf_printf(&expected, "%s%s", own == fields_own_names ? "" : ", ", *own);
    buf_printf(&got, "string \"%s\"", name);
    return refuse(problem, INVALID_PARAMS, path, &expected, &got);
}

int fields_refuse_repeated(struct field_problem *problem, const struct fields_path *path,
                           size_t first)
{
    struct buf expected = BUF_INIT, got = BUF_INIT;
    buf_puts(&expected, "an item unlike the others");
    buf_printf(&got, "the same as item %zu", first);
    return refuse(problem, INVALID_PARAMS, path, &expected, &got);
}

/* --- Unknown members ---------------------------------------------------------------------------- */

static const char *row_name(size_t i, const void *table)
{
    return ((const struct field *)table)[i].name;
}

static void put_known_members(const struct field *table, const char *unknown, struct buf *out)
{
    /* every short word is near to every other */
    const char *near = strlen(unknown) < 3 ? NULL : nearest_name(unknown, row_name, table);
    if (!table->name)
        buf_puts(out, "object without members");
    else if (near)
        buf_printf(out, "known members (did you mean \"%s\"?)", near);
    else
        buf_puts(out, "known members only: ");
    for (const struct field *row = table; row->name && !near; row++)
        buf_printf(out, "%s%s", row == table ? "" : ", ", row->name);
}

int fields_refuse_unknown(struct field_problem *problem, const struct fields_path *path,
                          const struct field *table, struct json_span key)
{
    struct buf expected = BUF_INIT, got = BUF_INIT, name = BUF_INIT;
    json_decode_string(key, &name);
    put_known_members(table, buf_peek(&name), &expected);
    buf_puts(&got, "object with unknown member ");
    put_quoted(&got, buf_peek(&name), name.len);
    buf_done(&name);
    return refuse(problem, INVALID_PARAMS, path, &expected, &got);
}
