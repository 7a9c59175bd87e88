/*
 * todo_sweep.h: every minute, the tasks of agents' lists of which nothing has been heard for a day are cancelled
 * (hook.todo_write, lua/hook_todo_expire.lua). Each daemon does it: it is idempotent, and needs no leader.
 */
#ifndef CB_TODO_SWEEP_H
#define CB_TODO_SWEEP_H

#include "common/options.h"
#include "supervisor/redis_conn.h"

struct todo_sweep;

/* All arguments are borrowed. */
struct todo_sweep *todo_sweep_new(struct event_base *base, const struct options *opts,
                                  struct redis_conn *conn);
void todo_sweep_free(struct todo_sweep *t); /* accepts NULL */

#endif
