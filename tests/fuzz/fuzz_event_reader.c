/*
 * fuzz_event_reader.c: any replies and messages to the event reader (common/event_reader.h): pages that do not go on or go back,
 * ids that are none, XINFO that contradicts them, messages of anybody.
 *
 * The bits of the first byte say how it reads (below); what follows is RESP: one reply for each command, whichever connection sent
 * it. What comes when nobody has asked is told to the one that listens, whose PINGs are answered of themselves. The status LOST stands for a
 * lost connection. Time goes on only while it waits.
 *
 * Whatever comes: events come once and in the order of their ids (with a group: over one connection), of the wanted types; a
 * gap's ends are in order and behind what was given; nothing is acknowledged that was not given; what is kept is bounded; and a server
 * that says the same for ever is not asked for ever.
 */
#include "common/compat.h"
#include "common/event_reader_int.h"

#include "common/clock.h"
#include "tests/fuzz/fake_link.h"
#include "tests/fuzz/feed.h"

#include <utlist.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
    IS_FOLLOWING = 1,
    HAS_CHANNELS = 2,
    HAS_GROUP = 4,
    HAS_TYPES = 8,
    HAS_LAST = 16,
    HAS_SINCE = 32,
    IS_ENDLESS = 64, /* the replies come again and again */
    IS_ACKED_BY_ID = 128,
};
enum { CALLS_MAX = 2000, TIMEOUT_MS = 1000, WAIT_MS = 50, LOSSES_MAX = 20, UNASKED_MAX = 64 };

struct input {
    const char *at;
    size_t len;
    unsigned how;
    struct redis_link_reader reader;
    reply_t *next;
    size_t replies; /* in all of the input, as far as they were read */
    bool is_over, is_again;
    unsigned pings; /* of the connection that listens, unanswered */
    int block_ms;   /* of the last command; -1: none */
    size_t asked;   /* at one moment */
    struct event_reader *r;
    struct stream_id held; /* given, and not to be acknowledged yet */
    struct stream_id last; /* given or passed over by a gap */
    unsigned opened;
};

/* ---- the replies ---- */

static void begin_again(struct input *in)
{
    redis_link_reader_done(&in->reader);
    redis_link_reader_init(&in->reader);
    feed(&in->reader, in->at, in->len);
}

/* What comes next stays there. */
static const reply_t *peek(struct input *in)
{
    if (in->next || in->is_over)
        return in->next;
    bool is_bad = redis_link_reader_next(&in->reader, &in->next, NULL) != 0;
    in->replies += in->next && !in->is_again;
    if (in->next)
        return in->next;
    in->is_over = is_bad || !(in->how & IS_ENDLESS) || in->replies == 0;
    in->is_again = true;
    if (in->is_over)
        return NULL;
    begin_again(in);
    return peek(in);
}

static bool is_lost(const reply_t *reply)
{
    return reply_type(reply) == REPLY_STATUS && strcmp(reply_str(reply), "LOST") == 0;
}

static bool is_message(const reply_t *reply)
{
    return strcmp(reply_str(reply_at(reply, 0)), "pmessage") == 0;
}

static void pass_time(struct input *in, int ms)
{
    clock_fake_advance_us((int64_t)ms * 1000);
    in->asked = 0;
}

/* Gives it, unless it says that the connection is lost. */
static bool give_next(struct input *in, struct redis_link *link)
{
    reply_t *reply = in->next;

    if (is_lost(reply)) {
        reply_free_ptr(&in->next);
        return false;
    }
    if (fake_link_give(link, reply))
        in->next = NULL;
    return true;
}

static reply_t *make_pong(void)
{
    static const char pong[] = "*2\r\n$4\r\npong\r\n$0\r\n\r\n";
    struct redis_link_reader reader;
    reply_t *reply = NULL;

    redis_link_reader_init(&reader);
    feed(&reader, pong, sizeof pong - 1);
    cb_assert(redis_link_reader_next(&reader, &reply, NULL) == 0 && reply);
    redis_link_reader_done(&reader);
    return reply;
}

/* A message may come before the answer to a PING. */
static bool tell(struct input *in, struct redis_link *link)
{
    const reply_t *reply = peek(in);

    if (in->pings > 0) {
        in->pings--;
        if (is_message(reply))
            give_next(in, link);
        reply_t *pong = make_pong();
        if (!fake_link_give(link, pong))
            reply_free(pong);
        return true;
    }
    pass_time(in, WAIT_MS);
    return !reply || give_next(in, link);
}

static bool next_reply(void *arg, struct redis_link *link)
{
    struct input *in = arg;

    if (fake_link_is_listening(link))
        return tell(in, link);
    if (!peek(in))
        return false;
    if (in->block_ms >= 0 && reply_type(in->next) == REPLY_NIL)
        pass_time(in, in->block_ms);
    return give_next(in, link);
}

/* ---- the commands ---- */

static bool is_ready(const struct event_reader *r, struct stream_id id)
{
    const struct event_entry *e;

    DL_FOREACH (r->ready, e)
        if (stream_id_compare(e->id, id) == 0)
            return true;
    return false;
}

static void check_ack(const struct input *in, int argc, const char *const *argv)
{
    for (int i = 3; i < argc; i++) {
        struct stream_id id;
        cb_assert(stream_id_parse(argv[i], &id));
        cb_assert(!is_ready(in->r, id) && stream_id_compare(id, in->held) != 0);
    }
}

