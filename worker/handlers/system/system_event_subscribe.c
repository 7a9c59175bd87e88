/*
 * system_event_subscribe.c: system.event.subscribe (lua/system_event_subscribe.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field params[] = {
    FIELD_NAME("group", REQUIRED, "The reader's name; all who read under it share its place."),
    FIELD_STR("since", DEFAULT("$"), 1, 41,
              "Where a new reader begins: behind the event of this id, 0 for all that are kept, $ "
              "for those that are to come. One that is known goes on where it was."),
    FIELD_END,
};

static const struct field result[] = {
    FIELD_NAME("group", REQUIRED, "The reader."),
    FIELD_BOOL("created", REQUIRED, "False: it was known."),
    FIELD_STR("cursor", REQUIRED, 1, 64, "The last event that was given to it."),
    FIELD_INT("pending", REQUIRED, 0, 9007199254740991,
              "Events that were given to it and are not acknowledged."),
    FIELD_END,
};

/* "$", "123" or "123-4" */
static bool is_place(const char *s)
{
    static const char digits[] = "0123456789";
    size_t n = strspn(s, digits);

    if (strcmp(s, "$") == 0)
        return true;
    if (n == 0 || n > 19 || !s[n])
        return n > 0 && n <= 19;
    size_t m = s[n] == '-' ? strspn(s + n + 1, digits) : 0;
    return m > 0 && m <= 19 && !s[n + 1 + m];
}

static int prepare(struct prepare *p)
{
    const char *group = prepare_value(p, "group")->str;
    const char *since = prepare_value(p, "since")->str;

    if (system_event_group_is_own(group))
        return prepare_refuse(p, "group", "a name that is not one of our own", group);
    if (!is_place(since))
        return prepare_refuse(p, "since", "the id of an event, 0 or $", since);
    prepare_arg_str(p, group);
    prepare_arg_str(p, since);
    return 0;
}

static void operation(const struct handler_context *ctx, struct arena *arena, struct arg_list *keys,
                      struct arg_list *args)
{
    (void)keys;
    arg_list_add_int(arena, args, ctx->opts->events.reader_idle_ms);
}

const struct handler handler_system_event_subscribe = {
    .method = METHOD_system_event_subscribe,
    .summary = "Make a reader of the event stream known, whose place in it is kept.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_EVENT_SUBSCRIBE,
    .prepare = prepare,
    .operation = operation,
};
