/*
 * records.c: see records.h. What is no number where one belongs is left out: whoever may write to Redis may have put anything there.
 */
#include "common/compat.h"
#include "archive/records.h"

#include "archive/records_int.h"
#include "common/rfc3339.h"

/* ---- fields ---- */

struct json_span record_find(const reply_t *fields, const char *name)
{
    for (size_t i = 0; i + 1 < reply_count(fields); i += 2)
        if (strcmp(reply_str(reply_at(fields, i)), name) == 0)
            return (struct json_span){reply_str(reply_at(fields, i + 1)),
                                      reply_bytes(reply_at(fields, i + 1))};
    return (struct json_span){NULL, 0};
}

bool record_int(struct json_span s, int64_t *ret)
{
    char text[24], *end;

    if (!s.at || s.len == 0 || s.len >= sizeof text)
        return false;
    memcpy(text, s.at, s.len);
    text[s.len] = '\0';
    errno = 0;
    *ret = strtoll(text, &end, 10);
    return !*end && errno == 0;
}

void record_put_span(struct batch *b, enum table_id table, struct json_span s)
{
    batch_text(b, table, s.at, s.len);
}

void record_put_int(struct batch *b, enum table_id table, struct json_span s)
{
    int64_t n;

    if (record_int(s, &n) && n >= INT32_MIN && n <= INT32_MAX)
        batch_int(b, table, n);
    else
        batch_null(b, table);
}

void record_put_ms(struct batch *b, enum table_id table, struct json_span s)
{
    int64_t ms;

    if (record_int(s, &ms) && ms >= 0 && ms < RECORD_MS_MAX)
        batch_int(b, table, ms * 1000);
    else
        batch_null(b, table);
}

void record_put_json(struct batch *b, enum table_id table, struct json_span s)
{
    if (s.at && json_check(s.at, s.len, NULL, NULL, NULL) == 0)
        record_put_span(b, table, s);
    else
        batch_null(b, table);
}

void record_put_string(struct batch *b, enum table_id table, struct json_span literal)
{
    CB_CLEANUP(buf_done) struct buf text = BUF_INIT;

    if (!literal.at || literal.len < 2 || json_type_of(literal) != JSON_STRING) {
        batch_null(b, table);
        return;
    }
    json_decode_string(literal, &text);
    if (memchr(buf_peek(&text), '\0', text.len)) {
        CB_CLEANUP(buf_done) struct buf clean = BUF_INIT;
        for (size_t i = 0; i < text.len; i++)
            if (text.data[i])
                buf_putc(&clean, text.data[i]);
            else
                buf_puts(&clean, "\xEF\xBF\xBD");
        batch_text(b, table, buf_peek(&clean), clean.len);
        return;
    }
    batch_text(b, table, buf_peek(&text), text.len);
}

void record_put_member(struct batch *b, enum table_id table, struct json_span object,
                       const char *name)
{
    struct json_item item;

    if (json_find(object, name, &item) && item.type == JSON_STRING)
        record_put_string(b, table, item.value);
    else
        batch_null(b, table);
}

bool record_member_time(struct json_span object, const char *name, int64_t *ret_us)
{
    CB_CLEANUP(buf_done) struct buf text = BUF_INIT;
    struct json_item item;
    int64_t ms;

    if (!json_find(object, name, &item) || item.type != JSON_STRING)
        return false;
    json_decode_string(item.value, &text);
    if (rfc3339_parse(buf_peek(&text), text.len, &ms) != 0)
        return false;
    *ret_us = ms * 1000;
    return true;
}

/* ---- instances ---- */

static struct json_span find_or_empty_list(const reply_t *fields, const char *name)
{
    struct json_span s = record_find(fields, name);

    return s.at ? s : (struct json_span){"[]", 2};
}

bool record_instance(struct batch *b, const char *id, const reply_t *fields)
{
    CB_CLEANUP(buf_done) struct buf key = BUF_INIT;
    struct json_span incarnation = record_find(fields, "inc"), kind = record_find(fields, "kind");
    struct json_span state = record_find(fields, "st");

    if (!incarnation.at || !kind.at || !state.at)
        return false;
    buf_printf(&key, "%s\n%.*s", id, (int)incarnation.len, incarnation.at);
    if (!batch_begin_row(b, TABLE_INSTANCE, buf_peek(&key)))
        return true;
    bool is_active = state.len == 6 && memcmp(state.at, "ACTIVE", 6) == 0;
    batch_cstr(b, TABLE_INSTANCE, id);
    record_put_span(b, TABLE_INSTANCE, incarnation);
    record_put_span(b, TABLE_INSTANCE, kind);
    batch_cstr(b, TABLE_INSTANCE, is_active ? "active" : "offline");
    record_put_json(b, TABLE_INSTANCE, find_or_empty_list(fields, "roles"));
    record_put_span(b, TABLE_INSTANCE, record_find(fields, "qs"));
    record_put_int(b, TABLE_INSTANCE, record_find(fields, "capacity"));
    record_put_json(b, TABLE_INSTANCE, record_find(fields, "metadata"));
    record_put_ms(b, TABLE_INSTANCE, record_find(fields, "reg"));
    record_put_ms(b, TABLE_INSTANCE, record_find(fields, "beat"));
    if (is_active)
        batch_null(b, TABLE_INSTANCE);
    else
        record_put_ms(b, TABLE_INSTANCE, record_find(fields, "off"));
    batch_end_row(b, TABLE_INSTANCE);
    return true;
}

/* ---- decisions ---- */

