/*
 * source.c: see source.h.
 */
#include "common/compat.h"
#include "archive/source.h"

#include "common/clock.h"
#include "common/keys.h"
#include "common/mem.h"
#include "common/redis_cluster.h"

enum {
    FETCH_AT_ONCE = 256,           /* most records asked for in one write */
    BATCH_ROWS = 4000,             /* a batch that has more is full */
    BATCH_BYTES = 4 * 1024 * 1024, /* the same */
};

int source_init(struct source *s, const struct options *opts, struct supervised *sup,
                const char *consumer, struct cb_error *err)
{
    *s = (struct source){.opts = opts, .sup = sup, .consumer = consumer, .page = FETCH_AT_ONCE};
    if (connect_target(opts, CONNECT_DAEMON, &s->target, err) != 0)
        return -1;
    connect_backoff(&s->target, CONNECT_DAEMON, &s->backoff);
    return 0;
}

void source_forget_given(struct source *s)
{
    event_reader_free(s->reader);
    s->reader = NULL;
    s->registered_ms = 0; /* to learn where the next one begins */
}

void source_drop(struct source *s)
{
    source_forget_given(s);
    redis_link_free(s->link);
    s->link = NULL;
}

void source_done(struct source *s)
{
    source_drop(s);
    redis_target_done(&s->target);
    free(s->generation);
}

/* ---- connections ---- */

static int open_link(struct source *s, struct cb_error *err)
{
    if (redis_link_start(&s->target, s->consumer, &s->link, err) != 0) {
        s->link = NULL;
        return -1;
    }
    redis_link_set_idle(s->link, supervised_idle, s->sup);
    redis_link_set_wake_fd(s->link, s->sup->is_orphan ? -1 : FRAME_FD);
    if (redis_link_await(s->link, err) == 0)
        return 0;
    redis_link_free(s->link);
    s->link = NULL;
    return -1;
}

int source_restore(struct source *s, struct cb_error *err)
{
    if (s->link && !redis_link_is_lost(s->link))
        return 0;
    bool was_connected = s->link != NULL;
    source_drop(s);
    supervised_state(s->sup, was_connected ? WORKER_RECONNECT : WORKER_STARTING);
    while (open_link(s, err) != 0) {
        if (outage_wait(&s->outage, s->sup, s->opts, &s->target, &s->backoff, err) != 0)
            return -1;
    }
    backoff_reset(&s->backoff);
    if (was_connected)
        atomic_fetch_add_explicit(&s->sup->slot->reconnects, 1, memory_order_relaxed);
    atomic_store(&s->sup->slot->redis_id, redis_link_id(s->link));
    outage_over(&s->outage, redis_link_id(s->link));
    return 0;
}

/* ---- the reader ---- */

int source_register(struct source *s, int64_t every_ms, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    const char *prefix = s->opts->redis.prefix;
    struct script_call call;

    if (s->generation && s->registered_ms && clock_mono_ms() - s->registered_ms < every_ms)
        return 0;
    script_call_init(&call, SCRIPT_ARCHIVE_REGISTER);
    script_call_key(&call, keys_make(&a, prefix, KEY_EVENTS));
    script_call_key(&call, keys_make(&a, prefix, KEY_EVENTS_READERS));
    script_call_key(&call, keys_make(&a, prefix, KEY_META));
    script_call_key(&call, keys_make(&a, prefix, KEY_CLOCK));
    script_call_arg_str(&call, arena_printf(&a, "%s:", prefix));
    script_call_arg_str(&call, SOURCE_GROUP);
    script_call_arg_int(&call, s->opts->events.reader_idle_ms);
    script_call_arg_str(&call, options_events_policy(s->opts, &a));
    int status = scripts_run(s->link, &call, &reply, err);
    script_call_done(&call);
    if (status != 0)
        return -1;
    const char *generation = reply_str(reply_at(reply, 0));
    if (!generation[0])
        return 0;
    s->registered_ms = clock_mono_ms();
    s->is_new |= reply_int(reply_at(reply, 1)) == 1;
    s->last_number = reply_int(reply_at(reply, 2));
    snprintf(s->cursor, sizeof s->cursor, "%s", reply_str(reply_at(reply, 3)));
    if (s->generation && strcmp(s->generation, generation) == 0)
        return 0;
    free(s->generation);
    s->generation = mem_strdup(generation);
    source_forget_given(s);
    return 1;
}

