/*
 * system_unregister.c: system.unregister (lua/system_unregister.lua).
 */
#include "common/compat.h"
#include "worker/handler.h"

static const struct field params[] = {
    FIELD_ID("id", REQUIRED, "The instance."),
    FIELD_TOKEN("incarnation", REQUIRED, "From system.register."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_BOOL("unregistered", REQUIRED, "true."),
    FIELD_INT("released", REQUIRED, 0, 100, "Tasks that went back to their queues now."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    prepare_arg_text(p, prepare_value(p, "id"));
    prepare_arg_text(p, prepare_value(p, "incarnation"));
    return 0;
}

const struct handler handler_system_unregister = {
    .method = METHOD_system_unregister,
    .summary = "Leave; what the instance holds goes back at once.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_UNREGISTER,
    .prepare = prepare,
};
