/*
 * worker.c: see worker.h.
 *
 * A turn takes events (source.h), reads the records that they name, and sends these to PostgreSQL as one batch (store.h); while that is being
 * committed, the next turn fills the other batch. Events are acknowledged after the commit that has them, so whatever dies in between has
 * them given again, and rows come out the same. While PostgreSQL is away nothing is read: events wait in the stream. A record that
 * PostgreSQL does not take fails its whole batch, which is then given again and written record by record.
 *
 * Exits as claudebench-worker: 0 after a drain, 78 when a restart would not help, 70 otherwise.
 */
#include "common/compat.h"
#include "archive/worker.h"

#include "archive/keeper.h"
#include "archive/migrate.h"
#include "archive/open.h"
#include "archive/outbox.h"
#include "archive/walk.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/fault.h"
#include "common/log.h"
#include "worker/launch.h"

enum {
    BLOCK_MS = 1000,
    WAKE_MS = 100, /* the same for who serves the outbox: how soon a notification is heard */
    NAP_MS = 200,
    LAG_MS = 2000,       /* how often it is asked how far behind we are */
    REGISTER_MS = 60000, /* how often we say that we are there */
    STUCK_LOOKS = 3,
    DRAIN_MS = 3000,
    KEEPER_MS = 500, /* how often the keeper's duties are looked at while events come */
};

struct archiver {
    const struct options *opts;
    struct supervised *sup;
    struct source source;
    struct pg *pg;
    struct store *store;
    struct keeper keeper;
    struct outbox outbox;
    struct walk walk;
    bool is_walk_due; /* as soon as the reader is registered */
    const char *walk_reason;
    struct batch batches[2];
    int cur; /* the one that is being filled; the other one may be under way */
    struct touched_set set;
    struct event_id archived; /* the last event that is in PostgreSQL, as far as we know */
    struct event_id sent;     /* the last event of what is under way; 0: none ends with it */
    int nsent, rows_sent;
    bool is_more; /* of the outbox, at once */
    int stuck;    /* looks at the lag that found events given to nobody who is there */
    int careful;  /* so many events are still to be written record by record */
    int64_t lag_at_ms, keeper_at_ms;
    int64_t drain_ms; /* since when it is to leave; 0: it is not */
    struct log_repeat said;
};

static struct scoreboard_slot *slot_of(const struct archiver *a)
{
    return a->sup->slot;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

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
    a->sent = (struct event_id){0, 0};
    source_forget_given(&a->source);
    if (walk_is_on(&a->walk))
        walk_begin(&a->walk);
}

static void pg_failed(struct archiver *a, const struct cb_error *err)
{
    unsigned times;

    scoreboard_set_archive(slot_of(a), ARCHIVE_DOWN, err->text);
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
    a->archived = (struct event_id){0, 0};
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
    event_id_parse(PQntuples(row) > 0 ? PQgetvalue(row, 0, 0) : "0-0", &a->archived);
    a->is_walk_due = true;
    if (!is_walked)
        a->walk_reason = "this is new to the archive";
    else if (a->source.is_new)
        a->walk_reason = "the archive was no reader of the events";
    else if (!lag.has_pending && event_id_compare(a->archived, lag.delivered) < 0)
        a->walk_reason = "the database was set back";
    else
        a->is_walk_due = false;
    a->source.is_new = false;
    if (a->archived.ms == 0)
        a->archived.seq = 1; /* known now */
    return 0;
}

/* ---- writing ---- */

static struct store_place place_of(const struct archiver *a)
{
    return (struct store_place){.generation = a->source.generation,
                                .prefix = a->opts->redis.prefix,
                                .last_number = a->source.last_number};
}

/* Waits for what is under way, and acknowledges its events. */
static int finish_sent(struct archiver *a, bool *ret_is_redis, struct cb_error *err)
{
    *ret_is_redis = false;
    if (!store_is_busy(a->store))
        return 0;
    supervised_state(a->sup, WORKER_COMMIT);
    if (store_wait(a->store, err) != 0)
        return -1;
    supervised_state(a->sup, WORKER_IDLE);
    pg_works(a->pg);
    count(&slot_of(a)->commits, 1);
    count(&slot_of(a)->archive_events, (uint64_t)a->nsent);
    count(&slot_of(a)->archive_rows, (uint64_t)a->rows_sent);
    count(&slot_of(a)->requests, (uint64_t)a->nsent);
    a->nsent = 0;
    if (a->sent.ms == 0)
        return 0;
    struct event_id upto = a->sent;
    a->archived = upto;
    a->sent = (struct event_id){0, 0};
    *ret_is_redis = true;
    return source_ack(&a->source, upto, err);
}

