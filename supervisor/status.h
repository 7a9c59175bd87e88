/*
 * status.h: the answer to `status` on the control socket.
 */
#ifndef CB_STATUS_H
#define CB_STATUS_H

struct json_object;
struct supervisor;

/* The caller puts it. */
struct json_object *status_object(struct supervisor *s);

#endif
