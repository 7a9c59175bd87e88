/*
 * json_keys.c: see json_keys.h. Called by json_check() for each key; owns the stack and the tables.
 *
 * The hash is SipHash-1-3 (Aumasson, Bernstein 2012) under a key drawn once per process. Only the low
 * 32 bits are kept: equal hashes are always followed by a comparison of the keys themselves.
 */
#include "common/compat.h"
#include "common/json_keys.h"

#include "common/mem.h"
#include "common/rnd.h"

enum {
    SEARCHED_IN_LINE = 24, /* keys an object has before it gets a table */
    FIRST_SLOTS = 64,
};

/* --- SipHash ------------------------------------------------------------------------------------ */

struct sip {
    uint64_t v[4];
};

static uint64_t rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void sip_round(struct sip *s)
{
    uint64_t *v = s->v;
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void sip_word(struct sip *s, uint64_t word)
{
    s->v[3] ^= word;
    sip_round(s);
    s->v[0] ^= word;
}

static const uint64_t *sip_key(void)
{
    static uint64_t key[2];
    static bool is_drawn;
    if (!is_drawn) {
        rnd_secret(key, sizeof key);
        is_drawn = true;
    }
    return key;
}

static uint64_t sip_hash(const char *data, size_t len)
{
    const uint64_t *key = sip_key();
    struct sip s = {{key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                     key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)}};
    uint64_t word;
    size_t left = len;
    for (; left >= sizeof word; left -= sizeof word, data += sizeof word) {
        memcpy(&word, data, sizeof word);
        sip_word(&s, word);
    }
    word = 0;
    memcpy(&word, data, left);
    sip_word(&s, word ^ ((uint64_t)len << 56));
    s.v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}

/* --- One key ------------------------------------------------------------------------------------ */

/* The decoded bytes: those in the document, or a copy in `scratch` when there are escapes. */
static struct json_span key_bytes(const struct json_key *key, struct buf *scratch)
{
    if (!key->has_escape)
        return (struct json_span){key->at + 1, key->len - 2};
    buf_reset(scratch);
    json_decode_string((struct json_span){key->at, key->len}, scratch);
    return (struct json_span){scratch->data, scratch->len};
}

static bool key_equals(struct json_keys *keys, const struct json_key *a, const struct json_key *b)
{
    struct json_span x = key_bytes(a, &keys->decoded[0]);
    struct json_span y = key_bytes(b, &keys->decoded[1]);
    return x.len == y.len && (x.len == 0 || memcmp(x.at, y.at, x.len) == 0);
}

static void key_hash(struct json_keys *keys, struct json_key *key)
{
    struct json_span bytes = key_bytes(key, &keys->decoded[0]);
    key->hash = (uint32_t)sip_hash(bytes.at, bytes.len);
}

/* --- The table of one large object -------------------------------------------------------------- */

/* Puts key number `index` (above base) into the table; false when an equal one is there. */
static bool table_put(struct json_keys *keys, struct json_keys_object *object, size_t index)
{
    const struct json_key *own = keys->stack + object->base;
    const struct json_key *key = own + index;
    size_t at = key->hash & (object->nslots - 1);
    while (object->slots[at]) {
        const struct json_key *other = own + object->slots[at] - 1;
        if (other->hash == key->hash && key_equals(keys, key, other))
            return false;
        at = (at + 1) & (object->nslots - 1);
    }
    object->slots[at] = (uint32_t)(index + 1);
    return true;
}

/* A table with room for twice as many; the `count` keys in it are known to differ. */
static void table_grow(struct json_keys *keys, struct json_keys_object *object, size_t count)
{
    const struct json_key *own = keys->stack + object->base;
    object->nslots = object->nslots ? object->nslots * 4 : FIRST_SLOTS;
    free(object->slots);
    object->slots = mem_calloc(object->nslots, sizeof *object->slots);
    for (size_t i = 0; i < count; i++) {
        size_t at = own[i].hash & (object->nslots - 1);
        while (object->slots[at])
            at = (at + 1) & (object->nslots - 1);
        object->slots[at] = (uint32_t)(i + 1);
    }
}

static void table_start(struct json_keys *keys, struct json_keys_object *object, size_t count)
{
    for (size_t i = 0; i < count; i++)
        key_hash(keys, keys->stack + object->base + i);
    table_grow(keys, object, count);
}

/* --- The stack ---------------------------------------------------------------------------------- */

void json_keys_init(struct json_keys *keys)
{
    keys->stack = keys->room;
    keys->count = 0;
    keys->cap = JSON_KEYS_INLINE;
    buf_init(&keys->decoded[0]);
    buf_init(&keys->decoded[1]);
}

void json_keys_done(struct json_keys *keys)
{
    if (keys->stack != keys->room)
        free(keys->stack);
    buf_done(&keys->decoded[0]);
    buf_done(&keys->decoded[1]);
}

void json_keys_open(struct json_keys *keys, struct json_keys_object *object)
{
    *object = (struct json_keys_object){.base = keys->count};
}

void json_keys_close(struct json_keys *keys, struct json_keys_object *object)
{
    free(object->slots);
    object->slots = NULL;
    keys->count = object->base;
}

static struct json_key *stack_push(struct json_keys *keys)
{
    if (keys->count == keys->cap) {
        struct json_key *old = keys->stack;
        bool is_heap = old != keys->room;
        keys->stack = mem_realloc(is_heap ? old : NULL, keys->cap * 2 * sizeof *old);
        if (!is_heap)
            memcpy(keys->stack, keys->room, sizeof keys->room);
        keys->cap *= 2;
    }
    return &keys->stack[keys->count++];
}

/* What tells most keys apart at a glance: the length and the bytes at both ends. */
static uint32_t key_glance(const struct json_key *key)
{
    uint32_t head = 0, tail = 0;
    if (key->len >= 6) {
        memcpy(&head, key->at + 1, sizeof head);
        memcpy(&tail, key->at + key->len - 1 - sizeof tail, sizeof tail);
    } else {
        memcpy(&head, key->at + 1, key->len - 2);
    }
    return head ^ tail * 0x9e3779b1u ^ key->len << 24;
}

static bool is_new_in_line(struct json_keys *keys, const struct json_keys_object *object,
                           struct json_key *key)
{
    key->hash = key_glance(key);
    for (const struct json_key *other = keys->stack + object->base; other < key; other++) {
        bool may_equal = other->hash == key->hash || key->has_escape || other->has_escape;
        if (may_equal && key_equals(keys, key, other))
            return false;
    }
    return true;
}

bool json_keys_add(struct json_keys *keys, struct json_keys_object *object,
                   struct json_span literal, bool has_escape)
{
    size_t index = keys->count - object->base;
    struct json_key *key = stack_push(keys);
    *key = (struct json_key){literal.at, (uint32_t)literal.len, 0, has_escape};
    if (index < SEARCHED_IN_LINE)
        return is_new_in_line(keys, object, key);
    if (!object->slots)
        table_start(keys, object, index);
    else if (index * 2 >= object->nslots)
        table_grow(keys, object, index);
    key_hash(keys, key);
    return table_put(keys, object, index);
}
