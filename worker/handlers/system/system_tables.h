/*
 * system_tables.h: field tables that several system handlers share.
 */
#ifndef CB_WORKER_SYSTEM_TABLES_H
#define CB_WORKER_SYSTEM_TABLES_H

#include "worker/handler.h"

/* Tasks by state, as lua/include/counts.lua makes them. */
extern const struct field system_counts_fields[];
/* One role of a list. */
extern const struct field system_role_element[];

#endif
