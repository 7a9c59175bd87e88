/*
 * restore_copy.c: see restore.h. Page by page: DUMP and PEXPIRETIME there, RESTORE here, all of a page in one write each. A copy that was
 * broken off is begun again: it replaces what it finds, and as long as cb:meta is not there, nobody has worked on it.
 */
#include "common/compat.h"
#include "client/restore.h"

#include "common/exitcode.h"
#include "common/keys.h"
#include "common/mem.h"

enum { WAIT_MS = 60000, REPLICAS_MS = 60000, GONE = -2 /* of PEXPIRETIME: there is no such key */ };

static int lost(struct cb_error *err, const char *what)
{
    if (err)
        err->code = err->code == REDIS_CROSSSLOT ? EXITCODE_CONFIG : EXITCODE_UNAVAILABLE;
    return cb_error_prefix(err, "%s", what);
}

int restore_copy_check_slot(struct redis_link *to, const char *prefix, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;

    /* A Cluster looks at that before anything else: CROSSSLOT. By chance two may have the same slot. */
    if (redis_link_callv(to, NULL, err, "EXISTS", keys_make(&a, prefix, KEY_META),
                         keys_make(&a, prefix, KEY_CLOCK), keys_make(&a, prefix, KEY_COUNTS),
                         keys_make(&a, prefix, KEY_INSTANCES_ACTIVE), NULL) != 0)
        return lost(err, "the server to restore to");
    return 0;
}

int restore_copy_check(struct redis_link *to, const char *prefix, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;

    if (redis_link_callv(to, &reply, err, "EXISTS", keys_make(&a, prefix, KEY_META), NULL) != 0)
        return lost(err, "the server to restore to");
    if (reply_int(reply) == 0)
        return 0;
    return cb_error_set(
        err, EXITCODE_CONFLICT,
        "there are data under prefix %s on this Redis; restore deletes nothing on a "
        "server that is not its own, with or without --force: stop the daemons and "
        "delete them, or take an empty server",
        prefix);
}

/* One key: two replies of the private server, and the command for the other. A key that has expired meanwhile, be it between the
 * two, is passed over; one that cannot be read is not. */
static int take_key(struct redis_link *from, struct redis_link *to, const char *key, size_t len,
                    size_t *sent, struct cb_error *err)
{
    reply_t *value CB_CLEANUP(reply_free_ptr) = NULL, *until CB_CLEANUP(reply_free_ptr) = NULL;
    char number[24];
    int64_t until_ms;

    if (redis_link_read(from, WAIT_MS, &value, err) != 0 ||
        redis_link_read(from, WAIT_MS, &until, err) != 0)
        return cb_error_prefix(err, "%.*s (a key of at most 64 MiB can be copied)", (int)len, key);
    bool has_value = reply_type(value) == REPLY_STRING || reply_type(value) == REPLY_NIL;
    if (!has_value || reply_type(until) != REPLY_INT) {
        const reply_t *odd = has_value ? until : value;
        cb_error_set(err, EXITCODE_UNAVAILABLE, "%s",
                     reply_is_error(odd) ? reply_str(odd) : "no answer to DUMP and PEXPIRETIME");
        return cb_error_prefix(err, "%.*s", (int)len, key);
    }
    if (reply_type(value) == REPLY_NIL || reply_int(until) == GONE)
        return 0;
    until_ms = reply_int(until) > 0 ? reply_int(until) : 0;
    snprintf(number, sizeof number, "%" PRId64, until_ms);
    const char *argv[] = {"RESTORE", key, number, reply_str(value), "REPLACE", "ABSTTL"};
    const size_t lens[] = {7, len, strlen(number), reply_bytes(value), 7, 6};
    redis_link_append(to, 6, argv, lens);
    (*sent)++;
    return 0;
}

static int await_page(struct redis_link *to, size_t sent, struct cb_error *err)
{
    for (; sent > 0; sent--) {
        reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
        if (redis_link_read(to, WAIT_MS, &reply, err) != 0)
            return lost(err, "RESTORE");
        if (reply_is_error(reply) && reply_error(reply, err) != 0)
            return lost(err, reply_fault(reply) == REDIS_AUTH
                                 ? "RESTORE (its user needs +restore on all keys of the prefix)"
                                 : "RESTORE");
    }
    return 0;
}

