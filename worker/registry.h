/*
 * registry.h: all handlers, in the order of common/methods.def.
 */
#ifndef CB_WORKER_REGISTRY_H
#define CB_WORKER_REGISTRY_H

#include "worker/handler.h"

/* The handler of a method. */
const struct handler *registry_handler(enum method_id id);
/* The domain of a method: the part before the first dot ("schedule" belongs to "task"). */
void registry_domain(const char *method, char *out, size_t size);
/* Asserts that every table is well-formed (names its own method, has fields with texts). */
void registry_check(void);

#endif
