/*
 * system_event_unsubscribe.c: system.event.unsubscribe (lua/system_event_unsubscribe.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field params[] = {
    FIELD_NAME("group", REQUIRED, "The reader."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_BOOL("removed", REQUIRED, "False: there was none of this name."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const char *group = prepare_value(p, "group")->str;

    if (system_event_group_is_own(group))
        return prepare_refuse(p, "group", "a name that is not one of our own", group);
    prepare_arg_str(p, group);
    return 0;
}

const struct handler handler_system_event_unsubscribe = {
    .method = METHOD_system_event_unsubscribe,
    .summary = "Forget a reader of the event stream, and its place.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_EVENT_UNSUBSCRIBE,
    .prepare = prepare,
};
