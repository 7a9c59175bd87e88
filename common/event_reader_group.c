/*
 * event_reader_group.c: reading for a group, whose place Redis keeps: what was given and not acknowledged is given again. See
 * event_reader_int.h.
 */
#include "common/compat.h"
#include "common/event_reader_int.h"

#include "common/mem.h"

#include <utlist.h>

/* What one consumer of a group is called: whoever reads for the group, one after the other. */
#define CONSUMER "reader"

/* ---- reading ---- */

static void note_unacked(struct event_reader *r, struct stream_id id, bool is_passed)
{
    if (r->nunacked == r->unacked_cap) {
        r->unacked_cap = r->unacked_cap ? r->unacked_cap * 2 : EVENT_READER_PAGE;
        r->unacked = mem_realloc(r->unacked, r->unacked_cap * sizeof *r->unacked);
    }
    r->unacked[r->nunacked++] = (struct unacked_event){id, is_passed};
}

/* What nobody wanted is done as soon as all before it is; else a reader for whom nothing comes would keep all that has passed by. */
static void pass_over(struct event_reader *r)
{
    while (r->ndone < r->nunacked && r->unacked[r->ndone].is_passed)
        r->ndone++;
}

/* Tells Redis of what is done. */
int event_reader_send_acks(struct event_reader *r, struct cb_error *err)
{
    char ids[EVENT_READER_PAGE][STREAM_ID_SIZE];
    const char *argv[3 + EVENT_READER_PAGE] = {"XACK", r->key, r->cfg.group};

    while (r->ndone > 0) {
        size_t n = r->ndone < EVENT_READER_PAGE ? r->ndone : EVENT_READER_PAGE;
        for (size_t i = 0; i < n; i++) {
            stream_id_put(r->unacked[i].id, ids[i]);
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
        bool is_wanted = e->nfields > 0 && event_reader_is_wanted(r, e);
        r->read_upto = e->id;
        if (is_before(r->place, e->id)) {
            r->place = e->id;
            r->is_entry = true;
        }
        note_unacked(r, e->id, e->nfields > 0 && !is_wanted);
        if (e->nfields == 0)
            event_reader_set_gap(r, r->has_gap ? r->gap.after : e->id, e->id);
        if (is_wanted)
            DL_APPEND(r->ready, e);
        else
            event_entry_free(e);
    }
}

int event_reader_group_turn(struct event_reader *r, int timeout_ms, struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    const char *argv[12] = {"XREADGROUP", "GROUP", r->cfg.group,
                            CONSUMER,     "COUNT", EVENT_READER_PAGE_TEXT};
    char from[STREAM_ID_SIZE], block[16];
    int argc = 6, ms = 0;

    if (r->is_past_pending && r->cfg.is_following) {
        ms = event_reader_block_ms(timeout_ms);
        snprintf(block, sizeof block, "%d", ms);
        argv[argc++] = "BLOCK";
        argv[argc++] = block;
    }
    stream_id_put(r->read_upto, from);
    argv[argc++] = "STREAMS";
    argv[argc++] = r->key;
    argv[argc++] = r->is_past_pending ? ">" : from;
    redis_link_append(r->link, argc, argv, NULL);
    const reply_t *entries;
    if (redis_link_read(r->link, ms + r->cfg.target->timeout_ms, &reply, err) != 0 ||
        event_reader_take_read(reply, r->read_upto, ms > 0, &entries, err) != 0)
        return -1;
    struct stream_id first;
    if (r->is_past_pending &&
        stream_id_parse(reply_str(reply_at(reply_at(entries, 0), 0)), &first) &&
        event_reader_look_before(r, first, reply_count(entries), err) != 0)
        return -1;
    if (r->is_past_pending && reply_count(entries) > 0)
        r->is_looked_at = false;
    take_group_entries(r, entries);
    r->is_at_end = r->is_past_pending && reply_count(entries) == 0;
    if (reply_count(entries) == 0)
        r->is_past_pending = true;
    pass_over(r);
    return event_reader_send_acks(r, err);
}

/* ---- interface ---- */

static int tell_done(struct event_reader *r, struct cb_error *err)
{
    struct cb_error why = {0};

    if (r->ndone == 0)
        return 0;
    if (!r->link)
        return cb_error_set(err, REDIS_LOST, "not connected");
    if (event_reader_send_acks(r, &why) == 0)
        return 0;
    event_reader_hang_up(r);
    return cb_error_set(err, why.code, "%s", why.text);
}

int event_reader_ack(struct event_reader *r, struct cb_error *err)
{
    if (!r->cfg.group)
        return 0;
    while (r->ndone < r->nunacked &&
           (!r->ready || is_before(r->unacked[r->ndone].id, r->ready->id)))
        r->ndone++;
    return tell_done(r, err);
}

int event_reader_ack_upto(struct event_reader *r, struct stream_id upto, struct cb_error *err)
{
    while (r->ndone < r->nunacked && !is_before(upto, r->unacked[r->ndone].id))
        r->ndone++;
    pass_over(r);
    return tell_done(r, err);
}
