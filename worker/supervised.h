/*
 * supervised.h: a worker's side of its supervision: control socket, scoreboard slot, drain.
 */
#ifndef CB_WORKER_SUPERVISED_H
#define CB_WORKER_SUPERVISED_H

#include "common/frame.h"
#include "common/scoreboard.h"

#include <stdbool.h>

struct supervised {
    struct scoreboard *board;
    struct scoreboard_slot *slot;
    uint64_t generation;
    bool may_go;                 /* GO came */
    uint32_t log_levels_serial;  /* of the levels that we log at */
    bool is_draining;            /* DRAIN or TERM came, or the supervisor is gone */
    bool is_orphan;              /* end of file on the control socket */
    void (*on_drain)(void *arg); /* called once, when is_draining becomes true; may be NULL */
    void *on_drain_arg;
};

/* Maps the scoreboard, says HELLO, catches TERM. Returns 0 or -1. */
int supervised_init(struct supervised *s, unsigned slot, uint64_t generation, struct cb_error *err);
/* Beats, and handles what came on the control socket. Called at least every REDIS_LINK_IDLE_MS. */
void supervised_turn(struct supervised *s);
/* The same as a redis_idle_fn; `arg` is the struct supervised. */
bool supervised_idle(void *arg);
void supervised_state(struct supervised *s, enum worker_state state);
/* READY with the connection that reads requests; also after each reconnect, for the slot. */
int supervised_ready(struct supervised *s, int64_t redis_id, struct cb_error *err);
/* Waits up to `ms`, beating; ends early on a control message, and when a drain begins (one that is under way
 * is no reason to spin). */
void supervised_wait(struct supervised *s, int64_t ms);
void supervised_bye(struct supervised *s, enum frame_bye reason);

#endif
