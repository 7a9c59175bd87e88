/*
 * reading_turn.h: whose turn it is to wait for requests.
 *
 * Redis gives a new request to the worker that has waited longest, at once and alone: of a burst, each worker that waits gets one,
 * and who asks next gets the rest. A group of one costs Redis four times as much a request as a group of sixty-four. So, while there is
 * more than one request at a time, one worker of a domain waits at Redis, and the others wait for it in shared memory; who has been
 * given something lets the next one go, and does its work. With single requests everybody waits at Redis, as if this were not there.
 *
 * Nobody relies on the one whose turn it is: after READING_TURN_US a worker that waits takes the turn away, so that one that is
 * stopped or dead costs that long once.
 */
#ifndef CB_WORKER_READING_TURN_H
#define CB_WORKER_READING_TURN_H

#include "common/scoreboard.h"

#include <stdbool.h>

enum {
    READING_TURN_US = 50000, /* a wait for one's turn at most; and for so long after several requests at once turns are taken */
};

struct reading_turn {
    struct scoreboard_turn *shared; /* of the domain's workers */
    uint32_t self;                  /* not 0 */
};

/* `domain`: its number in options_domain_names(); `slot`: this worker's. */
void reading_turn_init(struct reading_turn *t, struct scoreboard *board, unsigned domain,
                       unsigned slot);
/* So many requests were read at once. */
void reading_turn_note(struct reading_turn *t, size_t requests);
/* Were there several at once, lately? */
bool reading_turn_is_busy(const struct reading_turn *t);
/* True: it is ours, or turns are not taken. */
bool reading_turn_take(struct reading_turn *t);
/* Waits for it, up to READING_TURN_US; a signal ends the wait. */
void reading_turn_wait(struct reading_turn *t);
/* The read is over: the next one may. Nothing, when the turn was not ours. */
void reading_turn_give(struct reading_turn *t);

#endif
