/*
 * admission.h: circuit breaker and rate limit of a method, as the worker hands them to the scripts that keep them
 * (lua/include/gate.lua). Nearly all requests are admitted inside their commit. One whose work is done outside of Redis asks
 * before that work begins (lua/gate_enter.lua), and its commit tells how it went.
 */
#ifndef CB_WORKER_ADMISSION_H
#define CB_WORKER_ADMISSION_H

#include "worker/request.h"
#include "worker/session.h"

/* How many arguments the gate of this method has; 0 when it has neither. */
size_t admission_count(const struct options *opts, const struct handler *handler);
/* Puts them behind the others, for a group. */
void admission_put_args(struct script_call *call, const struct options *opts,
                        const struct handler *handler, struct request *const *requests, size_t len,
                        struct arena *arena);
/*
 * Does the work of a request whose handler has some, if it is admitted; else r->refused is set. Returns 0, or -1 when Redis
 * could not be asked: then nothing was done.
 */
int admission_work(struct request *r, const struct handler_context *ctx, struct arena *arena,
                   struct session *session, struct cb_error *err);

#endif
