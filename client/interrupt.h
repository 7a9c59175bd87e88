/*
 * interrupt.h: Ctrl-C of a verb that has something to say when it is cut off.
 *
 * The first INT or TERM is noted and ends a wait (no SA_RESTART); the verb finishes what is in flight, says how far
 * it came, and ends by that signal. A second one ends the program at once.
 */
#ifndef CB_INTERRUPT_H
#define CB_INTERRUPT_H

#include <stdbool.h>

enum {
    INTERRUPT_LOOK_MS = 200
}; /* wait no longer than that: a signal just before a wait does not end it */

void interrupt_catch(void);
bool interrupt_came(void);
/* Ends the program by the signal that came, as a shell expects it; returns when none came. */
void interrupt_end(void);

#endif
