/*
 * event_entry.h: one event as readers have it: from an entry of the event stream or from a message of pub/sub.
 */
#ifndef CB_EVENT_ENTRY_H
#define CB_EVENT_ENTRY_H

#include "common/json.h"
#include "common/redis_link.h"

enum { EVENT_ID_SIZE = 44 }; /* "18446744073709551615-18446744073709551615" */

/* The id of a stream's entry; they rise. */
struct event_id {
    uint64_t ms;
    uint64_t seq;
};

/* "123" or "123-4". False when it is neither. */
bool event_id_parse(const char *text, struct event_id *ret);
void event_id_put(struct event_id id, char out[EVENT_ID_SIZE]);
/* <0, 0, >0 as of strcmp(). */
int event_id_compare(struct event_id a, struct event_id b);

struct event_field {
    const char *name;
    const char *value; /* both NUL-terminated */
    size_t name_len;
    size_t value_len;
};

struct event_entry {
    struct event_entry *prev, *next; /* for the list that it is in */
    struct event_id id;
    const char *type; /* "" when it has none */
    struct event_field
        *fields; /* these and all that they point to lie behind the entry, in one block */
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
