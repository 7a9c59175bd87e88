/*
 * audit_show.c: shows records of the audit trail. See audit.h.
 *
 * A record is a line of the audit file, or what the stream's entry would be as one without its place in the chain.
 */
#include "common/compat.h"
#include "client/audit.h"

#include "client/peek.h"
#include "client/table.h"
#include "common/exitcode.h"
#include "common/mem.h"
#include "common/rfc3339.h"

#include <fnmatch.h>

enum { CHUNK = 500 }; /* rows of one table when all are shown */

static const struct table_column columns[] = {
    {"TIME", TABLE_LEFT, TABLE_KEEP},     {"KIND", TABLE_LEFT, TABLE_DROP + 1},
    {"DECISION", TABLE_LEFT, TABLE_KEEP}, {"TOOL", TABLE_LEFT, TABLE_DROP},
    {"RULE", TABLE_LEFT, TABLE_ID},       {"SESSION", TABLE_LEFT, TABLE_DROP + 2},
    {"WHAT", TABLE_LEFT, TABLE_FLEX},
};

void audit_show_done(struct audit_show *s)
{
    for (size_t i = 0; i < s->nkept; i++)
        free(s->kept[i]);
    free(s->kept);
    buf_done(&s->out);
}

/* ---- which ---- */

/* The text of a member, decoded; "" when it is absent or no string. */
static void put_string(struct buf *out, struct json_span object, const char *name)
{
    struct json_item item;

    if (json_type_of(object) == JSON_OBJECT && json_find(object, name, &item) &&
        item.type == JSON_STRING)
        json_decode_string(item.value, out);
}

static bool has_string(struct json_span object, const char *name, const char *want, bool is_glob)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;

    if (!want)
        return true;
    put_string(&text, object, name);
    return is_glob ? fnmatch(want, buf_peek(&text), 0) == 0 : strcmp(buf_peek(&text), want) == 0;
}

static struct json_span data_of(struct json_span record)
{
    struct json_item item;
    return json_find(record, "data", &item) ? item.value : (struct json_span){"null", 4};
}

static bool is_since(const struct audit_show *s, struct json_span record)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    int64_t at_ms;

    if (s->since_id[0]) {
        put_string(&text, record, "id");
        return stream_id_compare_texts(buf_peek(&text), s->since_id) > 0;
    }
    if (s->since_ms < 0)
        return true;
    put_string(&text, record, "at");
    return rfc3339_parse(buf_peek(&text), text.len, &at_ms) != 0 || at_ms >= s->since_ms;
}

static bool is_wanted(const struct audit_show *s, struct json_span record)
{
    struct json_span data = data_of(record);

    return is_since(s, record) && has_string(record, "kind", s->type, true) &&
           has_string(data, "decision", s->decision, false) &&
           has_string(data, "session", s->session, false);
}

/* ---- how ---- */

/* What else there is to say, in the order in which one would ask. */
static void put_what(struct buf *out, struct json_span data)
{
    static const char *const names[] = {"reason", "matched", "error", "class", "why"};

    for (size_t i = 0; out->len == 0 && i < CB_ARRAY_LEN(names); i++)
        put_string(out, data, names[i]);
    if (out->len == 0)
        buf_append(out, data.at, data.len);
}

/* When it was decided: what was decided without the daemon says so itself, and was recorded later. */
static void put_time(struct buf *out, struct json_span record, struct json_span data)
{
    if (has_string(record, "kind", "hook.local", false))
        put_string(out, data, "at");
    if (out->len == 0)
        put_string(out, record, "at");
}

/* On a terminal room is scarce, and programs read pipes. */
static void put_short_time(struct buf *out, struct json_span record, struct json_span data)
{
    struct buf at CB_CLEANUP(buf_done) = BUF_INIT;

    put_time(&at, record, data);
    peek_put_local_time(out, buf_peek(&at), at.len);
}

