/*
 * worker_turn.c: a turn of the archive's worker (worker_int.h): it takes events (source.h), reads the records that they name, and sends
 * these to PostgreSQL as one batch (store.h); while that is being committed, the next turn fills the other batch. Events are
 * acknowledged after the commit that has them, so whatever dies in between has them given again, and rows come out the same. A record
 * that PostgreSQL does not take fails its whole batch, which is then given again and written record by record.
 */
#include "common/compat.h"
#include "archive/worker_int.h"

#include "common/clock.h"
#include "common/fault.h"

enum {
    BLOCK_MS = 1000,
    WAKE_MS = 100,   /* the same for who serves the outbox: how soon a notification is heard */
    KEEPER_MS = 500, /* how often the keeper's duties are looked at while events come */
};

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- writing ---- */

static struct store_place place_of(const struct archiver *a)
{
    return (struct store_place){.generation = a->source.generation,
                                .prefix = a->opts->redis.prefix,
                                .last_number = a->source.last_number};
}

/* Waits for what is under way, and acknowledges its events. */
int archiver_finish_sent(struct archiver *a, bool *ret_is_redis, struct cb_error *err)
{
    *ret_is_redis = false;
    if (!store_is_busy(a->store))
        return 0;
    supervised_state(a->sup, WORKER_COMMIT);
    if (store_wait(a->store, err) != 0)
        return -1;
    supervised_state(a->sup, WORKER_IDLE);
    pg_works(a->pg);
    count(&archiver_slot(a)->commits, 1);
    count(&archiver_slot(a)->archive_events, (uint64_t)a->nsent);
    count(&archiver_slot(a)->archive_rows, (uint64_t)a->rows_sent);
    count(&archiver_slot(a)->requests, (uint64_t)a->nsent);
    a->nsent = 0;
    if (a->sent.ms == 0)
        return 0;
    struct stream_id upto = a->sent;
    a->archived = upto;
    a->sent = (struct stream_id){0, 0};
    *ret_is_redis = true;
    return source_ack(&a->source, upto, err);
}

/* Sends the batch that was filled, once the one before it is committed. `upto`: its last event, or 0. */
static int send_batch(struct archiver *a, struct stream_id upto, int events, bool *ret_is_redis,
                      struct cb_error *err)
{
    struct batch *b = &a->batches[a->cur];
    struct store_place place = place_of(a);

    if (archiver_finish_sent(a, ret_is_redis, err) != 0)
        return -1;
    *ret_is_redis = false;
    if (upto.ms > 0)
        stream_id_put(upto, place.events_upto);
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
        count(&archiver_slot(a)->archive_refused, 1);
        log_event(EV_archive_refused, LOG_S("kind", kinds[t->kind]), LOG_S("id", t->id),
                  LOG_S("error", err->text));
    }
    batch_reset(b);
    return 0;
}

/* Reads what the set names and sends it, in as many batches as it takes; the last one carries the place. */
static int write_set(struct archiver *a, struct stream_id upto, int events, bool marks_lost,
                     bool *ret_is_redis, struct cb_error *err)
{
    touched_sort(&a->set);
    struct touched *at = a->set.all;
    do {
        *ret_is_redis = true;
        if (source_fetch(&a->source, &at, &a->batches[a->cur], marks_lost, err) != 0)
            return -1;
        bool is_last = !at;
        if (send_batch(a, is_last ? upto : (struct stream_id){0, 0}, is_last ? events : 0,
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

    if (archiver_finish_sent(a, ret_is_redis, err) != 0)
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
    struct stream_id none = {0, 0};
    bool marks_lost = false;

    if (archiver_finish_sent(a, ret_is_redis, err) != 0)
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
    if (archiver_finish_sent(a, ret_is_redis, err) != 0)
        return -1;
    *ret_is_redis = false;
    if (store_write(a->store, &a->batches[a->cur], &place, err) != 0)
        return -1;
    a->careful = 0;
    log_event(EV_archive_walked, LOG_I("records", a->walk.records));
    return 0;
}

static int take_events(struct archiver *a, int timeout_ms, struct stream_id *ret_upto,
                       struct cb_error *err)
{
    bool has_gap = false;
    int most = (int)a->opts->domains.archive.batch;
    int n = source_take(&a->source, most, timeout_ms, &a->set, ret_upto, &has_gap, err);

    if (has_gap && !walk_is_on(&a->walk)) {
        count(&archiver_slot(a)->archive_gaps, 1);
        log_event(EV_archive_gap, LOG_I("events", n));
        a->walk_reason = "events are missing";
        a->is_walk_due = true;
    }
    return n;
}

/* One piece of work. 0, or -1: *ret_is_redis says who has failed. */
int archiver_turn(struct archiver *a, bool *ret_is_redis, struct cb_error *err)
{
    struct stream_id upto = {0, 0};
    bool is_busy = store_is_busy(a->store) || walk_is_on(&a->walk);
    int64_t now = clock_mono_ms();

    *ret_is_redis = true;
    int idle_ms = outbox_is_ours(&a->outbox) ? WAKE_MS : BLOCK_MS;
    int n = take_events(a, is_busy || a->is_more ? 0 : idle_ms, &upto, err);
    if (n < 0 || (a->is_walk_due && begin_walk(a, ret_is_redis, err) != 0))
        return -1;
    if (n > 0 && a->careful > 0) {
        if (archiver_finish_sent(a, ret_is_redis, err) != 0 ||
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
        if (archiver_finish_sent(a, ret_is_redis, err) != 0)
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
    if (archiver_finish_sent(a, ret_is_redis, err) != 0 ||
        keeper_turn(&a->keeper, ret_is_redis, err) < 0)
        return -1;
    int more = outbox_turn(&a->outbox, ret_is_redis, err);
    a->is_more = more > 0;
    return more < 0 ? -1 : 0;
}
