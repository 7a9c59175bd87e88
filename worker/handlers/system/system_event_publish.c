/*
 * system_event_publish.c: system.event.publish (lua/system_event_publish.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

enum { EVENT_DATA_BYTES = 16384 };

/* First parts of the types of our own events: what says so is true. */
static const char *const own_kinds[] = {
    "archive",  "audit",  "batch",     "circuit", "events", "hook",
    "instance", "leader", "partition", "queue",   "quorum", "reader",
    "schedule", "state",  "system",    "task",    "tasks",  "todo",
};

static const struct field params[] = {
    FIELD_NAME("type", REQUIRED,
               "What happened, for instance deploy.done; not one of our own types (task.*, "
               "instance.*, …)."),
    FIELD_ID("id", OPTIONAL,
             "The event's own id: of those published with the same one, only the first is "
             "accepted."),
    FIELD_NAME("partition", OPTIONAL, "Events of one partition are also kept by themselves."),
    {.name = "data",
     .type = FIELD_TYPE_ANY,
     .max = EVENT_DATA_BYTES,
     .text = "What else there is to say."},
    FIELD_END,
};

static const struct field result[] = {
    FIELD_BOOL("accepted", REQUIRED, "False: an event of this id was published before."),
    FIELD_STR("event", REQUIRED_OR_NULL, 1, 64,
              "Its id in the event stream, null when it was not accepted."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    const char *type = prepare_value(p, "type")->str;
    size_t len = strcspn(type, ".");

    for (size_t i = 0; i < CB_ARRAY_LEN(own_kinds); i++)
        if (strlen(own_kinds[i]) == len && strncmp(own_kinds[i], type, len) == 0)
            return prepare_refuse(p, "type", "a type that is not one of our own", type);
    prepare_arg_str(p, type);
    prepare_arg_text(p, prepare_value(p, "id"));
    prepare_arg_text(p, prepare_value(p, "partition"));
    prepare_arg_raw(p, prepare_value(p, "data"));
    return 0;
}

static void operation(const struct handler_context *ctx, struct arena *arena, struct arg_list *keys,
                      struct arg_list *args)
{
    (void)keys;
    arg_list_add_int(arena, args, ctx->opts->events.dedupe_ms);
    arg_list_add_int(arena, args, ctx->opts->events.dedupe_ids);
}

const struct handler handler_system_event_publish = {
    .method = METHOD_system_event_publish,
    .summary = "Publish an event of your own, once for each id.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_EVENT_PUBLISH,
    .prepare = prepare,
    .operation = operation,
};
