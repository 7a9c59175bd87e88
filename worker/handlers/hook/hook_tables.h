/*
 * hook_tables.h: what the handlers of the hook methods share.
 */
#ifndef CB_WORKER_HOOK_TABLES_H
#define CB_WORKER_HOOK_TABLES_H

#include "worker/handler.h"

/* `operation` of a method whose script writes to the audit trail (lua/include/audit.lua): its last key and its last argument. A
 * method with keys or arguments of its own adds them first and calls this at the end. */
void hook_audit_operation(const struct handler_context *ctx, struct arena *arena,
                          struct arg_list *keys, struct arg_list *args);

#endif
