/*
 * keys.h: the only place in C that spells a Redis key (lua/include/base.lua is its twin for the keys
 * that a script learns inside). The rows are in keys.def.
 */
#ifndef CB_KEYS_H
#define CB_KEYS_H

#include "common/arena.h"

enum key_id {
#define KEY(id, pattern, type, cap, text) KEY_##id,
#include "common/keys.def"
#undef KEY
    KEY_COUNT
};

struct key_row {
    const char *pattern; /* behind the prefix and its colon */
    const char *type;
    const char *cap;
    const char *text;
};
const struct key_row *keys_row(enum key_id id);

/* "<prefix>:<pattern>" with its '%' replaced by the parts in order (as many as the pattern has). The
 * parts are data: they are copied byte by byte and must have been validated by their field type. */
char *keys_make(struct arena *arena, const char *prefix, enum key_id id, ...);

#endif
