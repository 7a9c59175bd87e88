/*
 * system_state_sync.c: system.state.sync (lua/system_state_sync.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field params[] = {
    {.name = "data",
     .type = FIELD_TYPE_OBJECT,
     .flags = FIELD_REQUIRED,
     .max = SYSTEM_STATE_BYTES,
     .text = "The state, in place of all there was."},
    FIELD_INT("if_version", OPTIONAL, 0, 9007199254740991,
              "Only if the state still has this version; 0: only if there is none."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_INT("version", REQUIRED, 1, 9007199254740991,
              "Of this state. Versions rise and are never used twice."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    prepare_arg_raw(p, prepare_value(p, "data"));
    prepare_arg_number(p, prepare_value(p, "if_version"));
    return 0;
}

const struct handler handler_system_state_sync = {
    .method = METHOD_system_state_sync,
    .summary = "Replace the state that all instances share.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_STATE_SYNC,
    .prepare = prepare,
};
