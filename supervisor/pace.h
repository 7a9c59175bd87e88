/*
 * pace.h: how soon a command follows that a reply asks for ("there is more"). A server may say so for ever; this, and not its
 * answers, is then what limits how often it is asked. A reply that says so truly has done much each time.
 */
#ifndef CB_PACE_H
#define CB_PACE_H

enum { PACE_AGAIN_MS = 1 };

#endif
