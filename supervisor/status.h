/*
 * status.h: the answer to `status` on the control socket.
 */
#ifndef CB_STATUS_H
#define CB_STATUS_H

#include "common/buf.h"

struct supervisor;

/* Appends one JSON object, without a newline. */
void status_put(struct supervisor *s, struct buf *out);

#endif
