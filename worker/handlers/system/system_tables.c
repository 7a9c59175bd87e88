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

static const char *const circuit_states[] = {"closed", "open", "half_open", NULL};

static const struct field circuit_fields[] = {
    FIELD_STR("method", REQUIRED, 1, 64, "The method."),
    FIELD_ENUM("state", REQUIRED, circuit_states,
               "open: requests are refused; half_open: a few are admitted as probes."),
    FIELD_TIME("since", REQUIRED_OR_NULL, "Since when; null: it was never anything but closed."),
    FIELD_STR("reason", REQUIRED, 0, 200, "Why."),
    COUNT("attempt", "How often it opened since it was closed last."),
    COUNT("retry_after_ms", "When it is open: how long it will be."),
    COUNT("timeouts", "Requests whose deadline passed although they had the method's time."),
    COUNT("errors", "Requests that ended in an internal error."),
    COUNT("rejections", "Requests that were refused because it was not closed."),
    COUNT("opened", "How often it has opened."),
    FIELD_END,
};
const struct field system_circuit_element[] = {
    FIELD_OBJECT("", REQUIRED, circuit_fields, "A circuit."),
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
