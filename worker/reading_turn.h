/*
 * reading_turn.h: whose turn it is to wait for requests.
 *
 * Redis gives a new request at once, and alone, to the worker that has waited longest. Of a burst each worker that waits gets one
 * request, and who asks next gets the rest; and a group of one costs Redis four times as much a request as a group of sixty-four.
 * So, while several requests come at once, one worker of a domain has the turn: it waits at Redis, and the others wait for the turn
 * in shared memory. Who has been given something passes the turn on, and then does its work. While requests come one by one
 * everybody waits at Redis, as if this were not there; and who has just read a whole batch reads without a turn, and without
 * waiting, since there is probably more (consume.c).
 *
 * Nobody relies on the one that has the turn. Who has waited for it for READING_TURN_US takes it away, so that a holder that is
 * stopped or dead costs that long once; and a worker may always read without it: that costs no more than a smaller group.
 */
#ifndef CB_WORKER_READING_TURN_H
#define CB_WORKER_READING_TURN_H

#include "common/scoreboard.h"

#include <stdbool.h>

enum {
    /* For so long after a burst turns are taken; and nobody waits for one longer. */
    READING_TURN_US = 50000,
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
/* True: we may read: it is ours, or turns are not taken just now. */
bool reading_turn_take(struct reading_turn *t);
/* Waits for it, READING_TURN_US at most; a signal ends the wait. We may read then, with it or without. */
void reading_turn_wait(struct reading_turn *t);
/* The read is over: the next one may. Nothing, when the turn was not ours. */
void reading_turn_give(struct reading_turn *t);

#endif
