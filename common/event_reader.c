/*
 * event_reader.c: see event_reader.h. What was read and may be given is in `ready`; each turn of the reader (a page of the
 * stream, a wait) puts some there. `place` is behind all that was read.
 */
#include "common/compat.h"
#include "common/event_reader.h"

#include "common/clock.h"
#include "common/connect.h"
#include "common/event_channel.h"
#include "common/keys.h"
#include "common/mem.h"

#include <fnmatch.h>
#include <poll.h>
#include <utlist.h>

#define PAGE_TEXT "500"
enum {
    PAGE = 500,
    BLOCK_MS = 2000,
    LISTEN_MS = 1000, /* so often the stream is looked at when nothing is told */
    NAP_MS = 200,
};

/* What one consumer of a group is called: whoever reads for the group, one after the other. */
#define CONSUMER "reader"

struct event_reader {
    struct event_reader_config cfg;
    struct arena arena;
    const char *key;
    struct redis_link *link;
    struct event_channel *channel;
    struct event_entry *ready; /* may be given */
    struct event_entry *told;  /* by the channel; behind `place` */
    struct event_entry *given; /* the last one */
    struct event_id place;
    bool has_place;
    bool
        is_entry; /* the stream had an entry of this id: if it has no more, those behind it may have gone, too */
    bool is_at_end;
    bool has_gap;
    struct event_gap gap;
    struct backoff backoff;
    int64_t retry_at_ms;
    int64_t looked_ms; /* at the stream, with channels */

    /* With a group. */
    bool
        is_past_pending; /* what was given to others before and not acknowledged has been given again */
    struct event_id pending_from;
    struct event_id *unacked; /* read, rising */
    size_t nunacked, unacked_cap;
    size_t ndone; /* the first so many of them are done, and Redis does not know yet */
};

/* ---- small parts ---- */

static void list_free(struct event_entry **list)
{
    struct event_entry *e, *next;

    DL_FOREACH_SAFE(*list, e, next)
    {
        DL_DELETE(*list, e);
        event_entry_free(e);
    }
}

static bool is_before(struct event_id a, struct event_id b)
{
    return event_id_compare(a, b) < 0;
}

static bool is_wanted(const struct event_reader *r, const struct event_entry *e)
{
    const char *const *type = r->cfg.types;

    if (!type || !*type)
        return true;
    for (; *type; type++)
        if (fnmatch(*type, e->type, 0) == 0)
            return true;
    return false;
}

static void set_gap(struct event_reader *r, struct event_id after, struct event_id before)
{
    r->has_gap = true;
    r->gap = (struct event_gap){after, before};
}

/* An error reply as the reason of the failure. */
static int check_reply(const reply_t *reply, struct cb_error *err)
{
    if (!reply_is_error(reply))
        return 0;
    return cb_error_set(err, (int)reply_fault(reply), "%s", reply_str(reply));
}

/* ---- what the stream is like ---- */

struct stream_info {
    struct event_id last; /* the last id that was given to any entry */
    struct event_id first_entry, last_entry;
    bool has_entries;
    bool has_lost; /* entries have been removed */
};

static void take_info(const reply_t *r, struct stream_info *ret)
{
    int64_t length = 0, added = -1;

    for (size_t i = 0; i + 1 < reply_count(r); i += 2) {
        const char *name = reply_str(reply_at(r, i));
        const reply_t *value = reply_at(r, i + 1);
        if (strcmp(name, "length") == 0)
            length = reply_int(value);
        else if (strcmp(name, "entries-added") == 0)
            added = reply_int(value);
        else if (strcmp(name, "last-generated-id") == 0)
            event_id_parse(reply_str(value), &ret->last);
        else if (strcmp(name, "first-entry") == 0 && reply_count(value) > 0)
            ret->has_entries = event_id_parse(reply_str(reply_at(value, 0)), &ret->first_entry);
        else if (strcmp(name, "last-entry") == 0 && reply_count(value) > 0)
            event_id_parse(reply_str(reply_at(value, 0)), &ret->last_entry);
    }
    ret->has_lost = added != length;
}

static int read_info(struct event_reader *r, struct stream_info *ret, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct cb_error why = {0};

    *ret = (struct stream_info){.has_entries = false};
    if (redis_link_callv(r->link, &reply, &why, "XINFO", "STREAM", r->key, NULL) == 0) {
        take_info(reply, ret);
        return 0;
    }
    if (why.code == REDIS_ERROR && strstr(why.text, "no such key"))
        return 0; /* as good as empty */
    return cb_error_set(err, why.code, "%s", why.text);
}

