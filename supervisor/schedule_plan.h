/*
 * schedule_plan.h: what is to be done about a schedule now: which due times are fired, which are dropped, and when it is
 * due next. Computes only; scheduler.c asks and tells Redis.
 *
 * A due time that is fired within SCHEDULE_LATE_MS is on time. What is later was missed: nobody led, the daemons were
 * stopped, or the queue was full. Then `missed` of the schedule decides: `skip` drops it; `once` fires the last one for
 * all of them, unless one that is on time does it anyway; `all` fires each, the latest SCHEDULE_KEEP.
 */
#ifndef CB_SCHEDULE_PLAN_H
#define CB_SCHEDULE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SCHEDULE_LATE_MS = 5000, /* a change of the leader takes less */
    SCHEDULE_KEEP = 1000,
    SCHEDULE_FIRE_MAX = 100,   /* of one plan */
    SCHEDULE_COUNT_MAX = 10000 /* dropped times of a cron expression are counted so far */
};

enum schedule_missed { SCHEDULE_SKIP, SCHEDULE_ONCE, SCHEDULE_ALL };

/* All times are wall ms of Redis. */
struct schedule_when {
    const char *cron; /* NULL: an interval */
    const char *timezone;
    int64_t every_ms, anchor_ms;
    int64_t end_ms;   /* INT64_MAX: none */
    int64_t due_ms;   /* the next one that has not been dealt with */
    int64_t floor_ms; /* what was due before is over */
    enum schedule_missed missed;
};

struct schedule_plan {
    int64_t times[SCHEDULE_FIRE_MAX]; /* to be fired, in order */
    size_t len;
    int64_t dropped;
    bool has_next;   /* false: it has ended */
    int64_t next_ms; /* when there was no room for all, it is due already */
};

/* At most `room` (≤ SCHEDULE_FIRE_MAX) times. Returns 0, or -1 with the reason in *ret_problem, a static text, when this
 * machine cannot compute it (an unknown time zone). */
int schedule_plan(const struct schedule_when *when, int64_t now_ms, size_t room,
                  struct schedule_plan *ret_plan, const char **ret_problem);

#endif
