/*
 * worker.c: see worker.h. The connections to both sides, what is done when one of them is away, and the loop of turns (worker_turn.c).
 * While PostgreSQL is away nothing is read: events wait in the stream.
 *
 * Exits as claudebench-worker: 0 after a drain, 78 when a restart would not help, 70 otherwise.
 */
#include "common/compat.h"
#include "archive/worker.h"

#include "archive/migrate.h"
#include "archive/open.h"
#include "archive/worker_int.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "worker/launch.h"

enum {
    NAP_MS = 200,
    LAG_MS = 2000,       /* how often it is asked how far behind we are */
    REGISTER_MS = 60000, /* how often we say that we are there */
    STUCK_LOOKS = 3,
    DRAIN_MS = 3000,
};

static int64_t register_every_ms(const struct archiver *a)
{
    int64_t third = a->opts->events.reader_idle_ms / 3;

    return third < REGISTER_MS ? third : REGISTER_MS;
}

/* ---- trouble ---- */

/* What was read and is not committed will be given again. */
static void abandon(struct archiver *a)
{
    touched_clear(&a->set);
    batch_reset(&a->batches[0]);
    batch_reset(&a->batches[1]);
    a->nsent = 0;
    a->sent = (struct stream_id){0, 0};
    source_forget_given(&a->source);
    if (walk_is_on(&a->walk))
        walk_begin(&a->walk);
}

static void pg_failed(struct archiver *a, const struct cb_error *err)
{
    unsigned times;

    scoreboard_set_archive(archiver_slot(a), ARCHIVE_DOWN, err->text);
    if (log_repeat_may(&a->said, err->text, &times))
        log_event(EV_archive_waiting, LOG_S("database", pg_describe(a->pg)),
                  LOG_S("fault", pg_fault_name((enum pg_fault)err->code)),
                  LOG_S("error", err->text), LOG_I("times", times));
    pg_back_off(a->pg);
    abandon(a);
}

static void redis_failed(struct archiver *a, const struct cb_error *err)
{
    outage_note(&a->source.outage, a->sup, err);
    abandon(a);
    if (err->code == REDIS_LOST || err->code == REDIS_PROTOCOL)
        source_drop(&a->source);
    supervised_wait(a->sup, backoff_next_full_jitter(&a->source.backoff));
}

/* ---- the connection to PostgreSQL ---- */

/* A drain does not wait for a connection, and not long for a commit. */
static bool pg_idle(void *arg)
{
    struct archiver *a = arg;

    supervised_turn(a->sup);
    if (!a->sup->is_draining)
        return true;
    if (a->drain_ms == 0)
        a->drain_ms = clock_mono_ms();
    return pg_is_up(a->pg) && clock_mono_ms() - a->drain_ms < DRAIN_MS;
}

static void say_migrated(void *arg, const struct migration *m)
{
    (void)arg;
    log_event(EV_archive_migrated, LOG_I("version", m->version), LOG_S("name", m->name));
}

static int prepare_schema(struct archiver *a, struct cb_error *err)
{
    int version = 0;

    if (migrate_to(a->pg, migrate_latest(), say_migrated, NULL, err) != 0 ||
        migrate_version(a->pg, &version, err) != 0)
        return -1;
    if (version > migrate_latest())
        log_event(EV_archive_newer, LOG_I("version", version), LOG_I("knows", migrate_latest()));
    return store_open(a->store, err);
}

static int open_pg(struct archiver *a, struct cb_error *err)
{
    keeper_reset(&a->keeper);
    outbox_reset(&a->outbox);
    if (pg_connect(a->pg, err) != 0 || prepare_schema(a, err) != 0)
        return -1;
    a->archived = (struct stream_id){0, 0};
    a->walk = (struct walk){.stage = WALK_NONE};
    log_event(EV_archive_connected, LOG_S("database", pg_describe(a->pg)));
    return 0;
}