/* Have entries behind our place gone that we have not read? `told` has what was told since the connection was made. */
static int look_for_gap(struct event_reader *r, struct cb_error *err)
{
    struct stream_info info;

    if (read_info(r, &info, err) != 0)
        return -1;
    if (!info.has_lost || !is_before(r->place, info.last))
        return 0;
    if (info.has_entries && is_before(r->place, info.first_entry))
        set_gap(r, r->place, info.first_entry);
    else if (!info.has_entries || is_before(info.last_entry, info.last)) {
        /* The newest is not kept (events.transport pubsub): was it told? */
        const struct event_entry *newest = r->told ? r->told->prev : NULL;
        if (!newest || is_before(newest->id, info.last))
            set_gap(r, r->place, info.last);
    }
    return 0;
}

/*
 * A page that does not begin with our place has come, and `first` is its first entry: were those before it removed, while we
 * were slow? Nothing is asked for a page of one: a stream is never trimmed down to that.
 */
static int look_before(struct event_reader *r, struct event_id first, size_t count,
                       struct cb_error *err)
{
    struct stream_info info;

    if (!r->is_entry || count < 2)
        return 0;
    if (read_info(r, &info, err) != 0)
        return -1;
    if (info.has_lost && info.has_entries && !is_before(info.first_entry, first))
        set_gap(r, r->place, first);
    return 0;
}

/* ---- from what was read to what may be given ---- */

/* Moves what was told, up to `until`, to `ready`; `page` (taken) are the stream's events up to there. */
static void release(struct event_reader *r, struct event_entry **page, struct event_id until)
{
    struct event_entry *e, *next;

    DL_FOREACH_SAFE(r->told, e, next)
    {
        if (is_before(until, e->id))
            break;
        DL_DELETE(r->told, e);
        event_list_insert(page, e);
    }
    DL_FOREACH_SAFE(*page, e, next)
    {
        DL_DELETE(*page, e);
        if (is_before(r->place, e->id) && is_wanted(r, e))
            DL_APPEND(r->ready, e);
        else
            event_entry_free(e);
    }
    if (is_before(r->place, until))
        r->place = until;
}

/* Entries of a reply as a list; *ret_last is the last one's id, *ret_count their number. */
static void take_entries(const reply_t *entries, struct event_entry **page,
                         struct event_id *ret_last, size_t *ret_count)
{
    *ret_count = reply_count(entries);
    for (size_t i = 0; i < reply_count(entries); i++) {
        struct event_entry *e = event_entry_from_reply(reply_at(entries, i));
        if (!e)
            continue;
        *ret_last = e->id;
        event_list_insert(page, e);
    }
}

/* ---- the stream alone ---- */

/*
 * A page of the stream from our place to `to` (NULL: the end) is added to *page. It begins with the place itself, so that a
 * page without it tells that the stream has been trimmed beyond it.
 */
static int read_page(struct event_reader *r, const char *to, struct event_entry **page,
                     struct event_id *ret_last, size_t *ret_count, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    char from[EVENT_ID_SIZE];
    bool is_zero = r->place.ms == 0 && r->place.seq == 0;

    event_id_put(r->place, from);
    if (redis_link_callv(r->link, &reply, err, "XRANGE", r->key, from, to ? to : "+", "COUNT",
                         PAGE_TEXT, NULL) != 0)
        return -1;
    *ret_last = r->place;
    take_entries(reply, page, ret_last, ret_count);
    bool has_place = *page && event_id_compare((*page)->id, r->place) == 0;
    if (r->is_entry && !has_place && !is_zero && look_for_gap(r, err) != 0)
        return -1;
    /* Whatever comes next is continuous with what was read now. */
    r->is_entry = *ret_count > 0 && is_before(r->place, *ret_last) ? true
                                                                   : r->is_entry && has_place;
    return 0;
}

static int read_stream_page(struct event_reader *r, struct cb_error *err)
{
    struct event_entry *page = NULL;
    struct event_id last;
    size_t count;

    if (read_page(r, NULL, &page, &last, &count, err) != 0) {
        list_free(&page);
        return -1;
    }
    release(r, &page, last);
    r->is_at_end = count < PAGE;
    return 0;
}

static int open_channels(struct event_reader *r, struct cb_error *err)
{
    if (!r->cfg.has_channels || !r->cfg.is_following || r->cfg.group)
        return 0;
    if (event_channel_open(r->cfg.target, r->cfg.prefix, r->cfg.client_name, r->cfg.go_on,
                           r->cfg.arg, &r->told, &r->channel, err) == 0)
        return 0;
    r->channel = NULL;
    if (err->code != REDIS_AUTH || !r->cfg.can_do_without)
        return -1;
    r->cfg.has_channels = false;
    return 0;
}

