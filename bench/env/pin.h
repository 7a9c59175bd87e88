/*
 * pin.h: on which cores the processes of a run may be.
 */
#ifndef CB_BENCH_PIN_H
#define CB_BENCH_PIN_H

#include <stdbool.h>

enum pin_layout {
    PIN_NONE,  /* wherever the kernel puts them */
    PIN_ONE,   /* everything on one core: no wake-up of another one, no work side by side */
    PIN_SPLIT, /* Redis on one core, everything else on another */
};

const char *pin_name(enum pin_layout layout);
/* False when there is no layout of that name. */
bool pin_find(const char *name, enum pin_layout *ret_layout);
/* Ends the program when this machine cannot do it. Call once, before anything is pinned. */
void pin_check(enum pin_layout layout);
/* Pins this process, and what it forks from now on. */
void pin_self(enum pin_layout layout, bool is_redis);

#endif