/* Sends the batch that was filled, once the one before it is committed. `upto`: its last event, or 0. */
static int send_batch(struct archiver *a, struct event_id upto, int events, bool *ret_is_redis,
                      struct cb_error *err)
{
    struct batch *b = &a->batches[a->cur];
    struct store_place place = place_of(a);

    if (finish_sent(a, ret_is_redis, err) != 0)
        return -1;
    *ret_is_redis = false;
    if (upto.ms > 0)
        event_id_put(upto, place.events_upto);
    if (store_send(a->store, b, &place, err) != 0)
        return -1;
    a->sent = upto;
    a->nsent = events;
    a->rows_sent = b->rows;
    a->cur ^= 1;
    batch_reset(&a->batches[a->cur]);
    return 0;
}

/* One record after the other, each in a transaction of its own; nothing is under way. */
static int write_singly(struct archiver *a, bool marks_lost, bool *ret_is_redis,
                        struct cb_error *err)
{
    static const char *const kinds[] = {"task", "instance", "decision", "schedule"};
    struct store_place place = place_of(a);
    struct batch *b = &a->batches[a->cur];

    for (struct touched *t = a->set.all, *next; t; t = next) {
        struct touched *at = t;
        next = t->hh.next;
        t->hh.next = NULL; /* this one alone */
        batch_reset(b);
        *ret_is_redis = true;
        int status = source_fetch(&a->source, &at, b, marks_lost, err);
        t->hh.next = next;
        if (status != 0)
            return -1;
        *ret_is_redis = false;
        if (store_write(a->store, b, &place, err) == 0)
            continue;
        if (err->code != PG_DATA)
            return -1;
        count(&slot_of(a)->archive_refused, 1);
        log_event(EV_archive_refused, LOG_S("kind", kinds[t->kind]), LOG_S("id", t->id),
                  LOG_S("error", err->text));
    }
    batch_reset(b);
    return 0;
}

/* Reads what the set names and sends it, in as many batches as it takes; the last one carries the place. */
static int write_set(struct archiver *a, struct event_id upto, int events, bool marks_lost,
                     bool *ret_is_redis, struct cb_error *err)
{
    touched_sort(&a->set);
    struct touched *at = a->set.all;
    do {
        *ret_is_redis = true;
        if (source_fetch(&a->source, &at, &a->batches[a->cur], marks_lost, err) != 0)
            return -1;
        bool is_last = !at;
        if (send_batch(a, is_last ? upto : (struct event_id){0, 0}, is_last ? events : 0,
                       ret_is_redis, err) != 0)
            return -1;
    } while (at);
    touched_clear(&a->set);
    return 0;
}

/* ---- turns ---- */

/* The database knows of it before anything behind the gap is acknowledged: whoever comes after us begins it again. */
static int begin_walk(struct archiver *a, bool *ret_is_redis, struct cb_error *err)
{
    const char *values[] = {a->source.generation};

    if (finish_sent(a, ret_is_redis, err) != 0)
        return -1;
    *ret_is_redis = false;
    if (pg_query(a->pg, "UPDATE claudebench.generation SET walked_at = NULL WHERE generation = $1",
                 1, values, NULL, err) != 0)
        return -1;
    a->is_walk_due = false;
    log_event(EV_archive_walk_started, LOG_S("reason", a->walk_reason));
    walk_begin(&a->walk);
    return 0;
}