/*
 * Nothing came: do events pass by the stream, because events.transport has been changed since we began? Then it listens from
 * now on; those that have passed are said to be missing.
 */
static int look_past_stream(struct event_reader *r, struct cb_error *err)
{
    struct stream_info info;

    if (read_info(r, &info, err) != 0)
        return -1;
    if (!is_before(r->place, info.last) ||
        (info.has_entries && is_before(r->place, info.last_entry)))
        return 0;
    r->cfg.has_channels = true;
    r->cfg.can_do_without = true; /* who may not listen is told what passes at least */
    if (open_channels(r, err) != 0)
        return -1;
    set_gap(r, r->place, info.last);
    r->place = info.last;
    r->is_entry = false;
    return 0;
}

/* Waits for entries behind our place. */
static int block_on_stream(struct event_reader *r, int timeout_ms, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct event_entry *page = NULL;
    struct event_id last = r->place;
    char from[EVENT_ID_SIZE], block[16];
    size_t count;

    int ms = timeout_ms < 1 ? 1 : timeout_ms < BLOCK_MS ? timeout_ms : BLOCK_MS;
    event_id_put(r->place, from);
    snprintf(block, sizeof block, "%d", ms);
    redis_link_appendv(r->link, "XREAD", "COUNT", PAGE_TEXT, "BLOCK", block, "STREAMS", r->key,
                       from, NULL);
    if (redis_link_read(r->link, ms + r->cfg.target->timeout_ms, &reply, err) != 0 ||
        check_reply(reply, err) != 0)
        return -1;
    take_entries(reply_at(reply_at(reply, 0), 1), &page, &last, &count);
    if (count == 0 && r->cfg.is_following)
        return look_past_stream(r, err);
    if (page && look_before(r, page->id, count, err) != 0) {
        list_free(&page);
        return -1;
    }
    if (count > 0)
        r->is_entry = true;
    release(r, &page, last);
    r->is_at_end = count < PAGE;
    return 0;
}

/* ---- with channels ---- */

/* Anybody may publish on the channels: an id that the stream has not given yet is not an event's, and would take our place
 * beyond all that is to come. */
static int drop_untrue(struct event_reader *r, struct cb_error *err)
{
    struct stream_info info;
    struct event_entry *e, *next;

    if (read_info(r, &info, err) != 0)
        return -1;
    DL_FOREACH_SAFE(r->told, e, next)
    {
        if (is_before(info.last, e->id)) {
            DL_DELETE(r->told, e);
            event_entry_free(e);
        }
    }
    return 0;
}

/* What was told says how far the stream is to be read first. */
static int read_up_to_told(struct event_reader *r, struct cb_error *err)
{
    struct event_id newest = r->told->prev->id, last;
    struct event_entry *page = NULL;
    char to[EVENT_ID_SIZE];
    size_t count;

    event_id_put(newest, to);
    if (!is_before(r->place, newest)) { /* all of it is old */
        list_free(&r->told);
        return 0;
    }
    if (read_page(r, to, &page, &last, &count, err) != 0) {
        list_free(&page);
        return -1;
    }
    bool is_last_told = !is_before(last, newest);
    if (count < PAGE && !is_last_told) {
        if (drop_untrue(r, err) != 0) {
            list_free(&page);
            return -1;
        }
        newest = r->told && is_before(last, r->told->prev->id) ? r->told->prev->id : last;
        is_last_told = event_id_compare(newest, last) == 0;
    }
    release(r, &page, count < PAGE ? newest : last);
    if (count < PAGE && !is_last_told)
        r->is_entry = false; /* the newest is in no stream; else read_page() has told */
    return 0;
}

/* Nothing was told for a while: does the stream have something nevertheless? Then all that was told before is fetched, so
 * that nothing of it comes too late. */
static int look_at_stream(struct event_reader *r, struct cb_error *err)
{
    struct event_entry *page = NULL;
    struct event_id last;
    size_t count;

    if (read_page(r, NULL, &page, &last, &count, err) != 0 ||
        event_channel_catch_up(r->channel, &r->told, err) != 0) {
        list_free(&page);
        return -1;
    }
    release(r, &page, last);
    return 0;
}

