/*
 * system_batch_complete.c: system.batch.complete (lua/system_batch_complete.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field params[] = {
    FIELD_NAME("batchId", REQUIRED, "The batch."),
    FIELD_ID("instanceId", REQUIRED, "Its processor."),
    FIELD_INT("fence", REQUIRED, 1, 9007199254740991, "From system.batch.process."),
    FIELD_INT("itemsProcessed", OPTIONAL, 0, 1000000000,
              "How many items are finished in all: all of them."),
    FIELD_END,
};

static const struct field result[] = {
    SYSTEM_BATCH_FIELDS,
    FIELD_BOOL("processed", REQUIRED, "true."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    prepare_arg_text(p, prepare_value(p, "batchId"));
    prepare_arg_text(p, prepare_value(p, "instanceId"));
    prepare_arg_number(p, prepare_value(p, "fence"));
    prepare_arg_number(p, prepare_value(p, "itemsProcessed"));
    return 0;
}

const struct handler handler_system_batch_complete = {
    .method = METHOD_system_batch_complete,
    .summary = "Say that a batch is worked off.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_BATCH_COMPLETE,
    .prepare = prepare,
};
