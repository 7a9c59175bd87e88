/*
 * schedule_tables.c: see schedule_tables.h.
 */
#include "common/compat.h"
#include "worker/handlers/schedule/schedule_tables.h"

#include "common/cron.h"

const char *const schedule_statuses[] = {"active", "paused", "ended", NULL};
const char *const schedule_missed[] = {"skip", "once", "all", NULL};

const struct field schedule_fields[] = {
    FIELD_ID("id", REQUIRED, "The schedule's id."),
    FIELD_ENUM("status", REQUIRED, schedule_statuses,
               "Whether it fires; `ended` when no due time is left."),
    FIELD_STR("cron", OPTIONAL, 1, CRON_MAX, "Its cron expression."),
    FIELD_INT("every_ms", OPTIONAL, 1, INT64_MAX, "Its interval."),
    FIELD_STR("timezone", REQUIRED, 1, TZ_NAME_MAX,
              "The zone that its cron expression is read in."),
    FIELD_ENUM("missed", REQUIRED, schedule_missed,
               "What becomes of due times that nobody was there to fire."),
    FIELD_TIME("start", OPTIONAL, "Nothing is due before."),
    FIELD_TIME("end", OPTIONAL, "Nothing is due after."),
    FIELD_TIME(
        "next_run_at", OPTIONAL,
        "When it is due next; absent while it is paused, when it has ended, and for a moment "
        "after it was resumed."),
    FIELD_TIME("last_run_at", OPTIONAL, "The due time that was fired last."),
    FIELD_TASK_ID("lastTaskId", OPTIONAL, "The task that came of it."),
    FIELD_INT("fired", REQUIRED, 0, INT64_MAX, "How many tasks have come of it."),
    FIELD_INT("dropped", REQUIRED, 0, INT64_MAX, "How many due times came to nothing."),
    FIELD_BOOL("blocked", OPTIONAL, "True while it waits for room in its queue."),
    FIELD_INT("version", REQUIRED, 1, INT64_MAX, "Grows with every change."),
    FIELD_TIME("createdAt", REQUIRED, "When it was added."),
    FIELD_TIME("updatedAt", REQUIRED, "When it was added, replaced, paused or resumed last."),
    FIELD_OBJECT("template", REQUIRED, NULL, "Params of task.create, as they were given."),
    FIELD_END,
};

const struct field schedule_id_params[] = {
    FIELD_ID("id", REQUIRED, "The schedule."),
    FIELD_END,
};

void schedule_operation(const struct handler_context *ctx, struct arena *arena,
                        struct arg_list *keys, struct arg_list *args)
{
    static const enum key_id ids[] = {KEY_SCHEDULES, KEY_SCHEDULES_DUE, KEY_SCHEDULES_IDS};

    (void)args;
    for (size_t i = 0; i < CB_ARRAY_LEN(ids); i++) {
        const char *key = keys_make(arena, ctx->prefix, ids[i]);
        arg_list_add_str(arena, keys, key);
    }
}
