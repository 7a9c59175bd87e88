/*
 * event_reader_stream.c: the stream of events, page by page, and the channels on which they are told: one order is made of both, and
 * what has gone before it was read is noticed. See event_reader_int.h.
 */
#include "common/compat.h"
#include "common/event_reader_int.h"

#include "common/clock.h"

#include <fnmatch.h>
#include <utlist.h>

enum { LISTEN_MS = 1000 }; /* so often the stream is looked at when nothing is told */

/* ---- small parts ---- */

void event_reader_list_free(struct event_entry **list)
{
    struct event_entry *e, *next;

    DL_FOREACH_SAFE(*list, e, next)
    {
        DL_DELETE(*list, e);
        event_entry_free(e);
    }
}

bool event_reader_is_wanted(const struct event_reader *r, const struct event_entry *e)
{
    const char *const *type = r->cfg.types;

    if (!type || !*type)
        return true;
    for (; *type; type++)
        if (fnmatch(*type, e->type, 0) == 0)
            return true;
    return false;
}

void event_reader_set_gap(struct event_reader *r, struct stream_id after, struct stream_id before)
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

/* The entries of a page are at most as many as were asked for, have ids, and these rise from behind `after`. Of any other page events
 * would be given twice or never, or it would be asked for again and again. */
static int check_page(const reply_t *entries, struct stream_id after, struct cb_error *err)
{
    bool is_good = reply_count(entries) <= EVENT_READER_PAGE;

    for (size_t i = 0; is_good && i < reply_count(entries); i++) {
        struct stream_id id;
        is_good = stream_id_parse(reply_str(reply_at(reply_at(entries, i), 0)), &id) &&
                  is_before(after, id);
        after = id;
    }
    return is_good ? 0 : cb_error_set(err, REDIS_PROTOCOL, EVENT_READER_ODD_PAGE);
}

int event_reader_take_read(const reply_t *reply, struct stream_id after, bool was_blocking,
                           const reply_t **ret_entries, struct cb_error *err)
{
    *ret_entries = reply_at(reply_at(reply, 0), 1);
    if (check_reply(reply, err) != 0)
        return -1;
    if (was_blocking && reply_type(reply) != REPLY_NIL && reply_count(*ret_entries) == 0)
        return cb_error_set(err, REDIS_PROTOCOL, "protocol error: it has not waited for events");
    return check_page(*ret_entries, after, err);
}

/* ---- what the stream is like ---- */

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
            stream_id_parse(reply_str(value), &ret->last);
        else if (strcmp(name, "first-entry") == 0 && reply_count(value) > 0)
            ret->has_entries = stream_id_parse(reply_str(reply_at(value, 0)), &ret->first_entry);
        else if (strcmp(name, "last-entry") == 0 && reply_count(value) > 0)
            stream_id_parse(reply_str(reply_at(value, 0)), &ret->last_entry);
    }
    ret->has_lost = added != length;
}

int event_reader_info(struct event_reader *r, struct stream_info *ret, struct cb_error *err)
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
int event_reader_look_for_gap(struct event_reader *r, struct cb_error *err)
{
    struct stream_info info;

    if (event_reader_info(r, &info, err) != 0)
        return -1;
    event_reader_note_look(r, &info);
    if (!info.has_lost || !is_before(r->place, info.last))
        return 0;
    if (info.has_entries && is_before(r->place, info.first_entry))
        event_reader_set_gap(r, r->place, info.first_entry);
    else if (!info.has_entries || is_before(info.last_entry, info.last)) {
        /* The newest is not kept (events.transport pubsub): was it told? */
        const struct event_entry *newest = r->told ? r->told->prev : NULL;
        if (!newest || is_before(newest->id, info.last))
            event_reader_set_gap(r, r->place, info.last);
    }
    return 0;
}

/* The page begins where the stream began at the last look. */
static bool is_all_told(const struct event_reader *r, struct stream_id first)
{
    return r->is_looked_at && stream_id_compare(r->first_seen, first) == 0;
}

/*
 * A page that does not begin with our place has come, and `first` is its first entry: were those before it removed, while we
 * were slow? Nothing is asked for a page of one: a stream is never trimmed down to that.
 */
