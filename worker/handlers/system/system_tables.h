/*
 * system_tables.h: field tables that several system handlers share.
 */
#ifndef CB_WORKER_SYSTEM_TABLES_H
#define CB_WORKER_SYSTEM_TABLES_H

#include "worker/handler.h"

/* Tasks by state, as lua/include/counts.lua makes them. */
extern const struct field system_counts_fields[];
/* A circuit, as lua/include/circuits_json.lua makes it; one of a list. */
extern const struct field system_circuit_element[];
/* One role of a list. */
extern const struct field system_role_element[];

extern const char *const system_quorum_statuses[];

/* A decision, as quorum_members() in lua/include/quorum.lua makes it. */
#define SYSTEM_QUORUM_FIELDS                                                                       \
    FIELD_NAME("decision", REQUIRED, "What is decided."),                                          \
        FIELD_ENUM("status", REQUIRED, system_quorum_statuses,                                     \
                   "When its time is over without a majority: tied if the votes made one "         \
                   "impossible, else expired. All but open are for good."),                        \
        FIELD_BOOL("quorumReached", REQUIRED, "True when it is decided."),                         \
        FIELD_STR("finalDecision", REQUIRED_OR_NULL, 1, 200, "What was decided, or null."),        \
        FIELD_INT("voteCount", REQUIRED, 0, 100, "How many have voted."),                          \
        FIELD_INT("electorate", REQUIRED, 1, 100, "How many have a vote."),                        \
        FIELD_INT("needed", REQUIRED, 1, 100, "How many equal votes decide."),                     \
        FIELD_BOOL("deadlocked", REQUIRED,                                                         \
                   "No majority is possible any more unless somebody votes anew."),                \
        FIELD_TIME("endsAt", REQUIRED, "When its time is over.")

/* A reader of the event stream that is a part of us. */
bool system_event_group_is_own(const char *group);

/* The rows of common/keys_audit.def, for lua/include/keys_audit.lua. */
void system_audit_operation(const struct handler_context *ctx, struct arena *arena,
                            struct arg_list *keys, struct arg_list *args);

enum { SYSTEM_STATE_BYTES = 65536 }; /* of the shared state */

/* One item of a batch. */
extern const struct field system_batch_item[];
extern const char *const system_batch_statuses[];

/* A batch, as batch_members() in lua/include/batch.lua makes it. */
#define SYSTEM_BATCH_FIELDS                                                                        \
    FIELD_NAME("batchId", REQUIRED, "The batch."),                                                 \
        FIELD_ENUM("status", REQUIRED, system_batch_statuses,                                      \
                   "open: more items were announced; sealed: it has them all."),                   \
        FIELD_ID("processorId", REQUIRED_OR_NULL, "Who works it off, or did so last."),            \
        FIELD_INT("itemsProcessed", REQUIRED, 0, 1000000000, "Items that are finished."),          \
        FIELD_INT("itemsTotal", REQUIRED, 0, 1000000000, "Items that were added.")

#endif