static int walk_turn(struct archiver *a, bool *ret_is_redis, struct cb_error *err)
{
    struct event_id none = {0, 0};
    bool marks_lost = false;

    if (finish_sent(a, ret_is_redis, err) != 0)
        return -1;
    *ret_is_redis = a->walk.stage != WALK_OPEN;
    if (walk_page(&a->walk, &a->source, a->pg, &a->set, &marks_lost, err) != 0)
        return -1;
    if (a->careful > 0) {
        if (write_singly(a, marks_lost, ret_is_redis, err) != 0)
            return -1;
        touched_clear(&a->set);
    } else if (write_set(a, none, 0, marks_lost, ret_is_redis, err) != 0) {
        return -1;
    }
    if (walk_is_on(&a->walk))
        return 0;
    struct store_place place = place_of(a);
    place.is_walked = true;
    if (finish_sent(a, ret_is_redis, err) != 0)
        return -1;
    *ret_is_redis = false;
    if (store_write(a->store, &a->batches[a->cur], &place, err) != 0)
        return -1;
    a->careful = 0;
    log_event(EV_archive_walked, LOG_I("records", a->walk.records));
    return 0;
}

static int take_events(struct archiver *a, int timeout_ms, struct event_id *ret_upto,
                       struct cb_error *err)
{
    bool has_gap = false;
    int most = (int)a->opts->domains.archive.batch;
    int n = source_take(&a->source, most, timeout_ms, &a->set, ret_upto, &has_gap, err);

    if (has_gap && !walk_is_on(&a->walk)) {
        count(&slot_of(a)->archive_gaps, 1);
        log_event(EV_archive_gap, LOG_I("events", n));
        a->walk_reason = "events are missing";
        a->is_walk_due = true;
    }
    return n;
}

/* One piece of work. 0, or -1: *ret_is_redis says who has failed. */
static int turn(struct archiver *a, bool *ret_is_redis, struct cb_error *err)
{
    struct event_id upto = {0, 0};
    bool is_busy = store_is_busy(a->store) || walk_is_on(&a->walk);
    int64_t now = clock_mono_ms();

    *ret_is_redis = true;
    int idle_ms = outbox_is_ours(&a->outbox) ? WAKE_MS : BLOCK_MS;
    int n = take_events(a, is_busy || a->is_more ? 0 : idle_ms, &upto, err);
    if (n < 0 || (a->is_walk_due && begin_walk(a, ret_is_redis, err) != 0))
        return -1;
    if (n > 0 && a->careful > 0) {
        if (finish_sent(a, ret_is_redis, err) != 0 ||
            write_singly(a, false, ret_is_redis, err) != 0)
            return -1;
        touched_clear(&a->set);
        a->careful = a->careful > n ? a->careful - n : 0;
        if (send_batch(a, upto, n, ret_is_redis, err) != 0)
            return -1;
    } else if (n > 0 && write_set(a, upto, n, false, ret_is_redis, err) != 0) {
        return -1;
    }
    if (n == 0) {
        if (finish_sent(a, ret_is_redis, err) != 0)
            return -1;
        *ret_is_redis = true; /* those that were gone before they were given are done, too */
        if (source_ack_all(&a->source, err) != 0)
            return -1;
        *ret_is_redis =
            false; /* has the server hung up? nobody else would notice until the next event */
        if (pg_wait_readable(a->pg, 0, err) < 0)
            return -1;
    }
    if (walk_is_on(&a->walk) && walk_turn(a, ret_is_redis, err) != 0)
        return -1;
    if (n > 0 && now < a->keeper_at_ms)
        return 0;
    a->keeper_at_ms = now + KEEPER_MS;
    if (finish_sent(a, ret_is_redis, err) != 0 || keeper_turn(&a->keeper, ret_is_redis, err) < 0)
        return -1;
    int more = outbox_turn(&a->outbox, ret_is_redis, err);
    a->is_more = more > 0;
    return more < 0 ? -1 : 0;
}

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
    atomic_store_explicit(&slot_of(a)->archive_waiting, lag.events, memory_order_relaxed);
    atomic_store_explicit(&slot_of(a)->archive_lag_ms, lag.ms, memory_order_relaxed);
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
        scoreboard_set_archive(slot_of(a), ARCHIVE_OK, NULL);
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
            status = turn(a, &is_redis, &err);
        if (status < 0 && !a->sup->is_draining)
            failed(a, is_redis, &err);
    }
    if (pg_is_up(a->pg))
        finish_sent(a, &is_redis, &err); /* what is not acknowledged is given to whoever is next */
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