static void put_votes(struct batch *b, const reply_t *fields)
{
    CB_CLEANUP(buf_done) struct buf votes = BUF_INIT;

    for (size_t i = 0; i + 1 < reply_count(fields); i += 2) {
        const char *name = reply_str(reply_at(fields, i));
        const reply_t *value = reply_at(fields, i + 1);
        if (strncmp(name, "v:", 2) != 0 ||
            json_check(reply_str(value), reply_bytes(value), NULL, NULL, NULL) != 0)
            continue;
        buf_putc(&votes, votes.len ? ',' : '{');
        json_put_string(&votes, name + 2, reply_bytes(reply_at(fields, i)) - 2);
        buf_putc(&votes, ':');
        buf_append(&votes, reply_str(value), reply_bytes(value));
    }
    buf_puts(&votes, votes.len ? "}" : "{}");
    record_put_json(b, TABLE_DECISION, (struct json_span){buf_peek(&votes), votes.len});
}

bool record_decision(struct batch *b, const char *id, const reply_t *fields)
{
    CB_CLEANUP(buf_done) struct buf key = BUF_INIT;
    struct json_span status = record_find(fields, "st"), opened = record_find(fields, "op");
    int64_t opened_ms;

    if (!status.at || !record_int(opened, &opened_ms) || opened_ms < 0 ||
        opened_ms >= RECORD_MS_MAX)
        return false;
    buf_printf(&key, "%s\n%" PRId64, id, opened_ms);
    if (!batch_begin_row(b, TABLE_DECISION, buf_peek(&key)))
        return true;
    batch_cstr(b, TABLE_DECISION, id);
    batch_int(b, TABLE_DECISION, opened_ms * 1000);
    record_put_span(b, TABLE_DECISION, status);
    record_put_span(b, TABLE_DECISION, record_find(fields, "role"));
    record_put_span(b, TABLE_DECISION, record_find(fields, "who"));
    put_votes(b, fields);
    record_put_json(b, TABLE_DECISION, record_find(fields, "fin"));
    record_put_ms(b, TABLE_DECISION, record_find(fields, "en"));
    record_put_ms(b, TABLE_DECISION, record_find(fields, "at"));
    batch_end_row(b, TABLE_DECISION);
    return true;
}

/* ---- schedules ---- */

static int64_t member_int(struct json_span object, const char *name)
{
    struct json_item item;
    int64_t n = 0;

    if (json_find(object, name, &item))
        json_decode_int(item.value, &n);
    return n;
}

bool record_schedule(struct batch *b, const char *id, const reply_t *json)
{
    struct json_span document;
    enum json_type type;
    int64_t updated_us = 0;

    if (reply_type(json) != REPLY_STRING ||
        json_check(reply_str(json), reply_bytes(json), &document, &type, NULL) != 0 ||
        type != JSON_OBJECT || !record_member_time(document, "updatedAt", &updated_us))
        return false;
    if (!batch_begin_row(b, TABLE_SCHEDULE, id))
        return true;
    batch_cstr(b, TABLE_SCHEDULE, id);
    batch_int(b, TABLE_SCHEDULE, member_int(document, "version"));
    record_put_member(b, TABLE_SCHEDULE, document, "status");
    batch_int(b, TABLE_SCHEDULE, member_int(document, "fired"));
    batch_int(b, TABLE_SCHEDULE, member_int(document, "dropped"));
    record_put_span(b, TABLE_SCHEDULE, document);
    batch_int(b, TABLE_SCHEDULE, updated_us);
    batch_end_row(b, TABLE_SCHEDULE);
    return true;
}

void record_schedule_end(struct batch *b, const char *id, int64_t at_ms)
{
    if (!batch_begin_row(b, TABLE_SCHEDULE_END, id))
        return;
    batch_cstr(b, TABLE_SCHEDULE_END, id);
    batch_int(b, TABLE_SCHEDULE_END, at_ms * 1000);
    batch_end_row(b, TABLE_SCHEDULE_END);
}

/* ---- the audit trail ---- */

bool record_audit(struct batch *b, const reply_t *entry)
{
    const char *id = reply_str(reply_at(entry, 0));
    const reply_t *fields = reply_at(entry, 1);
    struct json_span data = record_find(fields, "data"), at = record_find(fields, "at");
    struct json_span object = {"{}", 2};
    enum json_type type;
    int64_t id_ms = strtoll(id, NULL, 10), at_ms;
    static const char *const members[] = {"session", "agent", "actor", "tool", "decision", "rule"};

    if (id_ms < 0 || id_ms >= RECORD_MS_MAX || !batch_begin_row(b, TABLE_AUDIT, id))
        return false;
    struct json_span kind = record_find(fields, "kind");
    bool is_json = data.at && json_check(data.at, data.len, &data, &type, NULL) == 0;
    if (is_json && type == JSON_OBJECT)
        object = data;
    batch_cstr(b, TABLE_AUDIT, id);
    batch_int(b, TABLE_AUDIT, id_ms * 1000);
    bool has_at = record_int(at, &at_ms) && at_ms >= 0 && at_ms < RECORD_MS_MAX;
    batch_int(b, TABLE_AUDIT, (has_at ? at_ms : id_ms) * 1000);
    record_put_span(b, TABLE_AUDIT, kind.at ? kind : (struct json_span){"", 0});
    for (size_t i = 0; i < CB_ARRAY_LEN(members); i++)
        record_put_member(b, TABLE_AUDIT, object, members[i]);
    record_put_span(b, TABLE_AUDIT, is_json ? data : (struct json_span){"null", 4});
    batch_end_row(b, TABLE_AUDIT);
    return true;
}
