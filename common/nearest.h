/*
 * nearest.h: "did you mean …?" for commands, options, methods and fields.
 */
#ifndef CB_NEAREST_H
#define CB_NEAREST_H

#include <stddef.h>

/* The i-th candidate, NULL behind the last. */
typedef const char *nearest_name_fn(size_t i, const void *arg);

/* The candidate with the smallest edit distance (a swap of neighbours counts once), if that is at most a third of the
 * word's length (at least 1, at most 3); else NULL. Words over 64 bytes have no neighbours. */
const char *nearest_name(const char *word, nearest_name_fn *candidates, const void *arg);

#endif
