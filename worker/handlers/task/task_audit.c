/*
 * task_audit.c: task.audit (lua/task_audit.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const struct field watched_element[] = {FIELD_NAME("", REQUIRED, "A queue."), FIELD_END};

static const struct field params[] = {
    FIELD_STR("cursor", OPTIONAL, 1, 300, "`next` of the page before."),
    FIELD_LIST("queues", OPTIONAL, 1, 100, watched_element,
               "Queues whose counters come with the page, as they are while it is looked at."),
    FIELD_END,
};

static const char *const problems[] = {"no_task",     "damaged",    "other_state", "other_queue",
                                       "not_listed",  "no_holder",  "not_held",    "not_assigned",
                                       "not_awaited", "not_unique", "no_lease",    "other_priority",
                                       "sum",         NULL};

static const char *const indexes[] = {"pending",   "delayed",  "blocked",   "in_progress",
                                      "completed", "failed",   "cancelled", "dead",
                                      "held",      "assigned", "counts",    NULL};

static const struct field finding_fields[] = {
    FIELD_ENUM("index", REQUIRED, indexes, "Where."),
    FIELD_NAME("queue", OPTIONAL, "Of pending tasks: whose."),
    FIELD_NAME("role", OPTIONAL, "Of pending tasks with roles: for which."),
    FIELD_TASK_ID("id", REQUIRED, "The task; t-0 when it is about no single one."),
    FIELD_ENUM("problem", REQUIRED, problems, "What is wrong with it."),
    FIELD_ID("instance", OPTIONAL, "Whose."),
    FIELD_ENUM("status", OPTIONAL, task_states, "The task's state; of a sum, what is summed up."),
    FIELD_TASK_ID("waiting_for", OPTIONAL, "Not awaited: what it waits for and is not told of."),
    FIELD_INT("counter", OPTIONAL, INT64_MIN, INT64_MAX, "What is counted."),
    FIELD_INT("counted", OPTIONAL, 0, INT64_MAX, "How many there are."),
    FIELD_END,
};
static const struct field finding_element[] = {
    FIELD_OBJECT("", REQUIRED, finding_fields, "One thing that is not as it should be."),
    FIELD_END,
};

static const struct field counted_fields[] = {
    FIELD_NAME("queue", REQUIRED, "A queue."),
    FIELD_ENUM("state", REQUIRED, task_states, "A state."),
    FIELD_INT("count", REQUIRED, 1, INT64_MAX, "How many of its tasks are on this page."),
    FIELD_END,
};
static const struct field counted_element[] = {
    FIELD_OBJECT("", REQUIRED, counted_fields, "Tasks of one queue in one state."),
    FIELD_END,
};

static const struct field counter_fields[] = {
    FIELD_NAME("queue", REQUIRED, "A queue."),
    FIELD_ENUM("state", REQUIRED, task_states, "A state."),
    FIELD_INT("count", REQUIRED, INT64_MIN, INT64_MAX, "How many are counted."),
    FIELD_END,
};
static const struct field counter_element[] = {
    FIELD_OBJECT("", REQUIRED, counter_fields, "What one queue counts in one state."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_INT("examined", REQUIRED, 0, INT64_MAX, "How many entries this page is about."),
    FIELD_LIST("counted", REQUIRED, 0, 0, counted_element, "To be added up over all pages."),
    FIELD_LIST("counters", REQUIRED, 0, 0, counter_element, "Of the queues asked for."),
    FIELD_LIST("findings", REQUIRED, 0, 0, finding_element, "What is wrong."),
    FIELD_STR("next", OPTIONAL, 1, 300, "Where the next page begins; absent on the last one."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const struct field_value *cursor = prepare_value(p, "cursor");

    if (cursor->is_set && !task_is_cursor(cursor->str, '9'))
        return prepare_refuse(p, "cursor", "`next` of a page", "something else");
    prepare_arg_text(p, cursor);
    prepare_arg_names(p, prepare_value(p, "queues"));
    p->operations = 100; /* a page is as much work as a batch: one a group */
    return 0;
}

const struct handler handler_task_audit = {
    .method = METHOD_task_audit,
    .summary = "Check whether counts and indexes say the same as the tasks, page by page.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_AUDIT,
    .prepare = prepare,
};
