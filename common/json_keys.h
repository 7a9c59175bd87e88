/*
 * json_keys.h: the keys of the objects that a scan has open, to find duplicates. For json_check.c.
 *
 * All open objects share one stack of keys (an inner object's lie above its parent's, and go when it
 * closes). Up to a few keys an object is searched in line; then it gets a hash table of its own, with
 * a hash that outsiders cannot predict, so that no choice of keys makes it slow.
 */
#ifndef CB_JSON_KEYS_H
#define CB_JSON_KEYS_H

#include "common/buf.h"
#include "common/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_KEYS_INLINE = 32 };

struct json_key {
    const char *at; /* the literal, quotes included */
    uint32_t len;
    uint32_t hash; /* of the decoded bytes once the object has a table; a rough one before */
    bool has_escape;
};

struct json_keys {
    struct json_key *stack; /* `room`, or heap memory once that is full */
    size_t count;
    size_t cap;
    struct buf decoded[2]; /* scratch for keys with escapes */
    struct json_key room[JSON_KEYS_INLINE];
};

/* One open object. */
struct json_keys_object {
    size_t base;     /* its first key on the stack */
    uint32_t *slots; /* NULL, or a table of 1 + index above base; 0 = free */
    size_t nslots;   /* a power of 2 */
};

void json_keys_init(struct json_keys *keys);
void json_keys_done(struct json_keys *keys);
void json_keys_open(struct json_keys *keys, struct json_keys_object *object);
/* Drops the object's keys. Objects are closed in the reverse order of opening. */
void json_keys_close(struct json_keys *keys, struct json_keys_object *object);
/* Adds a checked key to the object that was opened last; false when it has this key already. */
bool json_keys_add(struct json_keys *keys, struct json_keys_object *object,
                   struct json_span literal, bool has_escape);

#endif
