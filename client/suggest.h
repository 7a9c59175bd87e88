/*
 * suggest.h: "did you mean …?" for the words of a command. main.c asks when there is no such verb.
 */
#ifndef CB_SUGGEST_H
#define CB_SUGGEST_H

#include "common/buf.h"

/*
 * Appends what these words (at least one, the first is no verb with them) may have been meant as: `"task list"`, or several
 * with "or" before the last one; nothing when nothing is near. What is near by its letters alone is never one of few
 * letters: a slip would suggest what removes.
 */
void suggest_verb(int argc, char **argv, struct buf *out);

#endif
