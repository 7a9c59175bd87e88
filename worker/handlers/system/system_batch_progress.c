/*
 * system_batch_progress.c: system.batch.progress (lua/system_batch_progress.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field params[] = {
    FIELD_NAME("batchId", REQUIRED, "The batch."),
    FIELD_ID("instanceId", REQUIRED, "Its processor."),
    FIELD_INT("fence", REQUIRED, 1, 9007199254740991, "From system.batch.process."),
    FIELD_INT("itemsProcessed", OPTIONAL, 0, 1000000000,
              "How many items of the batch are finished in all, the first ones first."),
    FIELD_INT("take", DEFAULT(0), 0, 100, "How many more items to hand out at most."),
    FIELD_BOOL("release", DEFAULT(false), "Give the batch up, for another processor."),
    FIELD_END,
};

static const struct field result[] = {
    SYSTEM_BATCH_FIELDS,
    FIELD_BOOL("processed", REQUIRED, "true."),
    FIELD_TIME("leaseUntil", REQUIRED_OR_NULL,
               "When the lease ends unless it is renewed; null: released."),
    FIELD_INT("first", REQUIRED, 0, 1000000000, "Number of the first item handed out."),
    FIELD_LIST("items", REQUIRED, 0, 100, system_batch_item, "The items, as they came."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const struct field_value *take = prepare_value(p, "take");

    prepare_arg_text(p, prepare_value(p, "batchId"));
    prepare_arg_text(p, prepare_value(p, "instanceId"));
    prepare_arg_number(p, prepare_value(p, "fence"));
    prepare_arg_number(p, prepare_value(p, "itemsProcessed"));
    prepare_arg_number(p, take);
    prepare_arg_str(p, prepare_value(p, "release")->num ? "1" : "0");
    p->operations = 2 + (unsigned)take->num / 4;
    return 0;
}

const struct handler handler_system_batch_progress = {
    .method = METHOD_system_batch_progress,
    .summary = "Tell how far a batch is, keep its lease, and get more items.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_BATCH_PROGRESS,
    .prepare = prepare,
};
