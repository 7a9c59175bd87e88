/*
 * scripts.c: see scripts.h. Names, SHA-1s and texts that are put together are made at their first use and kept.
 *
 * Called by whoever runs a script: workers, the supervisor's sweep, the client's submit. Nothing here
 * decides about retries but those behind which a call has certainly not run: NOSCRIPT, and no right to call functions.
 */
#include "common/compat.h"
#include "common/scripts.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#include <sha1.h>

enum { FIXED_ARGS = 3, CALL_ROOM = 32 };
enum { FUNCTION_HASH = 16, FUNCTION_NAME = 64 };
/* So long functions are called as scripts when Redis did not take one: memory may come back any moment, rights and commands
 * are not given while somebody waits. */
enum { AS_SCRIPTS_MEMORY_MS = 60000, AS_SCRIPTS_RIGHTS_MS = 600000 };

static char shas[SCRIPT_COUNT + 1][SHA1_DIGEST_STRING_LENGTH];
static char functions[SCRIPT_COUNT + 1][FUNCTION_NAME];
static char *texts[SCRIPT_COUNT + 1];
static int64_t as_scripts_until; /* monotonic ms, or 0 */

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
    const struct script_source *s = source(id);

    if (!s->is_function)
        return s->text;
    if (!texts[id]) {
        struct buf b = BUF_INIT;
        buf_printf(&b, "#!lua%s%s\n", s->flags[0] ? " flags=" : "", s->flags);
        buf_puts(&b, s->text);
        buf_puts(&b, "return main(KEYS,ARGV)\n");
        texts[id] = buf_take(&b);
    }
    return texts[id];
}

const char *scripts_sha(enum script_id id)
{
    const char *text = scripts_text(id);
    if (shas[id][0] == '\0')
        SHA1Data((const uint8_t *)text, strlen(text), shas[id]);
    return shas[id];
}

const char *scripts_function(enum script_id id)
{
    if (!source(id)->is_function)
        return NULL;
    if (functions[id][0] == '\0') {
        int len = snprintf(functions[id], FUNCTION_NAME, SCRIPTS_LIBRARY_PREFIX "%s_%.*s",
                           scripts_name(id), FUNCTION_HASH, scripts_sha(id));
        cb_assert(len > 0 && len < FUNCTION_NAME);
    }
    return functions[id];
}

bool scripts_is_library(const char *name)
{
    size_t len = strlen(name), prefix = strlen(SCRIPTS_LIBRARY_PREFIX);

    return len > prefix + 1 + FUNCTION_HASH && strncmp(name, SCRIPTS_LIBRARY_PREFIX, prefix) == 0 &&
           name[len - FUNCTION_HASH - 1] == '_' &&
           strspn(name + len - FUNCTION_HASH, "0123456789abcdef") == FUNCTION_HASH;
}

bool scripts_has_library(const char *name)
{
    for (int id = 0; id < SCRIPT_COUNT; id++) {
        const char *function = scripts_function((enum script_id)id);
        if (function && strcmp(function, name) == 0)
            return true;
    }
    return false;
}

