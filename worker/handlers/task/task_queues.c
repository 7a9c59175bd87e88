/*
 * task_queues.c: task.queues (lua/task_queues.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field params[] = {
    FIELD_NAME("cursor", OPTIONAL, "`next` of the page before."),
    FIELD_INT("limit", DEFAULT(50), 1, 100, "Most queues on this page."),
    FIELD_END,
};

#define COUNT(name, doc) FIELD_INT(name, REQUIRED, 0, INT64_MAX, doc)
static const struct field queue_fields[] = {
    FIELD_NAME("queue", REQUIRED, "Its name."),
    FIELD_BOOL("paused", REQUIRED, "Whether nothing is claimed from it."),
    COUNT("pending", "Tasks that wait for a worker."),
    COUNT("delayed", "Tasks that wait for their time."),
    COUNT("blocked", "Tasks that wait for others to end."),
    COUNT("in_progress", "Tasks that somebody holds."),
    COUNT("failed", "Dead tasks that are still kept."),
    COUNT("cancelled", "Cancelled tasks that are still kept."),
    FIELD_INT("oldest_ms", OPTIONAL, 0, INT64_MAX,
              "Age of its oldest pending task, since it was created; of at most 20 priorities."),
    FIELD_END,
};
static const struct field queue_element[] = {
    FIELD_OBJECT("", REQUIRED, queue_fields, "A queue that has tasks, or is paused."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_LIST("queues", REQUIRED, 0, 100, queue_element,
               "By name; the page may be empty and have a next one."),
    FIELD_NAME("next", OPTIONAL, "Where the next page begins; absent on the last one."),
    FIELD_BOOL("all_paused", REQUIRED, "Whether all queues are paused by one switch."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    prepare_arg_text(p, prepare_value(p, "cursor"));
    prepare_arg_number(p, prepare_value(p, "limit"));
    p->operations = 100; /* a page is as much work as a batch: one a group */
    return 0;
}

const struct handler handler_task_queues = {
    .method = METHOD_task_queues,
    .summary = "List the queues with their counts, page by page.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_QUEUES,
    .prepare = prepare,
};
