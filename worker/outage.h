/*
 * outage.h: what a worker says about a Redis that is away. Its supervisor has a connection of its own and says
 * it once for all; a worker speaks only when Redis does serve the supervisor and not the workers, or when there
 * is no supervisor any more; and then one worker of the host a minute does.
 */
#ifndef CB_WORKER_OUTAGE_H
#define CB_WORKER_OUTAGE_H

#include "common/backoff.h"
#include "common/connect.h"
#include "worker/supervised.h"

struct outage {
    int64_t since_ms; /* monotonic; 0 = none */
    bool is_said;
};

/* The connection is lost, or another attempt at one has failed: err->code is an enum redis_fault. Sets the
 * worker's state, so that the supervisor does not take one that waits for one that hangs. */
void outage_note(struct outage *o, struct supervised *sup, const struct cb_error *err);
/*
 * The same, and waits until it may be tried again, beating: as long as `backoff` says, but not when the supervisor finds Redis meanwhile. A
 * password that Redis has refused is read again. Returns 0, or -1: the worker is to drain.
 */
int outage_wait(struct outage *o, struct supervised *sup, const struct options *opts,
                struct redis_target *target, struct backoff *backoff, const struct cb_error *err);
/*
 * Whether trouble with a connection that comes and goes since since_ms (wall clock) is ours alone: it has lasted a while, and the
 * supervisor's own connection has been up all the time. Else the supervisor tells of it.
 */
bool outage_is_ours(const struct supervised *sup, int64_t since_ms);
/* Whether this worker is the one that may log what hits all workers of the host alike; once in LOG_REPEAT_MS. */
bool outage_has_the_word(struct supervised *sup);
/* Redis serves us (again). */
void outage_over(struct outage *o, int64_t redis_id);

#endif
