/*
 * event_entry.c: see event_entry.h.
 */
#include "common/compat.h"
#include "common/event_entry.h"

#include "common/mem.h"

/* Digits of an unsigned 64-bit number; *end is behind them. */
static bool parse_part(const char *text, const char **end, uint64_t *ret)
{
    char *stop;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long n = strtoull(text, &stop, 10);
    if (errno != 0)
        return false;
    *end = stop;
    *ret = n;
    return true;
}

bool event_id_parse(const char *text, struct event_id *ret)
{
    struct event_id id = {0, 0};
    const char *at;

    if (!parse_part(text, &at, &id.ms))
        return false;
    if (*at == '-' && !parse_part(at + 1, &at, &id.seq))
        return false;
    if (*at)
        return false;
    *ret = id;
    return true;
}

void event_id_put(struct event_id id, char out[EVENT_ID_SIZE])
{
    snprintf(out, EVENT_ID_SIZE, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
}

int event_id_compare(struct event_id a, struct event_id b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    return (a.seq > b.seq) - (a.seq < b.seq);
}

void event_entry_free(struct event_entry *e)
{
    free(e);
}

/* `bytes`: what its texts have together at most, without their NULs. Thousands of them may wait to be given, so it is no larger
 * than that. */
static struct event_entry *event_entry_new(struct event_id id, size_t nfields, size_t bytes)
{
    struct event_entry *e = mem_alloc(sizeof *e + nfields * sizeof *e->fields + bytes +
                                      2 * nfields);

    e->id = id;
    e->type = "";
    e->fields = (struct event_field *)(e + 1);
    e->text = (char *)(e->fields + nfields);
    return e;
}

static const char *add_text(struct event_entry *e, const char *text, size_t len)
{
    char *copy = e->text;

    memcpy(copy, text, len);
    copy[len] = '\0';
    e->text += len + 1;
    return copy;
}

static void add_field(struct event_entry *e, const char *name, size_t name_len, const char *value,
                      size_t value_len)
{
    struct event_field *f = &e->fields[e->nfields++];

    *f = (struct event_field){.name = add_text(e, name, name_len),
                              .value = add_text(e, value, value_len),
                              .name_len = name_len,
                              .value_len = value_len};
    if (strcmp(f->name, "type") == 0)
        e->type = f->value;
}

struct event_entry *event_entry_from_reply(const reply_t *entry)
{
    const reply_t *fields = reply_at(entry, 1);
    struct event_id id;
    size_t bytes = 0;

    if (!event_id_parse(reply_str(reply_at(entry, 0)), &id))
        return NULL;
    for (size_t i = 0; i < reply_count(fields); i++)
        bytes += reply_bytes(reply_at(fields, i));
    struct event_entry *e = event_entry_new(id, reply_count(fields) / 2, bytes);
    for (size_t i = 0; i + 1 < reply_count(fields); i += 2) {
        const reply_t *name = reply_at(fields, i), *value = reply_at(fields, i + 1);
        add_field(e, reply_str(name), reply_bytes(name), reply_str(value), reply_bytes(value));
    }
    return e;
}

/* A string decoded, anything else as it is written. */
static void decode(const struct json_item *item, struct buf *out)
{
    buf_reset(out);
    if (item->type == JSON_STRING)
        json_decode_string(item->value, out);
    else
        buf_append(out, item->value.at, item->value.len);
}

struct event_entry *event_entry_from_json(struct json_span flat)
{
    struct buf name CB_CLEANUP(buf_done) = BUF_INIT;
    struct buf value CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_iter it;
    struct json_item item;
    struct event_id id;

    if (json_type_of(flat) != JSON_ARRAY)
        return NULL;
    json_iter_init(&it, flat);
    if (!json_iter_next(&it, &item))
        return NULL;
    decode(&item, &name);
    if (!event_id_parse(buf_peek(&name), &id))
        return NULL;
    /* Decoded it is never longer than written. */
    struct event_entry *e = event_entry_new(id, json_count(flat) / 2, flat.len);
    while (json_iter_next(&it, &item)) {
        decode(&item, &name);
        if (!json_iter_next(&it, &item))
            break;
        decode(&item, &value);
        add_field(e, buf_peek(&name), name.len, buf_peek(&value), value.len);
    }
    return e;
}
