/*
 * system_batch_process.c: system.batch.process (lua/system_batch_process.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field params[] = {
    FIELD_NAME("batchId", REQUIRED, "The batch. The first call opens it."),
    FIELD_ID("instanceId", REQUIRED, "Who works it off."),
    FIELD_INT(
        "fence", OPTIONAL, 1, 9007199254740991,
        "From the call that gave the lease. Without it, the lease is taken: refused while another "
        "instance's is live; what that one did not finish is handed out again."),
    FIELD_LIST("items", DEFAULT([]), 0, 100, system_batch_item,
               "Items to add. At most 1000, of 4 MiB, may wait."),
    FIELD_INT("from", DEFAULT(0), 0, 1000000000,
              "Number of the first of these items, counted from 0: those that the batch has are "
              "skipped."),
    FIELD_BOOL(
        "more", OPTIONAL,
        "True: more items will be added. False, and items without this: these are the last."),
    FIELD_INT("take", DEFAULT(10), 0, 100, "How many items to hand out at most."),
    FIELD_INT("lease_ms", OPTIONAL, 1000, 3600000,
              "How long the processor may be silent (30000 when the batch is opened)."),
    FIELD_END,
};

static const struct field result[] = {
    SYSTEM_BATCH_FIELDS,
    FIELD_BOOL("processed", REQUIRED, "true."),
    FIELD_INT("fence", REQUIRED, 1, 9007199254740991, "Later calls carry it."),
    FIELD_TIME("leaseUntil", REQUIRED, "When the lease ends unless it is renewed."),
    FIELD_INT("first", REQUIRED, 0, 1000000000, "Number of the first item handed out."),
    FIELD_LIST("items", REQUIRED, 0, 100, system_batch_item, "The items, as they came."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const struct field_value *items = prepare_value(p, "items"), *more = prepare_value(p, "more");
    const struct field_value *take = prepare_value(p, "take");

    prepare_arg_text(p, prepare_value(p, "batchId"));
    prepare_arg_text(p, prepare_value(p, "instanceId"));
    prepare_arg_number(p, prepare_value(p, "fence"));
    prepare_arg_number(p, prepare_value(p, "from"));
    prepare_arg_number(p, more);
    prepare_arg_number(p, prepare_value(p, "lease_ms"));
    prepare_arg_number(p, take);
    prepare_arg_int(p, (int64_t)items->len);
    for (size_t i = 0; i < items->len; i++)
        prepare_arg_raw(p, &items->sub[i]);
    p->operations = 1 + (unsigned)items->len / 4 + (unsigned)take->num / 4;
    return 0;
}

const struct handler handler_system_batch_process = {
    .method = METHOD_system_batch_process,
    .summary = "Open or take over a batch, add items to it, and get items to work on.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_BATCH_PROCESS,
    .prepare = prepare,
};