/* How far the database is, when that is not known yet. One that was set back lacks what was acknowledged: a walk brings it. */
static int look_at_place(struct archiver *a, bool *ret_is_redis, struct cb_error *err)
{
    const char *values[] = {a->source.generation};
    PGresult *row CB_CLEANUP(pg_result_free) = NULL;
    struct source_lag lag;

    *ret_is_redis = false;
    if (pg_query(a->pg,
                 "SELECT coalesce(events_upto, '0-0'), walked_at IS NOT NULL "
                 "FROM claudebench.generation WHERE generation = $1",
                 1, values, &row, err) != 0)
        return -1;
    *ret_is_redis = true;
    if (source_lag(&a->source, &lag, err) != 0)
        return -1;
    bool is_walked = PQntuples(row) > 0 && strcmp(PQgetvalue(row, 0, 1), "t") == 0;
    stream_id_parse(PQntuples(row) > 0 ? PQgetvalue(row, 0, 0) : "0-0", &a->archived);
    a->is_walk_due = true;
    if (!is_walked)
        a->walk_reason = "this is new to the archive";
    else if (a->source.is_new)
        a->walk_reason = "the archive was no reader of the events";
    else if (!lag.has_pending && stream_id_compare(a->archived, lag.delivered) < 0)
        a->walk_reason = "the database was set back";
    else
        a->is_walk_due = false;
    a->source.is_new = false;
    if (a->archived.ms == 0)
        a->archived.seq = 1; /* known now */
    return 0;
}

/* ---- the loop ---- */

static int look_at_lag(struct archiver *a, struct cb_error *err)
{
    struct source_lag lag;
    int64_t now = clock_mono_ms();

    if (now < a->lag_at_ms)
        return 0;
    a->lag_at_ms = now + LAG_MS;
    if (source_lag(&a->source, &lag, err) != 0)
        return -1;
    /* What was given to somebody who died while blocking, on another host perhaps, is asked for again. */
    a->stuck = lag.has_pending && pg_is_up(a->pg) && !store_is_busy(a->store) ? a->stuck + 1 : 0;
    if (a->stuck >= STUCK_LOOKS) {
        a->stuck = 0;
        source_forget_given(&a->source);
    }
    atomic_store_explicit(&archiver_slot(a)->archive_waiting, lag.events, memory_order_relaxed);
    atomic_store_explicit(&archiver_slot(a)->archive_lag_ms, lag.ms, memory_order_relaxed);
    return 0;
}

/* PostgreSQL is away: 0: it is back. */
static int wait_for_pg(struct archiver *a, struct cb_error *err)
{
    int64_t ms = pg_retry_in_ms(a->pg);

    if (ms > 0) {
        supervised_wait(a->sup, ms < NAP_MS ? ms : NAP_MS);
        return -1;
    }
    supervised_state(a->sup, WORKER_IDLE);
    if (open_pg(a, err) == 0)
        return 0;
    if (!a->sup->is_draining)
        pg_failed(a, err);
    return -1;
}

/* What is to be known before the first event is taken. 1: go on; 0: again; -1: *ret_is_redis says who has failed. */
static int get_ready(struct archiver *a, bool *ret_is_redis, struct cb_error *err)
{
    *ret_is_redis = true;
    int status = source_register(&a->source, register_every_ms(a), err);
    if (status < 0)
        return -1;
    if (!a->source.generation) {
        supervised_wait(a->sup, NAP_MS); /* a daemon draws it with its first tick */
        return 0;
    }
    if (status > 0) { /* other data: none of what we had in hand is of these */
        abandon(a);
        keeper_reset(&a->keeper);
        outbox_reset(&a->outbox);
        pg_disconnect(a->pg);
        return 0;
    }
    if (a->archived.ms == 0 && a->archived.seq == 0) {
        if (look_at_place(a, ret_is_redis, err) != 0)
            return -1;
        scoreboard_set_archive(archiver_slot(a), ARCHIVE_OK, NULL);
        log_repeat_over(&a->said);
    } else if (a->source.is_new) {
        a->source.is_new = false;
        a->is_walk_due = true;
        a->walk_reason = "the archive was no reader of the events any more";
    }
    return 1;
}