static int listen_turn(struct event_reader *r, int timeout_ms, struct cb_error *err)
{
    int64_t left = r->looked_ms + LISTEN_MS - clock_mono_ms();
    int ms = left < timeout_ms ? (int)left : timeout_ms;

    if (!r->told && ms > 0 && event_channel_wait(r->channel, ms, &r->told, err) != 0)
        return -1;
    if (r->told)
        return read_up_to_told(r, err);
    if (clock_mono_ms() < r->looked_ms + LISTEN_MS)
        return 0;
    r->looked_ms = clock_mono_ms();
    return look_at_stream(r, err);
}

/* ---- with a group ---- */

static void note_unacked(struct event_reader *r, struct event_id id)
{
    if (r->nunacked == r->unacked_cap) {
        r->unacked_cap = r->unacked_cap ? r->unacked_cap * 2 : PAGE;
        r->unacked = mem_realloc(r->unacked, r->unacked_cap * sizeof *r->unacked);
    }
    r->unacked[r->nunacked++] = id;
}

/* Tells Redis of what is done. */
static int send_acks(struct event_reader *r, struct cb_error *err)
{
    char ids[PAGE][EVENT_ID_SIZE];
    const char *argv[3 + PAGE] = {"XACK", r->key, r->cfg.group};

    while (r->ndone > 0) {
        size_t n = r->ndone < PAGE ? r->ndone : PAGE;
        for (size_t i = 0; i < n; i++) {
            event_id_put(r->unacked[i], ids[i]);
            argv[3 + i] = ids[i];
        }
        if (redis_link_call(r->link, NULL, err, (int)(3 + n), argv, NULL) != 0)
            return -1;
        r->nunacked -= n;
        r->ndone -= n;
        memmove(r->unacked, r->unacked + n, r->nunacked * sizeof *r->unacked);
    }
    return 0;
}

/* Events of the group. What was removed while it was pending has no fields: it is a gap, and acknowledged. */
static void take_group_entries(struct event_reader *r, const reply_t *entries)
{
    for (size_t i = 0; i < reply_count(entries); i++) {
        const reply_t *entry = reply_at(entries, i);
        struct event_entry *e = event_entry_from_reply(entry);
        if (!e)
            continue;
        if (!r->is_past_pending)
            r->pending_from = e->id;
        if (is_before(r->place, e->id)) {
            r->place = e->id;
            r->is_entry = true;
        }
        note_unacked(r, e->id);
        if (e->nfields == 0)
            set_gap(r, r->has_gap ? r->gap.after : e->id, e->id);
        if (e->nfields > 0 && is_wanted(r, e))
            DL_APPEND(r->ready, e);
        else
            event_entry_free(e);
    }
}

static int read_group(struct event_reader *r, int timeout_ms, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    const char *argv[12] = {"XREADGROUP", "GROUP", r->cfg.group, CONSUMER, "COUNT", PAGE_TEXT};
    char from[EVENT_ID_SIZE], block[16];
    int argc = 6, ms = 0;

    if (r->is_past_pending && r->cfg.is_following) {
        ms = timeout_ms < 1 ? 1 : timeout_ms < BLOCK_MS ? timeout_ms : BLOCK_MS;
        snprintf(block, sizeof block, "%d", ms);
        argv[argc++] = "BLOCK";
        argv[argc++] = block;
    }
    event_id_put(r->pending_from, from);
    argv[argc++] = "STREAMS";
    argv[argc++] = r->key;
    argv[argc++] = r->is_past_pending ? ">" : from;
    redis_link_append(r->link, argc, argv, NULL);
    if (redis_link_read(r->link, ms + r->cfg.target->timeout_ms, &reply, err) != 0 ||
        check_reply(reply, err) != 0)
        return -1;
    const reply_t *entries = reply_at(reply_at(reply, 0), 1);
    struct event_id first;
    if (r->is_past_pending &&
        event_id_parse(reply_str(reply_at(reply_at(entries, 0), 0)), &first) &&
        look_before(r, first, reply_count(entries), err) != 0)
        return -1;
    take_group_entries(r, entries);
    r->is_at_end = r->is_past_pending && reply_count(entries) == 0;
    if (reply_count(entries) == 0)
        r->is_past_pending = true;
    return 0;
}

/* ---- the connection ---- */

