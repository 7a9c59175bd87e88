/*
 * dead_letters.h: what lua/requeue.lua and lua/refuse.lua say of dead letters (lua/include/dead.lua), for the log.
 */
#ifndef CB_DEAD_LETTERS_H
#define CB_DEAD_LETTERS_H

#include "common/redis_link.h"

/* The requests that were given up: {entry, id, method, trace, reason} each; `consumer` had them. */
void dead_letters_log(const reply_t *letters, const char *consumer);
/* {how many have gone, how many are left, their bytes}; says nothing when it is empty, or there is none (NULL). */
void dead_letters_log_dropped(const reply_t *dropped);

#endif