int event_reader_look_before(struct event_reader *r, struct stream_id first, size_t count,
                             struct cb_error *err)
{
    struct stream_info info;

    if ((!r->is_entry && !r->is_looked_at) || count < 2 || is_all_told(r, first) ||
        !is_before(r->place, first)) /* a group may be set back */
        return 0;
    if (event_reader_info(r, &info, err) != 0)
        return -1;
    if (info.has_lost && info.has_entries && !is_before(info.first_entry, first))
        event_reader_set_gap(r, r->place, first);
    return 0;
}

/* ---- from what was read to what may be given ---- */

/* Moves what was told, up to `until`, to `ready`; `page` (taken) are the stream's events up to there. */
static void release(struct event_reader *r, struct event_entry **page, struct stream_id until)
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
        if (is_before(r->place, e->id) && event_reader_is_wanted(r, e))
            DL_APPEND(r->ready, e);
        else
            event_entry_free(e);
    }
    if (is_before(r->place, until))
        r->place = until;
}

/* Entries of a checked reply as a list; *ret_last is the last one's id, *ret_count their number. */
static void take_entries(const reply_t *entries, struct event_entry **page,
                         struct stream_id *ret_last, size_t *ret_count)
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

/* The page does not begin with our place. */
static int look_behind_page(struct event_reader *r, const struct event_entry *page, size_t count,
                            struct cb_error *err)
{
    if (r->is_entry)
        return page && is_all_told(r, page->id) ? 0 : event_reader_look_for_gap(r, err);
    return page ? event_reader_look_before(r, page->id, count, err) : 0;
}

/*
 * A page of the stream from our place to `to` (NULL: the end) is added to *page. It begins with the place itself, so that a
 * page without it tells that the stream has been trimmed beyond it.
 */
static int read_page(struct event_reader *r, const char *to, struct event_entry **page,
                     struct stream_id *ret_last, size_t *ret_count, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    char from[STREAM_ID_SIZE];

    stream_id_put(r->place, from);
    if (redis_link_callv(r->link, &reply, err, "XRANGE", r->key, from, to ? to : "+", "COUNT",
                         EVENT_READER_PAGE_TEXT, NULL) != 0 ||
        check_page(reply, stream_id_before(r->place), err) != 0)
        return -1;
    *ret_last = r->place;
    take_entries(reply, page, ret_last, ret_count);
    struct stream_id most;
    if (to && stream_id_parse(to, &most) && is_before(most, *ret_last))
        return cb_error_set(err, REDIS_PROTOCOL, EVENT_READER_ODD_PAGE);
    bool has_place = *page && stream_id_compare((*page)->id, r->place) == 0;
    if (!has_place && !is_zero(r->place) && look_behind_page(r, *page, *ret_count, err) != 0)
        return -1;
    /* Whatever comes next is continuous with what was read now. */
    r->is_entry = has_place || *ret_count > 0;
    r->is_looked_at = r->is_looked_at && *ret_count == 0;
    return 0;
}

/* All that was told before what was just read from the stream: behind it, it would come too late. */
static int catch_up(struct event_reader *r, struct cb_error *err)
{
    return r->channel ? event_channel_catch_up(r->channel, &r->told, err) : 0;
}

static int read_stream_page(struct event_reader *r, struct cb_error *err)
{
    struct event_entry *page = NULL;
    struct stream_id last;
    size_t count;

    if (read_page(r, NULL, &page, &last, &count, err) != 0 || catch_up(r, err) != 0) {
        event_reader_list_free(&page);
        return -1;
    }
    release(r, &page, last);
    r->is_at_end = count < EVENT_READER_PAGE;
    return 0;
}

int event_reader_open_channels(struct event_reader *r, struct cb_error *err)
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

    if (event_reader_info(r, &info, err) != 0)
        return -1;
    if (!is_before(r->place, info.last) ||
        (info.has_entries && is_before(r->place, info.last_entry)))
        return 0;
    r->cfg.has_channels = true;
    r->cfg.can_do_without = true; /* who may not listen is told what passes at least */
    if (event_reader_open_channels(r, err) != 0)
        return -1;
    event_reader_set_gap(r, r->place, info.last);
    r->place = info.last;
    r->is_entry = false;
    event_reader_note_look(r, &info);
    return 0;
}

