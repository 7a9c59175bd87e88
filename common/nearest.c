/*
 * nearest.c: see nearest.h. Wagner-Fischer, with swaps.
 */
#include "common/compat.h"
#include "common/nearest.h"

enum { WORD_MAX = 64 };

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Distance in insertions, deletions, replacements, and swaps of neighbours ("optimal string alignment"). */
static size_t edit_distance(const char *a, size_t alen, const char *b, size_t blen)
{
    unsigned char d[WORD_MAX + 1][WORD_MAX + 1];

    for (size_t i = 0; i <= alen; i++)
        d[i][0] = (unsigned char)i;
    for (size_t j = 0; j <= blen; j++)
        d[0][j] = (unsigned char)j;
    for (size_t i = 1; i <= alen; i++)
        for (size_t j = 1; j <= blen; j++) {
            size_t best = min3(d[i - 1][j] + 1U, d[i][j - 1] + 1U,
                               d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = min3(best, d[i - 2][j - 2] + 1U, best);
            d[i][j] = (unsigned char)best;
        }
    return d[alen][blen];
}

const char *nearest_name(const char *word, nearest_name_fn *candidates, const void *arg)
{
    size_t len = strlen(word);
    size_t limit = len / 3 < 1 ? 1 : len / 3 > 3 ? 3 : len / 3;
    size_t best = limit + 1;
    const char *found = NULL;
    const char *name;

    if (len > WORD_MAX)
        return NULL;
    for (size_t i = 0; (name = candidates(i, arg)); i++) {
        size_t name_len = strlen(name);
        if (name_len > WORD_MAX)
            continue;
        size_t d = edit_distance(word, len, name, name_len);
        if (d < best) {
            best = d;
            found = name;
        }
    }
    return found;
}
