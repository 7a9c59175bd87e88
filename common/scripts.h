/*
 * scripts.h: the Lua scripts by name. Their texts are compiled in (tools/embed-lua.sh expands the includes); Redis gets them when
 * it does not have them.
 *
 * Those that commit requests are *functions* of Redis, called by FCALL: what a script defines is made once, when its library is
 * loaded, and not by each call (tools/persist-lua.awk). Functions are kept with the data, so their names say which text they are:
 * claudebench_task_create_0123456789abcdef. The others, which run seldom or for clients, are called by EVALSHA. When Redis does not
 * take a library (no memory left, no right, no such command), all are called by EVALSHA for a while: the same texts, but slower.
 */
#ifndef CB_SCRIPTS_H
#define CB_SCRIPTS_H

#include "common/err.h"
#include "common/arena.h"
#include "common/redis_link.h"
#include "lua/scripts_enum.h"

#include <stddef.h>
#include <stdint.h>

struct script_source {
    const char *name;
    bool is_function;
    const char *flags; /* "", or those of the line "#!lua flags=…" */
    const char *text;  /* whole; of a function without its first and its last line */
};
extern const struct script_source script_sources[]; /* generated, in the order of enum script_id */

const char *scripts_name(enum script_id id);
/* The text for SCRIPT LOAD; put together once per process. */
const char *scripts_text(enum script_id id);
/* SHA-1 of that text, 40 hex digits; computed once per process. */
const char *scripts_sha(enum script_id id);

/* What the names of our functions and libraries begin with. */
#define SCRIPTS_LIBRARY_PREFIX "claudebench_"
/* The name of a function, which is that of its library, too; NULL for a script that is none. */
const char *scripts_function(enum script_id id);
/* Is this the name of a library of this program, of any version? */
bool scripts_is_library(const char *name);
/* …with the text that we have? */
bool scripts_has_library(const char *name);

/*
 * A script call that is put together piece by piece; the keys and arguments are borrowed until the
 * call is appended. Growable, reusable (script_call_reset), freed by script_call_done.
 */
struct script_call {
    enum script_id id;
    size_t nkeys; /* without the canary */
    size_t argc;
    size_t cap;
    const char **argv; /* EVALSHA sha, or FCALL function; numkeys keys… args… */
    size_t *lens;
    char numkeys[12];
    bool has_canary;
    bool is_function;  /* by FCALL */
    struct arena ints; /* the texts of script_call_arg_int */
};
void script_call_init(struct script_call *call, enum script_id id);
void script_call_reset(struct script_call *call, enum script_id id);
void script_call_done(struct script_call *call);
/* Keys first, then arguments (asserted). */
void script_call_key(struct script_call *call, const char *key);
void script_call_arg(struct script_call *call, const char *data, size_t len);
void script_call_arg_str(struct script_call *call, const char *s);
/* `n` is formatted into memory of the call's own (valid until reset). */
void script_call_arg_int(struct script_call *call, int64_t n);

/* Queues the call on the link; in a cluster with one key more, behind the others (redis_cluster.h). */
void scripts_append(struct redis_link *link, struct script_call *call);
/* Blocking; what Redis has forgotten is loaded and called again. As redis_link_call. */
int scripts_run(struct redis_link *link, struct script_call *call, reply_t **ret_reply,
                struct cb_error *err);
/*
 * Is a script's reply what its scripts give: an array of at least so many members? 0, or -1 with err->code REDIS_LOST: whatever
 * has said that is not the server that we know, and what it says next may answer anything.
 */
int scripts_check_reply(enum script_id id, const reply_t *reply, size_t members,
                        struct cb_error *err);
/* FUNCTION LOAD or SCRIPT LOAD (blocking); where Redis does not take the function, it is loaded as a script. */
int scripts_load(struct redis_link *link, enum script_id id, struct cb_error *err);

#endif