/* Waits for entries behind our place. */
static int block_on_stream(struct event_reader *r, int timeout_ms, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct event_entry *page = NULL;
    struct stream_id last = r->place;
    char from[STREAM_ID_SIZE], block[16];
    const reply_t *entries;
    size_t count;

    int ms = event_reader_block_ms(timeout_ms);
    stream_id_put(r->place, from);
    snprintf(block, sizeof block, "%d", ms);
    redis_link_appendv(r->link, "XREAD", "COUNT", EVENT_READER_PAGE_TEXT, "BLOCK", block, "STREAMS",
                       r->key, from, NULL);
    if (redis_link_read(r->link, ms + r->cfg.target->timeout_ms, &reply, err) != 0 ||
        event_reader_take_read(reply, r->place, true, &entries, err) != 0)
        return -1;
    take_entries(entries, &page, &last, &count);
    if (count == 0 && r->cfg.is_following)
        return look_past_stream(r, err);
    if (page && event_reader_look_before(r, page->id, count, err) != 0) {
        event_reader_list_free(&page);
        return -1;
    }
    if (count > 0) {
        r->is_entry = true;
        r->is_looked_at = false;
    }
    release(r, &page, last);
    r->is_at_end = count < EVENT_READER_PAGE;
    return 0;
}

/* ---- with channels ---- */

/* Anybody may publish on the channels: an id that the stream has not given yet is not an event's, and would take our place
 * beyond all that is to come. If the stream began no later than at our place, and does so no more, others behind it
 * may have gone, too. */
static int drop_untrue(struct event_reader *r, bool had_place, struct cb_error *err)
{
    struct stream_info info;
    struct event_entry *e, *next;

    if (event_reader_info(r, &info, err) != 0)
        return -1;
    bool began_before = had_place || (r->is_looked_at && !is_before(r->place, r->first_seen));
    event_reader_note_look(r, &info);
    if (began_before && info.has_entries && is_before(r->place, info.first_entry))
        event_reader_set_gap(r, r->place, info.first_entry);
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
    struct stream_id newest = r->told->prev->id, last;
    struct event_entry *page = NULL;
    char to[STREAM_ID_SIZE];
    size_t count;

    stream_id_put(newest, to);
    if (!is_before(r->place, newest)) { /* all of it is old */
        event_reader_list_free(&r->told);
        return 0;
    }
    if (read_page(r, to, &page, &last, &count, err) != 0) {
        event_reader_list_free(&page);
        return -1;
    }
    bool is_last_told = !is_before(last, newest);
    if (count < EVENT_READER_PAGE && !is_last_told) {
        bool had_place = page && stream_id_compare(page->id, r->place) == 0;
        if (drop_untrue(r, had_place, err) != 0) {
            event_reader_list_free(&page);
            return -1;
        }
        newest = r->told && is_before(last, r->told->prev->id) ? r->told->prev->id : last;
        is_last_told = stream_id_compare(newest, last) == 0;
    }
    release(r, &page, count < EVENT_READER_PAGE ? newest : last);
    if (count < EVENT_READER_PAGE && !is_last_told)
        r->is_entry = false; /* the newest is in no stream; else read_page() has told */
    return 0;
}

/* Nothing was told for a while: does the stream have something nevertheless? */
static int look_at_stream(struct event_reader *r, struct cb_error *err)
{
    struct event_entry *page = NULL;
    struct stream_id last;
    size_t count;

    if (read_page(r, NULL, &page, &last, &count, err) != 0 || catch_up(r, err) != 0) {
        event_reader_list_free(&page);
        return -1;
    }
    release(r, &page, last);
    if (count == EVENT_READER_PAGE) /* there is more */
        r->looked_ms -= LISTEN_MS;
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

/* ---- interface ---- */

int event_reader_stream_turn(struct event_reader *r, int timeout_ms, struct cb_error *err)
{
    if (!r->is_at_end)
        return read_stream_page(r, err);
    return r->channel ? listen_turn(r, timeout_ms, err) : block_on_stream(r, timeout_ms, err);
}