/* A drain does not wait for events. */
static bool may_go_on(void *arg)
{
    struct supervised *sup = arg;

    supervised_turn(sup);
    return !sup->is_draining;
}

static void open_reader(struct source *s)
{
    const struct event_reader_config config = {.target = &s->target,
                                               .prefix = s->opts->redis.prefix,
                                               .client_name = s->consumer,
                                               .since = s->cursor,
                                               .group = SOURCE_GROUP,
                                               .is_following = true,
                                               .go_on = may_go_on,
                                               .arg = s->sup};
    if (!s->reader)
        s->reader = event_reader_new(&config);
}

/* The stream has lost events that we have not had: event_care says so, too. */
static bool is_our_gap(const struct event_entry *e)
{
    if (strcmp(e->type, "events.gap") != 0)
        return false;
    for (size_t i = 0; i < e->nfields; i++)
        if (strcmp(e->fields[i].name, "readers") == 0)
            for (const char *p = e->fields[i].value; *p; p += strspn(p, " ")) {
                size_t len = strcspn(p, " ");
                if (len == strlen(SOURCE_GROUP) && memcmp(p, SOURCE_GROUP, len) == 0)
                    return true;
                p += len;
            }
    return false;
}

int source_take(struct source *s, int most, int timeout_ms, struct touched_set *set,
                struct stream_id *ret_upto, bool *ret_gap, struct cb_error *err)
{
    const struct event_entry *e = NULL;
    struct event_gap gap;
    int n = 0;

    open_reader(s);
    while (n < most && set->len < BATCH_ROWS) {
        switch (event_reader_next(s->reader, n == 0 ? timeout_ms : 0, &e, &gap, err)) {
        case EVENT_GIVEN:
            *ret_gap |= is_our_gap(e);
            touched_event(set, e);
            *ret_upto = e->id;
            n++;
            break;
        case EVENT_GAP:
            *ret_gap = true;
            break;
        case EVENT_NOTHING:
        case EVENT_END:
            return n;
        case EVENT_LOST:
        case EVENT_DENIED:
            /* Nobody knows the group any more, for instance: it is registered anew. */
            s->registered_ms = 0;
            return -1;
        }
    }
    return n;
}

int source_ack(struct source *s, struct stream_id upto, struct cb_error *err)
{
    return s->reader ? event_reader_ack_upto(s->reader, upto, err) : 0;
}

int source_ack_all(struct source *s, struct cb_error *err)
{
    return s->reader ? event_reader_ack(s->reader, err) : 0;
}

/* ---- records ---- */

struct fetch {
    struct source *s;
    struct batch *b;
    bool marks_lost;
    struct script_call schedules; /* those of this page */
    const char *ids[FETCH_AT_ONCE];
    int64_t at_ms[FETCH_AT_ONCE];
    size_t nids;
};

static void append_record(struct fetch *f, const struct touched *t, struct arena *a)
{
    static const enum key_id keys[] = {[TOUCHED_TASK] = KEY_TASK,
                                       [TOUCHED_INSTANCE] = KEY_INSTANCE,
                                       [TOUCHED_DECISION] = KEY_QUORUM};

    if (t->kind != TOUCHED_SCHEDULE) {
        redis_link_appendv(f->s->link, "HGETALL",
                           keys_make(a, f->s->opts->redis.prefix, keys[t->kind], t->id), NULL);
        return;
    }
    script_call_arg_str(&f->schedules, t->id);
    f->at_ms[f->nids] = t->at_ms;
    f->ids[f->nids++] = t->id;
}