static void hang_up(struct event_reader *r)
{
    redis_link_free(r->link);
    r->link = NULL;
    event_channel_free(r->channel);
    r->channel = NULL;
    list_free(&r->told);
    if (r->cfg.group)
        list_free(&r->ready); /* not acknowledged: it is given again */
    r->is_at_end = false;
    r->is_past_pending = false;
    r->pending_from = (struct event_id){0, 0};
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

/* The place before `e`. */
static struct event_id id_before(struct event_id id)
{
    if (id.seq > 0)
        return (struct event_id){id.ms, id.seq - 1};
    return id.ms > 0 ? (struct event_id){id.ms - 1, UINT64_MAX} : id;
}

/* Goes back from the end until `last` events that are wanted lie behind the place. */
static int find_last(struct event_reader *r, struct cb_error *err)
{
    struct event_id at = {0, 0};
    char to[EVENT_ID_SIZE] = "+";
    size_t found = 0, count = PAGE;

    while (found < r->cfg.last && count == PAGE) {
        reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
        if (redis_link_callv(r->link, &reply, err, "XREVRANGE", r->key, to, "-", "COUNT", PAGE_TEXT,
                             NULL) != 0)
            return -1;
        count = reply_count(reply);
        for (size_t i = 0; i < count && found < r->cfg.last; i++) {
            struct event_entry *e = event_entry_from_reply(reply_at(reply, i));
            if (e) {
                at = id_before(e->id);
                found += is_wanted(r, e);
            }
            event_entry_free(e);
        }
        event_id_put(at, to);
    }
    r->place = found < r->cfg.last ? (struct event_id){0, 0} : at;
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
    if (read_info(r, &info, err) != 0)
        return -1;
    r->place = info.last;
    r->is_entry = info.has_entries && event_id_compare(info.last, info.last_entry) == 0;
    r->has_place = true;
    return 0;
}

/* Listening begins before the stream is read, so that nothing falls between. */
static int connect_all(struct event_reader *r, struct cb_error *err)
{
    if (open_link(r, err) != 0)
        return -1;
    if (open_channels(r, err) != 0)
        return -1;
    bool had_place = r->has_place;
    if (find_place(r, err) != 0)
        return -1;
    bool is_beginning = r->place.ms == 0 && r->place.seq == 0;
    /* What was removed while nobody listened, of a place that is somebody's word or was in no stream. */
    bool is_asked = !r->is_entry || r->channel || r->cfg.group;
    if (had_place && is_asked && !is_beginning && look_for_gap(r, err) != 0)
        return -1;
    return r->cfg.group ? send_acks(r, err) : 0;
}

/* A group that is not known comes as REDIS_NOGROUP. */
static enum event_reader_said failed(struct event_reader *r, struct cb_error *err)
{
    bool is_final = err->code == REDIS_AUTH || err->code == REDIS_ERROR ||
                    err->code == REDIS_NOGROUP;

    hang_up(r);
    r->retry_at_ms = clock_mono_ms() + backoff_next_full_jitter(&r->backoff);
    return is_final ? EVENT_DENIED : EVENT_LOST;
}

/* ---- interface ---- */

struct event_reader *event_reader_new(const struct event_reader_config *config)
{
    struct event_reader *r = mem_alloc(sizeof *r);

    r->cfg = *config;
    r->key = keys_make(&r->arena, config->prefix, KEY_EVENTS);
    r->has_place = config->since && event_id_parse(config->since, &r->place);
    connect_backoff(config->target, CONNECT_CLIENT, &r->backoff);
    connect_backoff_idle(config->target, config->is_following, &r->backoff);
    return r;
}

void event_reader_free(struct event_reader *r)
{
    if (!r)
        return;
    hang_up(r);
    list_free(&r->ready);
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
    int status;
    if (r->cfg.group)
        status = read_group(r, timeout_ms, err);
    else if (!r->is_at_end)
        status = read_stream_page(r, err);
    else
        status = r->channel ? listen_turn(r, timeout_ms, err) : block_on_stream(r, timeout_ms, err);
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

static int tell_done(struct event_reader *r, struct cb_error *err)
{
    struct cb_error why = {0};

    if (r->ndone == 0)
        return 0;
    if (!r->link)
        return cb_error_set(err, REDIS_LOST, "not connected");
    if (send_acks(r, &why) == 0)
        return 0;
    hang_up(r);
    return cb_error_set(err, why.code, "%s", why.text);
}

int event_reader_ack(struct event_reader *r, struct cb_error *err)
{
    if (!r->cfg.group)
        return 0;
    while (r->ndone < r->nunacked && (!r->ready || is_before(r->unacked[r->ndone], r->ready->id)))
        r->ndone++;
    return tell_done(r, err);
}

int event_reader_ack_upto(struct event_reader *r, struct event_id upto, struct cb_error *err)
{
    while (r->ndone < r->nunacked && !is_before(upto, r->unacked[r->ndone]))
        r->ndone++;
    return tell_done(r, err);
}

bool event_reader_place(const struct event_reader *r, struct event_id *ret)
{
    if (r->has_place)
        *ret = r->place;
    return r->has_place;
}
