/*
 * keeper.c: see keeper.h.
 */
#include "common/compat.h"
#include "archive/keeper.h"

#include "common/clock.h"
#include "common/keys.h"
#include "common/log.h"

enum {
    TRY_MS = 5000,
    AUDIT_MS = 2000,
    EXPIRE_MS = 3600000,
    EXPIRE_AGAIN_MS = 1000, /* while there is more to remove: the archive comes first */
    EXPIRE_ROWS = 5000,
    AUDIT_ENTRIES = 500,
    AUDIT_BYTES = 1024 * 1024,
    REPLY_ADDED = 0, /* positions in audit_read's reply */
    REPLY_LENGTH = 1,
    REPLY_LAST = 2,
    REPLY_IS_ALL = 3,
    REPLY_ENTRIES = 4
};

void keeper_init(struct keeper *k, struct source *source, struct pg *pg, struct store *store)
{
    *k = (struct keeper){.source = source, .pg = pg, .store = store};
    batch_init(&k->batch);
}

void keeper_done(struct keeper *k)
{
    batch_done(&k->batch);
}

void keeper_reset(struct keeper *k)
{
    k->is_keeper = false;
    k->try_at_ms = k->audit_at_ms = 0;
}

/* ---- the lock ---- */

static int try_lock(struct keeper *k, struct cb_error *err)
{
    const char *values[] = {k->source->generation};
    PGresult *lock CB_CLEANUP(pg_result_free) = NULL;
    PGresult *place CB_CLEANUP(pg_result_free) = NULL;

    k->try_at_ms = clock_mono_ms() + TRY_MS;
    if (pg_query(k->pg, "SELECT pg_try_advisory_lock(hashtext('claudebench.keeper'), hashtext($1))",
                 1, values, &lock, err) != 0)
        return -1;
    if (strcmp(PQgetvalue(lock, 0, 0), "t") != 0)
        return 0;
    if (pg_query(k->pg,
                 "SELECT audit_upto, audit_entries FROM claudebench.generation "
                 "WHERE generation = $1",
                 1, values, &place, err) != 0)
        return -1;
    bool is_known = PQntuples(place) > 0;
    snprintf(k->audit_upto, sizeof k->audit_upto, "%s", is_known ? PQgetvalue(place, 0, 0) : "0-0");
    k->audit_entries = is_known ? strtoll(PQgetvalue(place, 0, 1), NULL, 10) : 0;
    k->is_keeper = true;
    log_event(EV_archive_keeper, LOG_S("generation", k->source->generation));
    return 0;
}

/* ---- the audit trail ---- */

static int read_audit(struct keeper *k, reply_t **ret, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    struct script_call call;

    script_call_init(&call, SCRIPT_AUDIT_READ);
    script_call_key(&call, keys_make(&a, k->source->opts->redis.prefix, KEY_AUDIT));
    script_call_arg_str(&call, k->audit_upto);
    script_call_arg_int(&call, AUDIT_ENTRIES);
    script_call_arg_int(&call, AUDIT_BYTES);
    int status = scripts_run(k->source->link, &call, ret, err);
    script_call_done(&call);
    return status;
}

/* Records that left the stream before they were read: the stream has had more than it has and we have. */
static void look_for_gap(const struct keeper *k, const reply_t *reply)
{
    int64_t added = reply_int(reply_at(reply, REPLY_ADDED));
    int64_t gone = added - reply_int(reply_at(reply, REPLY_LENGTH));

    if (added >= k->audit_entries && gone > k->audit_entries)
        log_event(EV_archive_audit_gap, LOG_I("lost", gone - k->audit_entries),
                  LOG_S("after", k->audit_upto));
}

/* One record that PostgreSQL does not take must not keep the others. */
static int write_singly(struct keeper *k, const reply_t *entries, const struct store_place *place,
                        struct cb_error *err)
{
    struct store_place one = *place;

