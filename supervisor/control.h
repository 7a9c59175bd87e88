/*
 * control.h: the unix socket through which `claudebench status` and `claudebench ctl` talk to us.
 *
 * One JSON object a line in, one out: {"cmd":"ping"}, "status", and what `claudebench ctl` sends (control_commands.c). Peers are
 * checked by SO_PEERCRED: root, our user, or a member of our group. Slow, greedy and vanishing peers cost a bounded buffer.
 *
 * With "wait_ms" the answer of a command that changes the workers comes when they are as wanted, with "settled":true, or when
 * the time is over, with false.
 */
#ifndef CB_CONTROL_H
#define CB_CONTROL_H

#include "common/err.h"

struct control;
struct figures;
struct inherit;
struct supervisor;

/* Returns 0, or -1 with err->code an exit code. The path's folder must exist; an old socket is replaced, unless `in` has
 * ours, which goes on. */
int control_open(struct supervisor *s, const char *path, struct inherit *in, struct control **ret,
                 struct cb_error *err);
/* The socket is gone, as with the folder that it was in, and could not be made anew, which is tried every two seconds: why; "" =
 * nothing is wrong. Accepts NULL. */
const char *control_problem(const struct control *c);
/* The descriptors that an upgrade in place hands on. */
int control_fd(const struct control *c);
int control_lock_fd(const struct control *c);
/* Closes and removes the socket. Accepts NULL. */
void control_free(struct control *c);
/* The workers are as wanted: whoever waits for that is answered. Accepts NULL. */
void control_settled(struct control *c);
/* What a status needs from Redis is there, or will not come (figures.h). Accepts NULL. */
void control_figures_came(struct control *c, const struct figures *figures);

#endif