static void put_row(struct table *t, struct json_span record, struct term term)
{
    static const char *const outer[] = {"at", "kind"};
    static const char *const inner[] = {"decision", "tool", "rule", "session"};
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_span data = data_of(record);

    for (size_t i = 0; i < CB_ARRAY_LEN(outer) + CB_ARRAY_LEN(inner); i++) {
        buf_reset(&text);
        if (i == 0 && term.width > 0)
            put_short_time(&text, record, data);
        else if (i == 0)
            put_time(&text, record, data);
        else if (i < CB_ARRAY_LEN(outer))
            put_string(&text, record, outer[i]);
        else
            put_string(&text, data, inner[i - CB_ARRAY_LEN(outer)]);
        table_cell(t, text.len ? text.data : "-", text.len ? text.len : 1);
    }
    buf_reset(&text);
    put_what(&text, data);
    table_cell(t, text.data, text.len);
}

/* One that comes by itself: time, kind, and the members of data. */
static void put_alone(struct audit_show *s, struct json_span record)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_span data = data_of(record);
    struct json_iter it;
    struct json_item item;

    put_string(&text, record, "at");
    buf_puts(&text, "  ");
    put_string(&text, record, "kind");
    buf_puts(&text, " ");
    term_put(&s->out, buf_peek(&text), text.len);
    if (json_type_of(data) == JSON_OBJECT) {
        for (json_iter_init(&it, data); json_iter_next(&it, &item);) {
            buf_reset(&text);
            json_decode_string(item.key, &text);
            buf_putc(&s->out, ' ');
            term_put(&s->out, buf_peek(&text), text.len);
            buf_putc(&s->out, '=');
            buf_reset(&text);
            if (item.type == JSON_STRING) {
                json_decode_string(item.value, &text);
                term_put_value(&s->out, buf_peek(&text), text.len);
            } else {
                term_put(&s->out, item.value.at, item.value.len);
            }
        }
    }
    buf_putc(&s->out, '\n');
}

static int flush(struct audit_show *s)
{
    int status = cli_write(&s->out);
    buf_reset(&s->out);
    return status ? status : -1;
}

static int show_now(struct audit_show *s, struct json_span record)
{
    if (s->is_json)
        session_put_json(&s->out, record, s->term);
    else
        put_alone(s, record);
    return flush(s);
}

static int show_kept(struct audit_show *s)
{
    struct table t;

    table_init(&t, columns, CB_ARRAY_LEN(columns));
    for (size_t i = 0; i < s->nkept; i++) {
        const char *line = s->kept[(s->first + i) % s->nkept];
        struct json_span record = {line, strlen(line)};
        if (s->is_json)
            session_put_json(&s->out, record, s->term);
        else if (s->is_following)
            put_alone(s, record);
        else
            put_row(&t, record, s->term);
    }
    if (!s->is_json && !s->is_following)
        table_put(&t, s->term, &s->out);
    table_done(&t);
    return flush(s);
}

/* ---- interface ---- */

static int keep(struct audit_show *s, struct json_span record)
{
    size_t most = s->most > 0 ? (size_t)s->most : CHUNK;
    char *copy = mem_strndup(record.at, record.len);

    if (s->nkept < most) {
        s->kept = mem_realloc(s->kept, (s->nkept + 1) * sizeof *s->kept);
        s->kept[s->nkept++] = copy;
    } else {
        free(s->kept[s->first]);
        s->kept[s->first] = copy;
        s->first = (s->first + 1) % most;
    }
    if (s->most > 0 || s->nkept < CHUNK)
        return -1;
    int status = show_kept(s);
    while (s->nkept > 0)
        free(s->kept[--s->nkept]);
    return status;
}

/* A line that is no record is left to --verify. */
int audit_show_record(struct audit_show *s, const char *line, size_t len)
{
    struct json_span record;
    enum json_type type;

    if (json_check(line, len, &record, &type, NULL) != 0 || type != JSON_OBJECT ||
        !is_wanted(s, record))
        return -1;
    return s->is_following && s->most < 0 ? show_now(s, record) : keep(s, record);
}

int audit_show_end(struct audit_show *s)
{
    if (s->nkept == 0)
        return -1;
    int status = show_kept(s);
    while (s->nkept > 0)
        free(s->kept[--s->nkept]);
    s->first = 0;
    return status;
}
