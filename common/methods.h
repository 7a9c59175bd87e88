/*
 * methods.h: names and flags of all methods, for the worker's dispatch and for clients.
 */
#ifndef CB_METHODS_H
#define CB_METHODS_H

enum method_flag {
    METHOD_WRITE = 1u << 0,
    METHOD_CREATES = 1u << 1,
    METHOD_FINISHES = 1u << 2,
    METHOD_BATCH = 1u << 3,
    METHOD_REPEATABLE = 1u << 4,
};

struct method {
    const char *name;
    unsigned flags;
};

enum method_id {
#define METHOD(id, name, flags) METHOD_##id,
#include "common/methods.def"
#undef METHOD
    METHOD_COUNT
};

extern const struct method methods[METHOD_COUNT];

/* The method's index, or -1 when there is none of that name. */
int methods_find(const char *name);
/* The nearest method name for a typing error, or NULL when none is near. */
const char *methods_nearest(const char *name);

#endif
