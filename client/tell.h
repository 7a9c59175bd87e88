/*
 * tell.h: a job of `claudebench work` speaks to the `work` that runs it (work_tell.c listens).
 *
 * The lease's token stays with `work`: a job says who it is by task and attempt, over a socket in the abstract namespace whose
 * name is in its environment, and `work` takes only what processes of its own user say about attempts that it runs. When `work`
 * has died anybody may bind its name, which anybody can read, while the job still runs: so the name says whose it is, and the
 * job asks the kernel whether that is who listens. A job needs neither the token nor Redis nor a configuration. One connection carries one message, a JSON object that ends with the
 * half-close, and gets one line: an exit code, a space, and a text: for 0 the result as JSON, else what is wrong.
 */
#ifndef CB_TELL_H
#define CB_TELL_H

#include "common/buf.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#define TELL_ENV_ID      "CLAUDEBENCH_TASK_ID"
#define TELL_ENV_ATTEMPT "CLAUDEBENCH_ATTEMPT"
#define TELL_ENV_SOCKET  "CLAUDEBENCH_WORK_SOCKET"
/* Then the uid of `work`, its pid and a random part. */
#define TELL_NAME_PREFIX "claudebench-work-"
/* Not a job's: the token of a script that holds a lease itself. */
#define LEASE_TOKEN_ENV "CLAUDEBENCH_LEASE_TOKEN"

/* The address of a name as in TELL_ENV_SOCKET; false when it is too long. */
bool tell_address(const char *name, struct sockaddr_un *ret, socklen_t *ret_len);
/* Is this process a job of `work`, and `id` its task? */
bool tell_is_own_task(const char *id);
/* "{" and the members that say which attempt speaks. For a job only. */
void tell_put_attempt(struct buf *message);
/* Says it to `work`. Returns the exit code; `reply` is the result or what is wrong. */
int tell_work(const struct buf *message, struct buf *reply);

#endif
