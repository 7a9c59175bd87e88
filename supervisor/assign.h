/*
 * assign.h: the leader's duty to give tasks to instances (task.assignment push and hybrid).
 *
 * While this daemon leads, lua/assign_pending.lua is called until there is nothing to give or nobody to take it. Then, with
 * push, the leader waits to be woken by the script that creates a task or ends one; with hybrid for the next look,
 * cluster.tick_ms later. The wait takes a connection of its own, which is made at the first need.
 */
#ifndef CB_ASSIGN_H
#define CB_ASSIGN_H

#include "common/options.h"
#include "supervisor/instance.h"
#include "supervisor/redis_conn.h"

struct assign;

/* All that is handed in is borrowed; `instance` says whether this daemon leads. */
struct assign *assign_new(struct event_base *base, const struct options *opts,
                          const struct redis_target *target, struct redis_conn *conn,
                          const struct instance *instance);
void assign_free(struct assign *a); /* accepts NULL */
/* Leadership or the connection may have changed. */
void assign_update(struct assign *a);
/* The options in force have changed. */
void assign_options_changed(struct assign *a);

#endif