    for (size_t i = 0; i < reply_count(entries); i++) {
        batch_reset(&k->batch);
        snprintf(one.audit_upto, sizeof one.audit_upto, "%s",
                 reply_str(reply_at(reply_at(entries, i), 0)));
        if (!record_audit(&k->batch, reply_at(entries, i)) ||
            store_write(k->store, &k->batch, &one, err) == 0)
            continue;
        if (err->code != PG_DATA)
            return -1;
        atomic_fetch_add_explicit(&k->source->sup->slot->archive_refused, 1, memory_order_relaxed);
        log_event(EV_archive_refused, LOG_S("kind", "audit"),
                  LOG_S("id", reply_str(reply_at(reply_at(entries, i), 0))),
                  LOG_S("error", err->text));
    }
    return 0;
}

static int copy_audit(struct keeper *k, bool *ret_is_redis, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct store_place place = {.generation = k->source->generation,
                                .prefix = k->source->opts->redis.prefix};

    k->audit_at_ms = clock_mono_ms() + AUDIT_MS;
    *ret_is_redis = true;
    if (read_audit(k, &reply, err) != 0)
        return -1;
    *ret_is_redis = false;
    const reply_t *entries = reply_at(reply, REPLY_ENTRIES);
    size_t n = reply_count(entries);
    bool is_all = reply_int(reply_at(reply, REPLY_IS_ALL)) == 1;
    int64_t added = reply_int(reply_at(reply, REPLY_ADDED));
    if (n == 0)
        return 0;
    look_for_gap(k, reply);
    batch_reset(&k->batch);
    for (size_t i = 0; i < n; i++)
        record_audit(&k->batch, reply_at(entries, i));
    snprintf(place.audit_upto, sizeof place.audit_upto, "%s",
             reply_str(reply_at(reply_at(entries, n - 1), 0)));
    int64_t gone = added - reply_int(reply_at(reply, REPLY_LENGTH));
    int64_t before = k->audit_entries > gone && k->audit_entries <= added ? k->audit_entries : gone;
    place.audit_entries = is_all ? added : before + (int64_t)n;
    int status = store_write(k->store, &k->batch, &place, err);
    if (status != 0 && err->code == PG_DATA)
        status = write_singly(k, entries, &place, err);
    if (status != 0)
        return -1;
    memcpy(k->audit_upto, place.audit_upto, sizeof k->audit_upto);
    k->audit_entries = place.audit_entries;
    if (!is_all)
        k->audit_at_ms = 0;
    return !is_all;
}

/* ---- retention ---- */

static int expire(struct keeper *k, struct cb_error *err)
{
    char days[24], most[16];
    const char *values[] = {days, most};
    PGresult *removed CB_CLEANUP(pg_result_free) = NULL;
    int64_t keep_days = k->source->opts->archive.keep_days;

    k->expire_at_ms = clock_mono_ms() + EXPIRE_MS;
    if (keep_days == 0)
        return 0;
    snprintf(days, sizeof days, "%" PRId64, keep_days);
    snprintf(most, sizeof most, "%d", EXPIRE_ROWS);
    if (pg_query(k->pg, "SELECT claudebench.expire(now() - $1::integer * interval '1 day', $2)", 2,
                 values, &removed, err) != 0)
        return err->code == PG_CONFLICT ? 0 : -1; /* somebody reads: an hour later, then */
    int64_t rows = strtoll(PQgetvalue(removed, 0, 0), NULL, 10);
    if (rows == 0)
        return 0;
    k->expire_at_ms = clock_mono_ms() + EXPIRE_AGAIN_MS;
    log_event(EV_archive_expired, rows < 0 ? (struct log_field)LOG_I("partitions", 1)
                                           : (struct log_field)LOG_I("rows", rows));
    return 0;
}

int keeper_turn(struct keeper *k, bool *ret_is_redis, struct cb_error *err)
{
    int64_t now = clock_mono_ms();

    *ret_is_redis = false;
    if (!k->is_keeper)
        return now >= k->try_at_ms ? try_lock(k, err) : 0;
    if (now >= k->audit_at_ms)
        return copy_audit(k, ret_is_redis, err);
    return now >= k->expire_at_ms ? expire(k, err) : 0;
}