static int take_reply(struct fetch *f, reply_t **ret, struct cb_error *err)
{
    if (redis_link_read(f->s->link, f->s->target.timeout_ms, ret, err) != 0)
        return -1;
    /* A key of another type is a record that is damaged: as good as gone. */
    if (reply_is_error(*ret) && reply_fault(*ret) != REDIS_ERROR)
        return cb_error_set(err, (int)reply_fault(*ret), "%s", reply_str(*ret));
    return 0;
}

static void add_record(struct fetch *f, const struct touched *t, const reply_t *reply)
{
    struct record_end end = t->end;

    switch (t->kind) {
    case TOUCHED_TASK:
        if (t->released_ms)
            record_attempt_end(f->b, t->id, reply, t->released_ms);
        if (record_task(f->b, t->id, reply))
            break;
        end.at_ms = t->at_ms;
        end.is_lost = f->marks_lost;
        record_task_end(f->b, t->id, &end);
        break;
    case TOUCHED_INSTANCE:
        record_instance(f->b, t->id, reply);
        break;
    case TOUCHED_DECISION:
        record_decision(f->b, t->id, reply);
        break;
    case TOUCHED_SCHEDULE:
        break;
    }
}

static int fetch_schedules(struct fetch *f, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;

    if (f->nids == 0)
        return 0;
    if (scripts_run(f->s->link, &f->schedules, &reply, err) != 0)
        return -1;
    for (size_t i = 0; i < f->nids; i++)
        if (!record_schedule(f->b, f->ids[i], reply_at(reply, i)) && f->at_ms[i] > 0)
            record_schedule_end(f->b, f->ids[i], f->at_ms[i]);
    return 0;
}

/* Whether these records are of the generation that we think they are: Redis may have come back with other data. */
static int take_meta(struct fetch *f, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;

    if (take_reply(f, &reply, err) != 0)
        return -1;
    if (strcmp(reply_str(reply_at(reply, 0)), f->s->generation) != 0)
        return cb_error_set(err, REDIS_LOST, "the data in Redis is another one");
    int64_t last = reply_int(reply_at(reply, 1));
    if (last > f->s->last_number)
        f->s->last_number = last;
    return 0;
}

/* One page: what is asked for in one write. */
static int fetch_page(struct fetch *f, struct touched **at, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    struct touched *first = *at, *t = first;
    const char *prefix = f->s->opts->redis.prefix;
    int n = 0, status = 0;

    f->nids = 0;
    script_call_reset(&f->schedules, SCRIPT_ARCHIVE_SCHEDULES);
    script_call_key(&f->schedules, keys_make(&a, prefix, KEY_SCHEDULES));
    script_call_arg_str(&f->schedules, arena_printf(&a, "%s:", prefix));
    for (; t && n < f->s->page; t = t->hh.next, n++)
        append_record(f, t, &a);
    redis_link_appendv(f->s->link, "HMGET", keys_make(&a, prefix, KEY_META), "generation",
                       "last_number", NULL);
    for (struct touched *r = first; r != t && status == 0; r = r->hh.next) {
        reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
        if (r->kind == TOUCHED_SCHEDULE)
            continue;
        status = take_reply(f, &reply, err);
        if (status == 0)
            add_record(f, r, reply);
    }
    if (status == 0)
        status = take_meta(f, err);
    if (status == 0)
        status = fetch_schedules(f, err);
    *at = t;
    return status;
}

static void adapt_page(struct source *s, size_t bytes)
{
    if (bytes > BATCH_BYTES / 2)
        s->page = s->page > 4 ? s->page / 4 : 1;
    else if (s->page < FETCH_AT_ONCE)
        s->page *= 2;
}

