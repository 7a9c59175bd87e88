/*
 * mdoc.h: text of our tables in a manual page (the generated parts of man/).
 */
#ifndef CB_MDOC_H
#define CB_MDOC_H

#include "common/buf.h"

/* Appends the text, a sentence on each line, so that none of it is taken for a request of mdoc(7). */
void mdoc_put_text(struct buf *out, const char *text);

#endif
