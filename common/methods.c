/*
 * methods.c: see methods.h.
 */
#include "common/compat.h"
#include "common/methods.h"

#include "common/nearest.h"

const struct method methods[METHOD_COUNT] = {
#define METHOD(id, name_, flags_) [METHOD_##id] = {.name = (name_), .flags = (flags_)},
#include "common/methods.def"
#undef METHOD
};

int methods_find(const char *name)
{
    for (int i = 0; i < METHOD_COUNT; i++)
        if (strcmp(methods[i].name, name) == 0)
            return i;
    return -1;
}

static const char *method_name_at(size_t i, const void *arg)
{
    (void)arg;
    return i < METHOD_COUNT ? methods[i].name : NULL;
}

const char *methods_nearest(const char *name)
{
    return nearest_name(name, method_name_at, NULL);
}
