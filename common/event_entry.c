/*
 * event_entry.c: see event_entry.h.
 */
#include "common/compat.h"
#include "common/event_entry.h"

#include "common/mem.h"

void event_entry_free(struct event_entry *e)
{
    free(e);
}

/* `bytes`: what its texts have together at most, without their NULs. Thousands of them may wait to be given, so it is no larger
 * than that. */
static struct event_entry *event_entry_new(struct stream_id id, size_t nfields, size_t bytes)
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
    struct stream_id id;
    size_t bytes = 0;

    if (!stream_id_parse(reply_str(reply_at(entry, 0)), &id))
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
    struct stream_id id;

    if (json_type_of(flat) != JSON_ARRAY)
        return NULL;
    json_iter_init(&it, flat);
    if (!json_iter_next(&it, &item))
        return NULL;
    decode(&item, &name);
    if (!stream_id_parse(buf_peek(&name), &id))
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