/* A value that is not taken is a record's, and left out when records are written singly. When that is done already, it is no record's. */
static void failed(struct archiver *a, bool is_redis, const struct cb_error *err)
{
    if (is_redis) {
        redis_failed(a, err);
    } else if (err->code == PG_DATA && pg_is_up(a->pg) && a->careful == 0) {
        abandon(a);
        a->careful = 2 * (int)a->opts->domains.archive.batch;
    } else {
        pg_failed(a, err);
    }
}

static void work(struct archiver *a)
{
    struct cb_error err = {0};
    bool is_redis = false;

    while (!a->sup->is_draining) {
        supervised_turn(a->sup);
        if (source_restore(&a->source, &err) != 0)
            break;
        if (look_at_lag(a, &err) != 0) {
            redis_failed(a, &err);
            continue;
        }
        if (!pg_is_up(a->pg)) {
            /* A reader all the same: what it has not had stays in the stream. */
            if (source_register(&a->source, register_every_ms(a), &err) < 0)
                redis_failed(a, &err);
            else
                wait_for_pg(a, &err);
            continue;
        }
        int status = get_ready(a, &is_redis, &err);
        if (status > 0)
            status = archiver_turn(a, &is_redis, &err);
        if (status < 0 && !a->sup->is_draining)
            failed(a, is_redis, &err);
    }
    if (pg_is_up(a->pg))
        archiver_finish_sent(a, &is_redis,
                             &err); /* what is not acknowledged is given to whoever is next */
}

/* ---- start and end ---- */

static int archiver_init(struct archiver *a, const struct options *opts, struct supervised *sup,
                         const char *consumer, struct cb_error *err)
{
    *a = (struct archiver){.opts = opts, .sup = sup};
    struct pg_config config = archive_pg_config(opts);
    config.idle = pg_idle;
    config.arg = a;
    if (source_init(&a->source, opts, sup, consumer, err) != 0)
        return -1;
    a->pg = pg_new(&config);
    a->store = store_new(a->pg);
    keeper_init(&a->keeper, &a->source, a->pg, a->store);
    outbox_init(&a->outbox, &a->source, a->pg);
    batch_init(&a->batches[0]);
    batch_init(&a->batches[1]);
    return 0;
}

static void archiver_done(struct archiver *a)
{
    touched_clear(&a->set);
    batch_done(&a->batches[0]);
    batch_done(&a->batches[1]);
    keeper_done(&a->keeper);
    outbox_done(&a->outbox);
    store_free(a->store);
    pg_free(a->pg);
    source_done(&a->source);
}

static int serve(struct launch *l)
{
    struct supervised *sup = &l->sup;
    struct archiver a;
    struct cb_error err = {0};

    if (archiver_init(&a, l->opts, sup, l->consumer, &err) != 0) {
        log_event(EV_worker_failed, LOG_S("reason", err.text));
        return EXITCODE_SOFTWARE;
    }
    if (source_restore(&a.source, &err) == 0 &&
        supervised_ready(sup, redis_link_id(a.source.link), &err) == 0) {
        log_event(EV_worker_ready, LOG_I("redis_id", redis_link_id(a.source.link)));
        scoreboard_set_archive(sup->slot, ARCHIVE_DOWN, "not connected to PostgreSQL yet");
        while (!sup->may_go && !sup->is_draining)
            supervised_wait(sup, REDIS_LINK_IDLE_MS);
        supervised_state(sup, WORKER_IDLE);
        work(&a);
    }
    log_event(EV_worker_stopping, LOG_I("requests", atomic_load(&sup->slot->requests)));
    scoreboard_set_archive(sup->slot, ARCHIVE_NONE, NULL);
    archiver_done(&a);
    supervised_bye(sup, sup->is_draining ? BYE_DRAINED : BYE_FAILED);
    return sup->is_draining ? EXITCODE_OK : EXITCODE_SOFTWARE;
}

int archive_worker_main(int argc, char **argv)
{
    struct launch l;

    if (launch_parse(&l, argc, argv) != 0)
        return EXITCODE_USAGE;
    int code = launch_begin(&l, "claudebench-archive");
    if (code >= 0)
        return code;
    code = serve(&l);
    launch_done(&l);
    return code;
}
