/*
 * tally.h: request counters and latencies summed over workers, the living and the dead.
 *
 * The counters live in scoreboard slots, one worker each; a slot is wiped when its worker dies, so the
 * supervisor keeps what dead workers had counted, and adds the living ones when somebody asks.
 */
#ifndef CB_TALLY_H
#define CB_TALLY_H

#include "common/scoreboard.h"

struct tally_method {
    char name[48];
    uint64_t requests;
    uint64_t errors;
    uint64_t refused;
    uint64_t total_us;
    uint64_t buckets[SCOREBOARD_BUCKETS];
    uint64_t bounded[SCOREBOARD_BOUNDS];
    uint64_t codes[SCOREBOARD_CODES];
};

struct tally_script {
    char name[32];
    uint64_t calls;
    uint64_t total_us;
};

struct tally {
    uint64_t requests;
    uint64_t duplicates;
    uint64_t commits;
    uint64_t reconnects;
    uint64_t nameless[SCOREBOARD_CODES];
    uint64_t claims[SCOREBOARD_CLAIMS];
    uint64_t hook_events[SCOREBOARD_HOOK_EVENTS][SCOREBOARD_DECISIONS];
    uint64_t fallbacks;
    struct tally_method *methods; /* in the order in which they were met */
    size_t len;
    struct tally_script *scripts; /* the same */
    size_t nscripts;
};

#define TALLY_INIT                                                                                 \
    {                                                                                              \
        0                                                                                          \
    }
void tally_done(struct tally *t);
void tally_add(struct tally *t, const struct tally *other);
void tally_add_slot(struct tally *t, const struct scoreboard_slot *slot);

#endif
