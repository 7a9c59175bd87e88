/*
 * commit.h: groups of requests of one method, each committed by one script call.
 */
#ifndef CB_WORKER_COMMIT_H
#define CB_WORKER_COMMIT_H

#include "worker/gate.h"
#include "worker/session.h"

enum {
    COMMIT_REQUESTS_MAX = 64,
    /* Task operations beyond one a request: a batch of 100 begins a group and fills it, and 64 completions that each claim the next
     * task are one group, too. Scripts count on it: lua/include/retention.lua, lua/system_get_state.lua. */
    COMMIT_FURTHER_MAX = 99,
    COMMIT_BYTES_MAX = 1024 * 1024,
};

/* One group; its requests and arguments live in the batch's arena and reply. */
struct commit {
    enum script_id script;
    const struct handler *handler; /* NULL: a group of refusals */
    struct request *requests[COMMIT_REQUESTS_MAX];
    size_t len;
    unsigned further; /* task operations beyond one a request */
    size_t bytes;
    struct script_call call;
    bool is_full;     /* no other request will come to it */
    bool is_sent;     /* its call was queued for writing */
    int64_t sent_us;  /* monotonic, when that was */
    bool is_done;     /* its reply was taken: nothing more to do */
    unsigned misread; /* replies that were none of this script's */
    struct commit *next;
};

/* What a request of so many task operations (0: it was refused) counts for COMMIT_FURTHER_MAX. */
static inline unsigned commit_further(unsigned operations)
{
    return operations > 0 ? operations - 1 : 0;
}
/* Puts a checked request into the newest group of its kind, or begins one at the end of the list (NULL: empty), when there is
 * none or it is full. The list lives in the arena; each commit's call must be freed with commit_list_done(). */
void commit_group(struct commit **list, struct request *r, struct arena *arena);
void commit_list_done(struct commit *list);
/* Puts the script call together. */
void commit_build(struct commit *c, const struct handler_context *ctx, struct arena *arena);
/* Queues the script call on the link. */
void commit_append(struct commit *c, struct redis_link *link);
/* Takes the script's reply: counts, logs, notes the backlog. Returns 0, or -1 when it is an error reply
 * (err->code is its enum redis_fault) or not this script's, and the commit must be repaired. */
int commit_take(struct commit *c, const reply_t *reply, struct supervised *sup,
                struct gate_weather *weather, struct cb_error *err);
/*
 * Runs a commit whose pipelined call failed, on the second link, until it is decided: NOSCRIPT loads the
 * script, OOM turns creating requests into refusals (-32007), an error of the script itself into -32603.
 * Returns 0, or -1 when the connection is lost again, or Redis refuses even the refusal (REDIS_ERROR): the caller restores and
 * comes back.
 */
int commit_repair(struct commit *c, const struct handler_context *ctx, struct arena *arena,
                  struct session *session, struct gate_weather *weather, struct cb_error *err);

#endif
