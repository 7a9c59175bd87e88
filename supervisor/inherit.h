/*
 * inherit.h: what an earlier program leaves to the one that it has executed in its own place (upgrade.c): descriptors, and
 * a document that says which they are and which workers there are. The process, its children and its pid stay the same.
 *
 * Everything accepts NULL: nothing was inherited.
 */
#ifndef CB_INHERIT_H
#define CB_INHERIT_H

#include "common/options.h"
#include "supervisor/jsonc.h"

struct inherit;

/* Environment: the descriptor of the document; and, when a program is only asked whether it could take over, the
 * versions of what it would have to understand. */
#define INHERIT_ENV       "CLAUDEBENCHD_INHERIT"
#define INHERIT_CHECK_ENV "CLAUDEBENCHD_INHERIT_CHECK"

/* Of the document, the scoreboard and the control messages, in one word. */
const char *inherit_versions(void);
/* Under INHERIT_CHECK_ENV: 0 when what it asks for is what we understand, else -1. Without it 0. */
int inherit_check(struct cb_error *err);

/* Takes what was inherited, and out of the environment. *ret is NULL when there is nothing. Returns 0 or -1. */
int inherit_open(struct inherit **ret, struct cb_error *err);
void inherit_free(struct inherit *in); /* descriptors that nobody took are closed */

/* A descriptor, which then belongs to the caller, close-on-exec; -1 when there is none. */
int inherit_take_fd(struct inherit *in, const char *name);
int64_t inherit_int(const struct inherit *in, const char *name, int64_t fallback);
const char *inherit_string(const struct inherit *in, const char *name, const char *fallback);
/* The workers: an array; NULL when nothing was inherited. Borrowed. */
json_object *inherit_workers(const struct inherit *in);
/* A worker's member. */
int64_t inherit_worker_int(json_object *worker, const char *name);
/* A worker's control socket, which then belongs to the caller. */
int inherit_take_worker_fd(json_object *worker);
/* The options that were in force; the caller frees. NULL when nothing was inherited. */
struct options *inherit_options(const struct inherit *in);

#endif
