/*
 * event_entry.h: one event as readers have it: from an entry of the event stream or from a message of pub/sub.
 */
#ifndef CB_EVENT_ENTRY_H
#define CB_EVENT_ENTRY_H

#include "common/json.h"
#include "common/redis_link.h"
#include "common/stream_id.h"

struct event_field {
    const char *name;
    const char *value; /* both NUL-terminated */
    size_t name_len;
    size_t value_len;
};

struct event_entry {
    struct event_entry *prev, *next; /* for the list that it is in */
    struct stream_id id;
    const char *type; /* "" when it has none */
    /* These and all that they point to lie behind the entry, in one block. */
    struct event_field *fields;
    size_t nfields;
    char *text; /* where the next text goes while it is made */
};

/* From an element of XRANGE's reply, [id, [name, value, …]]; NULL when it has no usable id. An entry that was deleted while
 * it was pending has no fields. */
struct event_entry *event_entry_from_reply(const reply_t *entry);
/* From an element of a message (lua/include/emit.lua): [id, name, value, …]; NULL when it is anything else. */
struct event_entry *event_entry_from_json(struct json_span flat);
void event_entry_free(struct event_entry *e); /* accepts NULL */

#endif