static int copy_page(struct redis_link *from, struct redis_link *to, const reply_t *keys,
                     const char *but, struct cb_error *err)
{
    size_t sent = 0;

    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < reply_count(keys); i++) {
            const char *key = reply_str(reply_at(keys, i));
            size_t len = reply_bytes(reply_at(keys, i));
            const char *dump[] = {"DUMP", key}, *until[] = {"PEXPIRETIME", key};
            const size_t dump_lens[] = {4, len}, until_lens[] = {11, len};
            if (but && strcmp(key, but) == 0)
                continue;
            if (pass == 0) {
                redis_link_append(from, 2, dump, dump_lens);
                redis_link_append(from, 2, until, until_lens);
            } else if (take_key(from, to, key, len, &sent, err) != 0) {
                return lost(err, "the private redis-server");
            }
        }
    }
    return await_page(to, sent, err);
}

static int copy_meta(struct redis_link *from, struct redis_link *to, const char *meta,
                     struct cb_error *err)
{
    size_t sent = 0;

    redis_link_appendv(from, "DUMP", meta, NULL);
    redis_link_appendv(from, "PEXPIRETIME", meta, NULL);
    if (take_key(from, to, meta, strlen(meta), &sent, err) != 0)
        return lost(err, "the private redis-server");
    if (sent == 0)
        return cb_error_set(err, EXITCODE_UNAVAILABLE, "the private redis-server has lost %s",
                            meta);
    return await_page(to, sent, err);
}

int64_t restore_copy_replicas(struct redis_link *to)
{
    reply_t *role CB_CLEANUP(reply_free_ptr) = NULL;

    return redis_link_callv(to, &role, NULL, "ROLE", NULL) == 0
               ? (int64_t)reply_count(reply_at(role, 2))
               : 0;
}

int restore_copy_await(struct redis_link *to, int64_t replicas, struct cb_error *err)
{
    reply_t *got CB_CLEANUP(reply_free_ptr) = NULL;
    char count[24], ms[16];

    if (replicas == 0)
        return 0;
    snprintf(count, sizeof count, "%" PRId64, replicas);
    snprintf(ms, sizeof ms, "%d", REPLICAS_MS);
    redis_link_appendv(to, "WAIT", count, ms, NULL);
    if (redis_link_read(to, WAIT_MS + REPLICAS_MS, &got, err) != 0)
        return lost(err, "WAIT");
    if (reply_is_error(got) && reply_error(got, err) != 0)
        return reply_fault(got) == REDIS_AUTH ? 0 : lost(err, "WAIT");
    if (reply_type(got) == REPLY_INT && reply_int(got) >= replicas)
        return 0;
    return cb_error_set(err, EXITCODE_TEMPFAIL,
                        "%" PRId64 " of the %" PRId64 " replicas that this master had have all",
                        reply_int(got), replicas);
}

static int broken_off(struct cb_error *err)
{
    return cb_error_prefix(err,
                           "the copy is not whole, run restore again before a daemon is started");
}

static int copy_all(struct redis_link *from, struct redis_link *to, const char *meta, int64_t keys,
                    struct progress *progress, struct cb_error *err)
{
    char cursor[24] = "0", note[48];
    int64_t done = 0;

    do {
        reply_t *page CB_CLEANUP(reply_free_ptr) = NULL;
        if (redis_link_callv(from, &page, err, "SCAN", cursor, "COUNT", "100", NULL) != 0)
            return lost(err, "the private redis-server");
        if (copy_page(from, to, reply_at(page, 1), meta, err) != 0)
            return -1;
        done += (int64_t)reply_count(reply_at(page, 1));
        snprintf(note, sizeof note, "%" PRId64 " keys", done);
        progress_update(progress, done, keys, note);
        snprintf(cursor, sizeof cursor, "%s", reply_str(reply_at(page, 0)));
    } while (strcmp(cursor, "0") != 0);
    return 0;
}

int restore_copy(struct redis_link *from, struct redis_link *to, const char *prefix, int64_t keys,
                 struct progress *progress, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    const char *meta = keys_make(&a, prefix, KEY_META);
    struct cb_error why = {0};

    if (copy_all(from, to, meta, keys, progress, err) != 0)
        return broken_off(err);
    if (restore_copy_check(to, prefix, &why) != 0) {
        if (err)
            *err = why;
        return why.code == EXITCODE_CONFLICT
                   ? cb_error_prefix(err, "a daemon was started meanwhile")
                   : broken_off(err);
    }
    if (copy_meta(from, to, meta, err) != 0)
        return cb_error_prefix(
            err,
            "the last key, %s, may not have arrived: run restore again, which refuses if it has",
            meta);
    return 0;
}
