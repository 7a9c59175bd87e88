/*
 * event_reader.c: see event_reader.h: where the reader begins, its connection and its turns. The parts are told of in event_reader_int.h.
 */
#include "common/compat.h"
#include "common/event_reader_int.h"

#include "common/clock.h"
#include "common/connect.h"
#include "common/keys.h"
#include "common/mem.h"

#include <poll.h>
#include <utlist.h>

enum { NAP_MS = 200 };

/* ---- the connection ---- */

void event_reader_hang_up(struct event_reader *r)
{
    redis_link_free(r->link);
    r->link = NULL;
    event_channel_free(r->channel);
    r->channel = NULL;
    event_reader_list_free(&r->told);
    if (r->cfg.group)
        event_reader_list_free(&r->ready); /* not acknowledged: it is given again */
    r->is_at_end = false;
    r->is_looked_at = false;
    r->is_past_pending = false;
    r->read_upto = (struct stream_id){0, 0};
    r->nunacked = r->ndone; /* the others are given again */
}

static int open_link(struct event_reader *r, struct cb_error *err)
{
    if (redis_link_start(r->cfg.target, r->cfg.client_name, &r->link, err) != 0) {
        r->link = NULL;
        return -1;
    }
    redis_link_set_idle(r->link, r->cfg.go_on, r->cfg.arg);
    return redis_link_await(r->link, err);
}

/* Goes back from the end until `last` events that are wanted lie behind the place. */
static int find_last(struct event_reader *r, struct cb_error *err)
{
    struct stream_id at = {UINT64_MAX, UINT64_MAX};
    char to[STREAM_ID_SIZE] = "+";
    size_t found = 0, count = EVENT_READER_PAGE;

    while (found < r->cfg.last && count == EVENT_READER_PAGE) {
        reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
        if (redis_link_callv(r->link, &reply, err, "XREVRANGE", r->key, to, "-", "COUNT",
                             EVENT_READER_PAGE_TEXT, NULL) != 0)
            return -1;
        count = reply_count(reply);
        for (size_t i = 0; i < count && found < r->cfg.last; i++) {
            struct event_entry *e = event_entry_from_reply(reply_at(reply, i));
            if (!e || is_before(at, e->id) || is_zero(e->id)) {
                event_entry_free(e);
                return cb_error_set(err, REDIS_PROTOCOL, EVENT_READER_ODD_PAGE);
            }
            at = stream_id_before(e->id);
            found += event_reader_is_wanted(r, e);
            event_entry_free(e);
        }
        stream_id_put(at, to);
    }
    r->place = found < r->cfg.last ? (struct stream_id){0, 0} : at;
    r->has_place = true;
    return 0;
}

/* Where nobody has said: behind the newest event, or a few before. With channels they are open already. */
static int find_place(struct event_reader *r, struct cb_error *err)
{
    struct stream_info info;

    if (r->has_place)
        return 0;
    if (r->cfg.last > 0)
        return find_last(r, err);
    if (event_reader_info(r, &info, err) != 0)
        return -1;
    r->place = info.last;
    event_reader_note_look(r, &info);
    r->is_entry = info.has_entries && stream_id_compare(info.last, info.last_entry) == 0;
    r->has_place = true;
    return 0;
}

/* Listening begins before the stream is read, so that nothing falls between. */
static int connect_all(struct event_reader *r, struct cb_error *err)
{
    if (open_link(r, err) != 0)
        return -1;
    if (event_reader_open_channels(r, err) != 0)
        return -1;
    bool had_place = r->has_place;
    if (find_place(r, err) != 0)
        return -1;
    bool is_beginning = is_zero(r->place);
    /* What was removed while nobody listened, of a place that is somebody's word or was in no stream. */
    bool is_asked = !r->is_entry || r->channel || r->cfg.group;
    if (had_place && is_asked && !is_beginning && event_reader_look_for_gap(r, err) != 0)
        return -1;
    return r->cfg.group ? event_reader_send_acks(r, err) : 0;
}