static void take_command(void *arg, struct redis_link *link, int argc, const char *const *argv,
                         const size_t *lens)
{
    struct input *in = arg;

    (void)lens;
    if (fake_link_is_listening(link)) {
        in->pings += strcmp(argv[0], "PING") == 0;
        return;
    }
    in->block_ms = -1;
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "BLOCK") == 0)
            in->block_ms = (int)strtol(argv[i + 1], NULL, 10);
    cb_assert(in->block_ms != 0); /* for ever */
    cb_assert(in->asked++ <= 2 * in->replies + UNASKED_MAX);
    if (strcmp(argv[0], "XACK") == 0)
        check_ack(in, argc, argv);
}

/* ---- the reader ---- */

static void check_order(struct input *in, struct stream_id id)
{
    if (in->how & HAS_GROUP && in->opened != fake_server.opened)
        in->last = (struct stream_id){0, 0};
    in->opened = fake_server.opened;
    cb_assert(is_before(in->last, id));
    in->last = id;
}

static void check_event(struct input *in, const struct event_entry *e)
{
    check_order(in, e->id);
    cb_assert(!(in->how & HAS_TYPES) || strncmp(e->type, "task.", 5) == 0);
    for (size_t i = 0; i < e->nfields; i++) {
        cb_assert(e->fields[i].name[e->fields[i].name_len] == '\0');
        cb_assert(e->fields[i].value[e->fields[i].value_len] == '\0');
    }
}

static void check_gap(struct input *in, const struct event_gap *gap)
{
    cb_assert(!is_before(gap->before, gap->after));
    if (in->how & HAS_GROUP)
        return;
    cb_assert(is_before(gap->after, gap->before));
    cb_assert(!is_before(gap->after, in->last));
    in->last = gap->after;
}

static void check_kept(const struct input *in)
{
    const struct event_entry *e, *before = NULL;

    DL_FOREACH (in->r->told, e) {
        cb_assert(!before || is_before(before->id, e->id));
        before = e;
    }
    /* A page that was read, and one behind which it was acknowledged. */
    cb_assert(in->r->nunacked <= 2 * EVENT_READER_PAGE);
}

static void acknowledge(struct input *in)
{
    struct cb_error err;

    if (!(in->how & IS_ACKED_BY_ID))
        event_reader_ack(in->r, &err);
    else if (!is_zero(in->held)) /* what was given before that one */
        event_reader_ack_upto(in->r, stream_id_before(in->held), &err);
}

static void check_place(const struct input *in, struct stream_id *before)
{
    struct stream_id place;

    if (in->how & HAS_GROUP || !event_reader_place(in->r, &place))
        return;
    cb_assert(!is_before(place, *before) && !is_before(place, in->last));
    *before = place;
}

/* True: go on. */
static bool take_turn(struct input *in, int *losses)
{
    const struct event_entry *e = NULL;
    struct event_gap gap;
    struct cb_error err;

    in->asked = 0;
    switch (event_reader_next(in->r, TIMEOUT_MS, &e, &gap, &err)) {
    case EVENT_GIVEN:
        check_event(in, e);
        if (in->how & IS_ACKED_BY_ID)
            in->held = e->id;
        acknowledge(in);
        return true;
    case EVENT_GAP:
        check_gap(in, &gap);
        acknowledge(in);
        return true;
    case EVENT_LOST:
    case EVENT_DENIED:
        in->pings = 0;
        pass_time(in, 3600000); /* it does not wait in vain */
        return ++*losses < LOSSES_MAX;
    case EVENT_NOTHING:
        return !in->is_over;
    case EVENT_END:
        cb_assert(!(in->how & IS_FOLLOWING));
        return false;
    }
    return false;
}

static void read_all(struct input *in)
{
    static const struct redis_target target = {.unix_path = (char *)"/nowhere", .timeout_ms = 5000};
    static const char *const types[] = {"task.*", NULL};
    const struct event_reader_config config = {
        .target = &target,
        .prefix = "cb",
        .types = in->how & HAS_TYPES ? types : NULL,
        .since = in->how & HAS_SINCE ? "5-1" : NULL,
        .last = in->how & HAS_LAST ? 3 : 0,
        .group = in->how & HAS_GROUP ? "g" : NULL,
        .is_following = in->how & IS_FOLLOWING,
        .has_channels = in->how & HAS_CHANNELS,
        .can_do_without = true,
    };
    struct stream_id place = {0, 0};
    int losses = 0;

    in->r = event_reader_new(&config);
    for (int i = 0; i < CALLS_MAX && take_turn(in, &losses); i++) {
        check_place(in, &place);
        check_kept(in);
    }
    event_reader_free(in->r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct input in = {.at = (const char *)data + 1, .len = len - 1, .how = data[0]};
    redis_link_reader_init(&in.reader);
    feed(&in.reader, in.at, in.len);
    fake_server = (struct fake_server){.command = take_command, .more = next_reply, .arg = &in};
    clock_fake_set(1000000000, 1700000000000000);
    if (in.how & HAS_SINCE && !(in.how & HAS_GROUP))
        in.last = (struct stream_id){5, 1};
    read_all(&in);
    clock_fake_stop();
    reply_free(in.next);
    redis_link_reader_done(&in.reader);
    return 0;
}
