/*
 * scheduler.h: fires schedules (schedule.add), on the instance that leads.
 *
 * The tick says when the leader has to look (scheduler_wake()), so that nothing is asked while nothing is due. Then two
 * scripts: schedule_due says what is due, schedule_fire makes the tasks and moves the due times on. The latter accepts
 * nobody but the leader of the epoch, and no due time twice; so whatever dies or stops in between, each is fired once.
 */
#ifndef CB_SCHEDULER_H
#define CB_SCHEDULER_H

#include "common/options.h"
#include "common/scoreboard.h"
#include "supervisor/instance.h"
#include "supervisor/redis_conn.h"

struct scheduler;

/* All arguments are borrowed. */
struct scheduler *scheduler_new(struct event_base *base, const struct options *opts,
                                const struct scoreboard *scoreboard,
                                const struct instance *instance, struct redis_conn *conn);
void scheduler_free(struct scheduler *s); /* accepts NULL */
/* This instance leads, and the next schedule is due in so many ms (0 or less: now). */
void scheduler_wake(struct scheduler *s, int64_t in_ms);

#endif
