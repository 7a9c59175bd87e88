/*
 * scripts.h: the Lua scripts by name. Their texts are compiled in (tools/embed-lua.sh expands the
 * includes); Redis is called by SHA-1 and gets the text again when it has forgotten it (NOSCRIPT).
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
    const char *text;
};
extern const struct script_source script_sources[]; /* generated, in the order of enum script_id */

const char *scripts_name(enum script_id id);
const char *scripts_text(enum script_id id);
/* SHA-1 of the text, 40 hex digits; computed once per process. */
const char *scripts_sha(enum script_id id);

/*
 * A script call that is put together piece by piece; the keys and arguments are borrowed until the
 * call is appended. Growable, reusable (script_call_reset), freed by script_call_done.
 */
struct script_call {
    enum script_id id;
    size_t nkeys; /* without the canary */
    size_t argc;
    size_t cap;
    const char **argv; /* EVALSHA sha numkeys keys… args… */
    size_t *lens;
    char numkeys[12];
    bool has_canary;
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

/* Queues EVALSHA on the link; in a cluster with one key more, behind the others (redis_cluster.h). */
void scripts_append(struct redis_link *link, struct script_call *call);
/* Blocking: EVALSHA, and after NOSCRIPT: SCRIPT LOAD and EVALSHA again. As redis_link_call. */
int scripts_run(struct redis_link *link, struct script_call *call, reply_t **ret_reply,
                struct cb_error *err);
/*
 * Is a script's reply what its scripts give: an array of at least so many members? 0, or -1 with err->code REDIS_LOST: whatever
 * has said that is not the server that we know, and what it says next may answer anything.
 */
int scripts_check_reply(enum script_id id, const reply_t *reply, size_t members,
                        struct cb_error *err);
/* SCRIPT LOAD of one script (blocking). */
int scripts_load(struct redis_link *link, enum script_id id, struct cb_error *err);

#endif