int source_fetch(struct source *s, struct touched **at, struct batch *b, bool marks_lost,
                 struct cb_error *err)
{
    struct fetch f = {.s = s, .b = b, .marks_lost = marks_lost};
    int status = 0;

    script_call_init(&f.schedules, SCRIPT_ARCHIVE_SCHEDULES);
    while (*at && status == 0 && b->rows < BATCH_ROWS && b->bytes < BATCH_BYTES) {
        size_t before = b->bytes;
        status = fetch_page(&f, at, err);
        adapt_page(s, b->bytes - before);
    }
    script_call_done(&f.schedules);
    if (status != 0) /* replies may still be due: nobody can tell whose */
        source_drop(s);
    return status;
}

/* ---- how far behind ---- */

struct group_info {
    int64_t pending;
    int64_t lag;
    const char *delivered; /* id of the last event that was given to it */
};

/* What Redis says of our group. */
static bool find_group(const reply_t *groups, struct group_info *ret)
{
    for (size_t i = 0; i < reply_count(groups); i++) {
        const reply_t *row = reply_at(groups, i);
        bool is_ours = false;
        *ret = (struct group_info){.delivered = "0-0"};
        for (size_t j = 0; j + 1 < reply_count(row); j += 2) {
            const char *name = reply_str(reply_at(row, j));
            const reply_t *value = reply_at(row, j + 1);
            if (strcmp(name, "name") == 0)
                is_ours = strcmp(reply_str(value), SOURCE_GROUP) == 0;
            else if (strcmp(name, "pending") == 0)
                ret->pending = reply_int(value);
            else if (strcmp(name, "lag") == 0)
                ret->lag = reply_int(value);
            else if (strcmp(name, "last-delivered-id") == 0)
                ret->delivered = reply_str(value);
        }
        if (is_ours)
            return true;
    }
    return false;
}

/* The oldest event that is not archived. */
static int find_oldest(struct source *s, const char *key, const struct group_info *group,
                       struct stream_id *ret, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    char from[STREAM_ID_SIZE + 1];
    int status;

    snprintf(from, sizeof from, "(%s", group->delivered);
    if (group->pending > 0)
        status = redis_link_callv(s->link, &reply, err, "XPENDING", key, SOURCE_GROUP, "-", "+",
                                  "1", NULL);
    else
        status = redis_link_callv(s->link, &reply, err, "XRANGE", key, from, "+", "COUNT", "1",
                                  NULL);
    if (status == 0 && !stream_id_parse(reply_str(reply_at(reply_at(reply, 0), 0)), ret))
        ret->ms = 0;
    return status;
}

int source_lag(struct source *s, struct source_lag *ret, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena a = ARENA_INIT;
    reply_t *groups CB_CLEANUP(reply_free_ptr) = NULL;
    const char *key = keys_make(&a, s->opts->redis.prefix, KEY_EVENTS);
    struct group_info group;
    struct stream_id oldest = {0, 0};

    *ret = (struct source_lag){0};
    if (redis_link_callv(s->link, &groups, err, "XINFO", "GROUPS", key, NULL) != 0)
        return err->code == REDIS_ERROR ? 0 : -1;
    if (!find_group(groups, &group))
        return 0;
    ret->events = (uint64_t)(group.pending + group.lag);
    ret->has_pending = group.pending > 0;
    stream_id_parse(group.delivered, &ret->delivered);
    if (ret->events == 0)
        return 0;
    if (find_oldest(s, key, &group, &oldest, err) != 0)
        return err->code == REDIS_ERROR || err->code == REDIS_NOGROUP ? 0 : -1;
    if (group.pending == 0 && oldest.ms == 0) {
        ret->events = 0; /* behind a gap Redis counts what is gone as still to come */
        return 0;
    }
    int64_t age = clock_wall_ms() - (int64_t)oldest.ms;
    ret->ms = oldest.ms > 0 && age > 0 ? age : 0;
    return 0;
}
