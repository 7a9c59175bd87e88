/*
 * silence.h: why nobody answers, instead of a guess: the daemon that the configuration names is asked, which needs no Redis.
 */
#ifndef CB_SILENCE_H
#define CB_SILENCE_H

#include "common/options.h"

#include <stddef.h>

/* What requests_client.h and others end with when they have had no answer. */
#define SILENCE_GUESS "; is claudebenchd running?"

/*
 * Replaces the guess in `text` (of `size` bytes) by what the daemon says, within half a second: that it does not run on this host, that
 * it runs and how many workers it has for `method` (NULL: it is Redis that does not answer). A text without the guess stays; so does
 * the guess when the daemon may not be asked, or does not answer either.
 */
void silence_explain(struct options *opts, const char *method, char *text, size_t size);

#endif
