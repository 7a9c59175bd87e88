/*
 * system_check_health.c: system.check_health (lua/system_check_health.lua).
 */
#include "common/compat.h"
#include "worker/handlers/system/system_tables.h"

static const struct field params[] = {
    FIELD_INT("timeout", OPTIONAL, 500, 86400000,
              "Milliseconds of silence after which an instance is given up, even if its own lease "
              "is longer; at least cluster.offline_ms."),
    FIELD_END,
};

static const struct field instance_element[] = {FIELD_ID("", REQUIRED, "An instance."), FIELD_END};

static const struct field result[] = {
    FIELD_LIST("healthy", REQUIRED, 0, 100, instance_element,
               "Who is alive, those that were heard longest ago first."),
    FIELD_LIST(
        "failed", REQUIRED, 0, 10, instance_element,
        "Who was silent for too long: given up, now or by an earlier sweep that had more tasks to "
        "move."),
    FIELD_OBJECT("reassigned", REQUIRED, NULL,
                 "How many tasks of each of these were moved now, by instance."),
    FIELD_BOOL("postponed", REQUIRED,
               "True: beats wait to be handled, so nobody was given up for being silent."),
    FIELD_BOOL("isPartial", REQUIRED, "True: there are more instances to look at or to give up."),
    FIELD_END,
};

static int prepare(struct prepare *p)
{
    prepare_arg_number(p, prepare_value(p, "timeout"));
    p->operations = 100;
    return 0;
}

static void operation(const struct handler_context *ctx, struct arena *arena, struct arg_list *keys,
                      struct arg_list *args)
{
    (void)keys;
    arg_list_add_int(arena, args, ctx->opts->cluster.suspect_ms);
    arg_list_add_int(arena, args, ctx->opts->cluster.offline_ms);
}

const struct handler handler_system_check_health = {
    .method = METHOD_system_check_health,
    .summary = "Look for silent instances now, and move their tasks.",
    .params = params,
    .result = result,
    .script = SCRIPT_SYSTEM_CHECK_HEALTH,
    .prepare = prepare,
    .operation = operation,
};
