/*
 * registry.c: see registry.h.
 */
#include "common/compat.h"
#include "worker/registry.h"

#define METHOD(id, name, flags) extern const struct handler handler_##id;
#include "common/methods.def"
#undef METHOD

static const struct handler *const handlers[METHOD_COUNT] = {
#define METHOD(id, name, flags) [METHOD_##id] = &handler_##id,
#include "common/methods.def"
#undef METHOD
};

const struct handler *registry_handler(enum method_id id)
{
    cb_assert(id < METHOD_COUNT);
    return handlers[id];
}

void registry_domain(const char *method, char *out, size_t size)
{
    size_t len = strcspn(method, ".");
    snprintf(out, size, "%.*s", (int)(len < size ? len : size - 1), method);
    if (strcmp(out, "schedule") == 0)
        snprintf(out, size, "task");
}

static void check_fields(const struct field *table)
{
    for (const struct field *f = table; f->name; f++) {
        cb_assert(f->text && f->text[0]);
        if (f->sub && f->type == FIELD_TYPE_OBJECT)
            check_fields(f->sub);
    }
}

void registry_check(void)
{
    for (int i = 0; i < METHOD_COUNT; i++) {
        const struct handler *h = handlers[i];
        cb_assert((int)h->method == i);
        cb_assert(h->summary && h->params && h->result && h->prepare);
        check_fields(h->params);
        check_fields(h->result);
    }
}
