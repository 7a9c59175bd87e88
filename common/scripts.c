/*
 * scripts.c: see scripts.h. The SHA-1s are computed at the first use of any of them and kept.
 *
 * Called by whoever runs a script: workers, the supervisor's sweep, the client's submit. Nothing here
 * decides about retries but NOSCRIPT, after which the call has certainly not run.
 */
#include "common/compat.h"
#include "common/scripts.h"

#include "common/mem.h"

#include <sha1.h>

enum { FIXED_ARGS = 3, CALL_ROOM = 32 };

static char shas[SCRIPT_COUNT + 1][SHA1_DIGEST_STRING_LENGTH];

static const struct script_source *source(enum script_id id)
{
    cb_assert((unsigned)id < (unsigned)SCRIPT_COUNT);
    return &script_sources[id];
}

const char *scripts_name(enum script_id id)
{
    return source(id)->name;
}

const char *scripts_text(enum script_id id)
{
    return source(id)->text;
}

const char *scripts_sha(enum script_id id)
{
    const char *text = source(id)->text;
    if (shas[id][0] == '\0')
        SHA1Data((const uint8_t *)text, strlen(text), shas[id]);
    return shas[id];
}

/* ---- a call ---- */

static void call_push(struct script_call *call, const char *data, size_t len)
{
    if (call->argc == call->cap) {
        call->cap = call->cap ? call->cap * 2 : CALL_ROOM;
        call->argv = mem_realloc(call->argv, call->cap * sizeof *call->argv);
        call->lens = mem_realloc(call->lens, call->cap * sizeof *call->lens);
    }
    call->argv[call->argc] = data;
    call->lens[call->argc] = len;
    call->argc++;
}

void script_call_init(struct script_call *call, enum script_id id)
{
    *call = (struct script_call){.ints = ARENA_INIT};
    script_call_reset(call, id);
}

void script_call_reset(struct script_call *call, enum script_id id)
{
    const char *sha = scripts_sha(id);
    arena_reset(&call->ints);
    call->id = id;
    call->nkeys = 0;
    call->has_canary = false;
    call->argc = 0;
    call_push(call, "EVALSHA", 7);
    call_push(call, sha, strlen(sha));
    call_push(call, "", 0); /* the number of keys, known at the end */
}

void script_call_done(struct script_call *call)
{
    free(call->argv);
    free(call->lens);
    arena_done(&call->ints);
    *call = (struct script_call){.ints = ARENA_INIT};
}

void script_call_key(struct script_call *call, const char *key)
{
    cb_assert(call->argc == FIXED_ARGS + call->nkeys);
    call_push(call, key, strlen(key));
    call->nkeys++;
}

void script_call_arg(struct script_call *call, const char *data, size_t len)
{
    call_push(call, data, len);
}

void script_call_arg_str(struct script_call *call, const char *s)
{
    call_push(call, s, strlen(s));
}

void script_call_arg_int(struct script_call *call, int64_t n)
{
    const char *text = arena_int(&call->ints, n);
    call_push(call, text, strlen(text));
}

/* Puts the canary behind the keys. A call that is repeated has it already. */
static void call_add_canary(struct script_call *call, const char *canary)
{
    size_t at = FIXED_ARGS + call->nkeys;

    call_push(call, "", 0);
    size_t behind = call->argc - 1 - at;
    memmove(&call->argv[at + 1], &call->argv[at], behind * sizeof *call->argv);
    memmove(&call->lens[at + 1], &call->lens[at], behind * sizeof *call->lens);
    call->argv[at] = canary;
    call->lens[at] = strlen(canary);
    call->has_canary = true;
}

/* Only now, so that a call may be moved while it is put together. */
static void call_finish(struct script_call *call, const struct redis_link *link)
{
    const char *canary = redis_link_canary(link);

    if (canary && !call->has_canary)
        call_add_canary(call, canary);
    int len = snprintf(call->numkeys, sizeof call->numkeys, "%zu", call->nkeys + call->has_canary);
    cb_assert(call->argc <= INT_MAX);
    call->argv[2] = call->numkeys;
    call->lens[2] = (size_t)len;
}

/* ---- running ---- */

void scripts_append(struct redis_link *link, struct script_call *call)
{
    call_finish(call, link);
    redis_link_append(link, (int)call->argc, call->argv, call->lens);
}

int scripts_check_reply(enum script_id id, const reply_t *reply, size_t members,
                        struct cb_error *err)
{
    if (reply_type(reply) == REPLY_ARRAY && reply_count(reply) >= members)
        return 0;
    return cb_error_set(err, REDIS_LOST, "unexpected reply to the script %s", scripts_name(id));
}

int scripts_load(struct redis_link *link, enum script_id id, struct cb_error *err)
{
    CB_CLEANUP(reply_free_ptr) reply_t *reply = NULL;
    if (redis_link_callv(link, &reply, err, "SCRIPT", "LOAD", scripts_text(id), NULL) < 0)
        return cb_error_prefix(err, "script %s", scripts_name(id));
    if (strcmp(reply_str(reply), scripts_sha(id)) != 0)
        return cb_error_set(err, REDIS_ERROR, "script %s: Redis names it %.60s, not %s",
                            scripts_name(id), reply_str(reply), scripts_sha(id));
    return 0;
}

int scripts_run(struct redis_link *link, struct script_call *call, reply_t **ret_reply,
                struct cb_error *err)
{
    struct cb_error why = {0};
    call_finish(call, link);
    int argc = (int)call->argc;
    int rc = redis_link_call(link, ret_reply, &why, argc, call->argv, call->lens);
    if (rc < 0 && why.code == REDIS_NOSCRIPT) {
        if (scripts_load(link, call->id, err) < 0)
            return -1;
        rc = redis_link_call(link, ret_reply, &why, argc, call->argv, call->lens);
    }
    if (rc < 0 && err)
        *err = why;
    return rc;
}
