/*
 * system_tables.c: see system_tables.h.
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

#define COUNT(name, doc) FIELD_INT(name, REQUIRED, 0, INT64_MAX, doc)

const struct field system_counts_fields[] = {
    COUNT("pending", "Tasks that wait for a worker."),
    COUNT("delayed", "Tasks that wait for their time."),
    COUNT("blocked", "Tasks that wait for others to end."),
    COUNT("in_progress", "Tasks that somebody holds."),
    COUNT("completed", "Completed tasks that are still kept."),
    COUNT("failed", "Tasks that failed for good and are still kept."),
    COUNT("dead", "The same number, by the name of the dead letters."),
    COUNT("cancelled", "Cancelled tasks that are still kept."),
    FIELD_END,
};

const char *const system_quorum_statuses[] = {"open", "decided", "tied", "expired", NULL};

const char *const system_batch_statuses[] = {"open", "sealed", "completed", NULL};

const struct field system_batch_item[] = {FIELD_ANY("", REQUIRED, "Anything."), FIELD_END};

const struct field system_role_element[] = {FIELD_NAME("", REQUIRED, "A role."), FIELD_END};

bool system_event_group_is_own(const char *group)
{
    return strcmp(group, "archive") == 0;
}
