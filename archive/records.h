/*
 * records.h: from what Redis has to rows: the hash of a task (lua/include/task.lua), of an instance (instance.lua), of a decision
 * (quorum.lua), the JSON of a schedule, an entry of the audit stream. Lease tokens and the secrets of daemons are left out: of a token only its
 * number is used, the time at which the lease began.
 */
#ifndef CB_ARCHIVE_RECORDS_H
#define CB_ARCHIVE_RECORDS_H

#include "archive/tables.h"
#include "common/redis_link.h"

/* The microsecond in an id, "t-0001763784000123456"; -1: it is none. */
int64_t record_task_created_us(const char *id);

/*
 * These add rows (none when the batch has that key), and return false when the reply is no such record: it is gone, or damaged. `fields` is the
 * flat list of HGETALL.
 */
bool record_task(struct batch *b, const char *id, const reply_t *fields);
bool record_instance(struct batch *b, const char *id, const reply_t *fields);
bool record_decision(struct batch *b, const char *id, const reply_t *fields);
bool record_schedule(struct batch *b, const char *id, const reply_t *json);
bool record_audit(struct batch *b, const reply_t *entry);

/* What an event says of a task that Redis has no more. */
struct record_end {
    const char *state;  /* completed, failed, cancelled; NULL: it did not say how it ended */
    const char *worker; /* or NULL */
    bool is_dead;
    bool is_deleted;
    bool is_lost; /* not an event: it was found to be gone */
    int64_t at_ms;
};
void record_task_end(struct batch *b, const char *id, const struct record_end *end);
/* An attempt that ended at that time without a trace in the task: it was released. `fields`: the task's, or NULL. */
void record_attempt_end(struct batch *b, const char *id, const reply_t *fields, int64_t at_ms);
void record_schedule_end(struct batch *b, const char *id, int64_t at_ms);

#endif
