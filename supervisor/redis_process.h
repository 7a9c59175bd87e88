/*
 * redis_process.h: finds and starts redis-server, and passes on what it writes.
 */
#ifndef CB_REDIS_PROCESS_H
#define CB_REDIS_PROCESS_H

#include "supervisor/redis_dir.h"

#include <event2/event.h>

/* Looks for redis-server, then valkey-server, in PATH. The caller frees *ret. 0, or -1
 * (EXITCODE_UNAVAILABLE, with the package that has it). */
int redis_process_find(char **ret, struct cb_error *err);

struct redis_process_plan {
    const char *binary;
    const struct options *opts;
    const struct redis_dir *dir;
    int lock_fd; /* inherited by the server */
};

/* Starts it with its configuration on stdin. Returns the pid and in *ret_output the reading end of its
 * stdout and stderr (not blocking, close-on-exec), or -1. */
pid_t redis_process_start(const struct redis_process_plan *plan, int *ret_output,
                          struct cb_error *err);

/* Logs each line that comes out of `fd`, which it takes over. */
struct redis_output;
struct redis_output *redis_output_new(struct event_base *base, int fd);
/* Logs what is there now. Accepts NULL. */
void redis_output_drain(struct redis_output *o);
void redis_output_free(struct redis_output *o); /* accepts NULL */

#endif
