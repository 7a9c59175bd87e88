/*
 * system_batch_get.c: system.batch.get (lua/system_batch_get.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field params[] = {
    FIELD_NAME("batchId", REQUIRED, "The batch."),
    FIELD_END,
};

static const struct field result[] = {
    SYSTEM_BATCH_FIELDS,
    FIELD_INT("handedOut", REQUIRED, 0, 1000000000,
              "How many items its processors have been given."),
    FIELD_BOOL("isHeld", REQUIRED, "Somebody's lease of it is live."),
    FIELD_TIME("openedAt", REQUIRED, "When it was opened."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    prepare_arg_text(p, prepare_value(p, "batchId"));
    return 0;
}

const struct handler handler_system_batch_get = {
    .method = METHOD_system_batch_get,
    .summary = "Show how far a batch is.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_BATCH_GET,
    .prepare = prepare,
};