/* The text for FUNCTION LOAD. */
static void put_library(struct buf *out, enum script_id id)
{
    const char *name = scripts_function(id);

    buf_printf(out, "#!lua name=%s\n", name);
    buf_puts(out, source(id)->text);
    buf_printf(out, "redis.register_function{function_name='%s',callback=main,flags={", name);
    for (const char *flag = source(id)->flags; *flag; flag += *flag == ',') {
        size_t len = strcspn(flag, ",");
        buf_printf(out, "'%.*s',", (int)len, flag);
        flag += len;
    }
    buf_puts(out, "}}\n");
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

/* By FCALL, or by EVALSHA. */
static void call_begin(struct script_call *call, bool is_function)
{
    const char *what = is_function ? scripts_function(call->id) : scripts_sha(call->id);

    call->is_function = is_function;
    call->argc = 0;
    if (is_function)
        call_push(call, "FCALL", 5);
    else
        call_push(call, "EVALSHA", 7);
    call_push(call, what, strlen(what));
    call_push(call, "", 0); /* the number of keys, known at the end */
}

static bool is_called_as_function(enum script_id id)
{
    if (!source(id)->is_function)
        return false;
    if (as_scripts_until && clock_mono_ms() >= as_scripts_until)
        as_scripts_until = 0;
    return !as_scripts_until;
}

/* Redis does not take the function, because of `why`. The call is complete: its keys and arguments stay. */
static void call_become_script(struct script_call *call, const struct cb_error *why)
{
    size_t argc = call->argc;

    if (!as_scripts_until)
        log_event(EV_functions_refused, LOG_S("function", scripts_function(call->id)),
                  LOG_S("error", why->text));
    as_scripts_until = clock_mono_ms() +
                       (why->code == REDIS_OOM ? AS_SCRIPTS_MEMORY_MS : AS_SCRIPTS_RIGHTS_MS);
    call_begin(call, false);
    call->argv[2] = call->numkeys;
    call->lens[2] = strlen(call->numkeys);
    call->argc = argc;
}

void script_call_reset(struct script_call *call, enum script_id id)
{
    arena_reset(&call->ints);
    call->id = id;
    call->nkeys = 0;
    call->has_canary = false;
    call->numkeys[0] = '\0';
    call_begin(call, is_called_as_function(id));
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

static int load_script(struct redis_link *link, enum script_id id, struct cb_error *err)
{
    CB_CLEANUP(reply_free_ptr) reply_t *reply = NULL;
    if (redis_link_callv(link, &reply, err, "SCRIPT", "LOAD", scripts_text(id), NULL) < 0)
        return cb_error_prefix(err, "script %s", scripts_name(id));
    if (strcmp(reply_str(reply), scripts_sha(id)) != 0)
        return cb_error_set(err, REDIS_ERROR, "script %s: Redis names it %.60s, not %s",
                            scripts_name(id), reply_str(reply), scripts_sha(id));
    return 0;
}

/* REPLACE, because two who miss it may load it at the same time. */
static int load_function(struct redis_link *link, enum script_id id, struct cb_error *err)
{
    CB_CLEANUP(reply_free_ptr) reply_t *reply = NULL;
    CB_CLEANUP(buf_done) struct buf library = BUF_INIT;
    put_library(&library, id);
    if (redis_link_callv(link, &reply, err, "FUNCTION", "LOAD", "REPLACE", buf_peek(&library),
                         NULL) < 0)
        return cb_error_prefix(err, "function %s", scripts_name(id));
    if (strcmp(reply_str(reply), scripts_function(id)) != 0)
        return cb_error_set(err, REDIS_ERROR, "function %s: Redis names it %.60s", scripts_name(id),
                            reply_str(reply));
    return 0;
}

/* Will Redis not take this function, while it may well take the script? A script may be loaded when memory is full; there may
 * be no right to functions, no such command, or a Redis with ideas of its own. Other faults are weather. */
static bool is_refused(const struct cb_error *err)
{
    return err->code == REDIS_OOM || err->code == REDIS_AUTH || err->code == REDIS_ERROR;
}

/* What the call needs; may make another call of it. */
static int call_load(struct script_call *call, struct redis_link *link, struct cb_error *err)
{
    struct cb_error why = {0};

    if (call->is_function) {
        if (load_function(link, call->id, &why) == 0)
            return 0;
        if (!is_refused(&why)) {
            if (err)
                *err = why;
            return -1;
        }
        call_become_script(call, &why);
    }
    return load_script(link, call->id, err);
}

int scripts_load(struct redis_link *link, enum script_id id, struct cb_error *err)
{
    struct script_call call;
    script_call_init(&call, id);
    int rc = call_load(&call, link, err);
    script_call_done(&call);
    return rc;
}

static int call_once(struct redis_link *link, struct script_call *call, reply_t **ret_reply,
                     struct cb_error *why)
{
    return redis_link_call(link, ret_reply, why, (int)call->argc, call->argv, call->lens);
}

int scripts_run(struct redis_link *link, struct script_call *call, reply_t **ret_reply,
                struct cb_error *err)
{
    struct cb_error why = {0};
    call_finish(call, link);
    int rc = call_once(link, call, ret_reply, &why);
    if (rc < 0 && call->is_function && why.code == REDIS_AUTH) { /* it has not run */
        call_become_script(call, &why);
        rc = call_once(link, call, ret_reply, &why);
    }
    for (int tries = 0; rc < 0 && why.code == REDIS_NOSCRIPT && tries < 2; tries++) {
        if (tries > 0 && call->is_function) /* loaded, and still not there */
            call_become_script(call, &why);
        if (call_load(call, link, err) < 0)
            return -1;
        rc = call_once(link, call, ret_reply, &why);
    }
    if (rc < 0 && err)
        *err = why;
    return rc;
}
