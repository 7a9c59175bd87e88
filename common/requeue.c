/*
 * requeue.c: see requeue.h.
 */
#include "common/compat.h"
#include "common/requeue.h"

#include "common/keys.h"

/* Then a request is given up, so that it takes down no more workers. */
enum { CRASHES_MAX = 3, REDELIVERIES_MAX = 10 };

void requeue_put(struct script_call *call, struct arena *arena, const struct options *opts,
                 const struct requeue *what)
{
    const char *prefix = opts->redis.prefix;

    script_call_key(call, what->stream);
    script_call_key(call, keys_make(arena, prefix, KEY_DEAD));
    script_call_arg_str(call, arena_printf(arena, "%s:", prefix));
    script_call_arg_str(call, what->consumer);
    script_call_arg_int(call, REQUEUE_LIMIT);
    script_call_arg_str(call, what->entry);
    script_call_arg_str(call, what->how);
    script_call_arg_int(call, opts->limits.dead_entries);
    script_call_arg_int(call, opts->limits.dead_bytes);
    script_call_arg_int(call, CRASHES_MAX);
    script_call_arg_int(call, REDELIVERIES_MAX);
}