/* A group that is not known comes as REDIS_NOGROUP. */
static enum event_reader_said failed(struct event_reader *r, struct cb_error *err)
{
    bool is_final = err->code == REDIS_AUTH || err->code == REDIS_ERROR ||
                    err->code == REDIS_NOGROUP;

    event_reader_hang_up(r);
    r->retry_at_ms = clock_mono_ms() + backoff_next_full_jitter(&r->backoff);
    return is_final ? EVENT_DENIED : EVENT_LOST;
}

/* ---- interface ---- */

struct event_reader *event_reader_new(const struct event_reader_config *config)
{
    struct event_reader *r = mem_alloc(sizeof *r);

    r->cfg = *config;
    r->key = keys_make(&r->arena, config->prefix, KEY_EVENTS);
    r->has_place = config->since && stream_id_parse(config->since, &r->place);
    connect_backoff(config->target, CONNECT_CLIENT, &r->backoff);
    connect_backoff_idle(config->target, config->is_following, &r->backoff);
    return r;
}

void event_reader_free(struct event_reader *r)
{
    if (!r)
        return;
    event_reader_hang_up(r);
    event_reader_list_free(&r->ready);
    event_entry_free(r->given);
    free(r->unacked);
    arena_done(&r->arena);
    free(r);
}

static bool may_go_on(const struct event_reader *r)
{
    return !r->cfg.go_on || r->cfg.go_on(r->cfg.arg);
}

/* One step: a connection, or a page, or a wait. Returns 0, or -1 with *err. */
static int take_turn(struct event_reader *r, int timeout_ms, struct cb_error *err)
{
    int64_t pause = r->retry_at_ms - clock_mono_ms();

    if (!r->link && r->retry_at_ms && pause > 0) {
        pause = pause < timeout_ms ? pause : timeout_ms;
        poll(NULL, 0, (int)(pause < NAP_MS ? pause : NAP_MS));
        return 0;
    }
    if (!r->link)
        return connect_all(r, err);
    int status = r->cfg.group ? event_reader_group_turn(r, timeout_ms, err)
                              : event_reader_stream_turn(r, timeout_ms, err);
    if (status == 0)
        backoff_reset(&r->backoff);
    return status;
}

static bool give(struct event_reader *r, const struct event_entry **ret_event)
{
    if (!r->ready)
        return false;
    event_entry_free(r->given);
    r->given = r->ready;
    DL_DELETE(r->ready, r->given);
    *ret_event = r->given;
    return true;
}

static bool is_over(const struct event_reader *r)
{
    return r->link && r->is_at_end && !r->cfg.is_following;
}

enum event_reader_said event_reader_next(struct event_reader *r, int timeout_ms,
                                         const struct event_entry **ret_event,
                                         struct event_gap *ret_gap, struct cb_error *err)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    int64_t left = timeout_ms;

    for (;;) {
        if (r->has_gap) {
            r->has_gap = false;
            *ret_gap = r->gap;
            return EVENT_GAP;
        }
        if (give(r, ret_event))
            return EVENT_GIVEN;
        if (is_over(r))
            return EVENT_END;
        if (left < 0 || !may_go_on(r))
            return EVENT_NOTHING;
        if (take_turn(r, (int)left, err) != 0) {
            enum event_reader_said said = failed(r, err);
            return may_go_on(r) ? said : EVENT_NOTHING;
        }
        left = until - clock_mono_ms();
        if (left <= 0 && !r->ready && !r->has_gap && !is_over(r))
            return EVENT_NOTHING;
    }
}

bool event_reader_has_more(const struct event_reader *r)
{
    return r->ready != NULL;
}

bool event_reader_is_connected(const struct event_reader *r)
{
    return r->link != NULL;
}

bool event_reader_place(const struct event_reader *r, struct stream_id *ret)
{
    if (r->has_place)
        *ret = r->place;
    return r->has_place;
}
