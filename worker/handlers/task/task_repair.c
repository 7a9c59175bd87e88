/*
 * task_repair.c: task.repair (lua/task_repair.lua).
 */
#include "common/compat.h"
#include "worker/handlers/task/task_tables.h"

static const char *const indexes[] = {"pending",   "delayed",  "blocked",   "in_progress",
                                      "completed", "failed",   "cancelled", "dead",
                                      "held",      "assigned", NULL};

static const struct field entry_fields[] = {
    FIELD_ENUM("index", REQUIRED, indexes, "Where."),
    FIELD_NAME("queue", DEFAULT("default"), "Of pending tasks: whose."),
    FIELD_NAME("role", OPTIONAL, "Of pending tasks with roles: for which."),
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_ID("instance", OPTIONAL, "Whose; of held and assigned tasks."),
    FIELD_END,
};
static const struct field entry_element[] = {
    FIELD_OBJECT("", REQUIRED, entry_fields, "A finding of task.audit."),
    FIELD_END,
};

/* Completed tasks are not counted by queue. */
static const char *const counted_states[] = {"pending", "delayed",   "blocked", "in_progress",
                                             "failed",  "cancelled", NULL};
static const struct field count_fields[] = {
    FIELD_NAME("queue", REQUIRED, "The queue."),
    FIELD_ENUM("state", REQUIRED, counted_states, "The state."),
    FIELD_INT("counter", REQUIRED, -INT32_MAX, INT32_MAX,
              "What is counted; if it is something else by now, nothing is changed."),
    FIELD_INT("counted", REQUIRED, 0, INT32_MAX, "How many there were."),
    FIELD_END,
};
static const struct field count_element[] = {
    FIELD_OBJECT("", REQUIRED, count_fields, "A count that is wrong."),
    FIELD_END,
};

static const struct field params[] = {
    FIELD_LIST("entries", DEFAULT([]), 0, 100, entry_element,
               "What leads nowhere, or is listed where it belongs as well: taken out."),
    FIELD_LIST("counts", DEFAULT([]), 0, 100, count_element,
               "Counts that are put right by their difference."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_INT("removed", REQUIRED, 0, 100, "Entries that were taken out."),
    FIELD_INT("recounted", REQUIRED, 0, 101, "Counts that were put right."),
    FIELD_END,
};

static void put_entries(struct prepare *p, const struct field_value *entries)
{
    prepare_arg_int(p, (int64_t)entries->len);
    for (size_t i = 0; i < entries->len; i++) {
        const struct field_value *entry = entries->sub[i].sub;
        prepare_arg_text(p, &entry[fields_index(entry_fields, "index")]);
        prepare_arg_text(p, &entry[fields_index(entry_fields, "queue")]);
        prepare_arg_text(p, &entry[fields_index(entry_fields, "role")]);
        prepare_arg_text(p, &entry[fields_index(entry_fields, "id")]);
        prepare_arg_text(p, &entry[fields_index(entry_fields, "instance")]);
    }
}

static int prepare(struct prepare *p)
{
    const struct field_value *entries = prepare_value(p, "entries");
    const struct field_value *counts = prepare_value(p, "counts");

    put_entries(p, entries);
    prepare_arg_int(p, (int64_t)counts->len);
    for (size_t i = 0; i < counts->len; i++) {
        const struct field_value *count = counts->sub[i].sub;
        prepare_arg_text(p, &count[fields_index(count_fields, "queue")]);
        prepare_arg_text(p, &count[fields_index(count_fields, "state")]);
        prepare_arg_number(p, &count[fields_index(count_fields, "counter")]);
        prepare_arg_number(p, &count[fields_index(count_fields, "counted")]);
    }
    p->operations = 100;
    return 0;
}

const struct handler handler_task_repair = {
    .method = METHOD_task_repair,
    .summary = "Take out what task.audit found to lead nowhere, and put counts right.",
    .params = params,
    .result = result,
    .script = SCRIPT_TASK_REPAIR,
    .prepare = prepare,
};
