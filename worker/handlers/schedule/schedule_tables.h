/*
 * schedule_tables.h: field tables and argument builders that several schedule handlers share.
 */
#ifndef CB_WORKER_SCHEDULE_TABLES_H
#define CB_WORKER_SCHEDULE_TABLES_H

#include "worker/handler.h"

/* A schedule as add, get, list, pause and resume show it. */
extern const struct field schedule_fields[];
extern const char *const schedule_statuses[];
extern const char
    *const schedule_missed[]; /* what becomes of due times that nobody was there to fire */

/* {"id": …} */
extern const struct field schedule_id_params[];

/* The three keys of lua/include/schedule.lua. */
void schedule_operation(const struct handler_context *ctx, struct arena *arena,
                        struct arg_list *keys, struct arg_list *args);

#endif
