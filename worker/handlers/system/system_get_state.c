/*
 * system_get_state.c: system.get_state (lua/system_get_state.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const char *const kinds[] = {"agent", "daemon", NULL};
static const char *const statuses[] = {"ACTIVE", "OFFLINE", NULL};
static const char *const ended[] = {"completed", "failed", "cancelled", NULL};

static const struct field params[] = {FIELD_END};

static const struct field instance_fields[] = {
    FIELD_ID("id", REQUIRED, "The instance."),
    FIELD_ENUM("kind", REQUIRED, kinds, "A daemon, or an agent that registered."),
    FIELD_ENUM("status", REQUIRED, statuses, "OFFLINE: it left or was given up."),
    FIELD_LIST("roles", REQUIRED, 0, 16, system_role_element, "What it can do."),
    FIELD_INT("capacity", REQUIRED, 0, 10000, "How many tasks it takes at once."),
    FIELD_NUM("load", OPTIONAL, 0, 1000000, "How much it said it does."),
    FIELD_TIME("lastBeat", REQUIRED, "When it was heard last."),
    FIELD_INT("beat_age_ms", REQUIRED, 0, INT64_MAX, "How long ago that was."),
    FIELD_INT("held", REQUIRED, 0, INT64_MAX, "How many tasks it holds."),
    FIELD_STR("health", OPTIONAL, 1, 64, "How it said that it is."),
    FIELD_STR("incarnation", OPTIONAL, 1, 8,
              "The beginning of its incarnation: another one after each registration."),
    FIELD_OBJECT("seen", OPTIONAL, NULL,
                 "Whom it saw at its last beat, and how many ms before that it had heard of them."),
    FIELD_END,
};
static const struct field instance_element[] = {
    FIELD_OBJECT("", REQUIRED, instance_fields, "An instance."),
    FIELD_END,
};

static const struct field event_fields[] = {
    FIELD_STR("id", REQUIRED, 1, 64, "Its place in the event stream."),
    FIELD_STR("type", REQUIRED, 1, 64, "What happened."),
    FIELD_TIME("at", REQUIRED, "When."),
    FIELD_OBJECT("fields", REQUIRED, NULL, "To what, by whom: strings, long ones cut."),
    FIELD_END,
};
static const struct field event_element[] = {
    FIELD_OBJECT("", REQUIRED, event_fields, "An event."),
    FIELD_END,
};

static const struct field task_fields[] = {
    FIELD_TASK_ID("id", REQUIRED, "The task."),
    FIELD_STR("text", REQUIRED, 1, 500, "What was to be done."),
    FIELD_ENUM("status", REQUIRED, ended, "How it ended."),
    FIELD_INT("priority", REQUIRED, 0, 100, "Its priority."),
    FIELD_NAME("queue", REQUIRED, "Its queue."),
    FIELD_TIME("endedAt", REQUIRED, "When it ended."),
    FIELD_END,
};
static const struct field task_element[] = {
    FIELD_OBJECT("", REQUIRED, task_fields, "A task."),
    FIELD_END,
};

static const struct field state_fields[] = {
    FIELD_INT("version", REQUIRED, 1, 9007199254740991, "Its version."),
    FIELD_TIME("updatedAt", REQUIRED, "When it was replaced."),
    FIELD_OBJECT("data", REQUIRED, NULL, "The state itself."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_OBJECT("tasks", REQUIRED, system_counts_fields, "How many there are in each state."),
    FIELD_LIST("instances", REQUIRED, 0, 100, instance_element,
               "The instances, those that will live longest first."),
    FIELD_INT("instanceCount", REQUIRED, 0, INT64_MAX,
              "How many instances there are, those that are not listed included."),
    FIELD_LIST("recentEvents", REQUIRED, 0, 10, event_element, "What happened last, newest first."),
    FIELD_LIST("recentTasks", REQUIRED, 0, 10, task_element, "What ended last, newest first."),
    FIELD_ID("leader", REQUIRED_OR_NULL, "The leading instance, null when there is none."),
    FIELD_OBJECT("state", REQUIRED_OR_NULL, state_fields,
                 "What system.state.sync shares; null when there is none."),
    FIELD_STR("version", REQUIRED, 1, 64, "Of the software."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    prepare_arg_str(p, "\"" PACKAGE_VERSION "\"");
    p->operations = 100; /* as much work as a page of a list */
    return 0;
}

const struct handler handler_system_get_state = {
    .method = METHOD_system_get_state,
    .summary = "Show counts of tasks, the instances, the shared state, and what happened last.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_GET_STATE,
    .prepare = prepare,
};
