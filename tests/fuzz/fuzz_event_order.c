/*
 * fuzz_event_order.c: the event reader (common/event_reader.h) with a server that tells the truth, and to which anything happens while it
 * reads: events that are kept, told, or both, trimming, connections and replies that are lost.
 *
 * The bits of the first byte say how it reads; each byte behind it is something that happens (below). What happens up to a PAUSE happens
 * before one command, or while the reader waits. Then nothing happens any more, and the reader must get to the end: each event that is wanted was
 * given once and in order, or a gap that was told has it between its ends; there is no gap where nothing was removed; and a group has
 * nothing left that was given (with a group: given once at least).
 *
 * As lua/ does it, a stream is trimmed at its beginning only, and never down to one entry; and what is told only is not known to groups,
 * for whom everything is kept.
 */
#include "common/compat.h"
#include "common/event_reader.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"
#include "tests/fuzz/fake_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { HAS_CHANNELS = 1, HAS_GROUP = 2, HAS_TYPES = 4, HAS_SINCE = 8 };
enum {
    PAUSE,
    ADD,        /* kept and told */
    ADD_KEPT,   /* by a host that only keeps */
    ADD_TOLD,   /* by one that only tells */
    ADD_OTHER,  /* of a type that is not wanted */
    ADD_MANY,   /* MANY events that are kept and told */
    TRIM,       /* half of the stream */
    LOSE,       /* the connections */
    LOSE_REPLY, /* the same, when the next command has been carried out */
    HAPPENINGS,
};
enum {
    EVENTS_MAX = 20000,
    MANY = 300,
    TRIM_KEEPS = 2,
    FIRST = 5,
    WAIT_MS = 100,
    TIMEOUT_MS = 1000
};
enum { CALLS_MAX = 100000, DRAIN_CALLS = 30 };

/* Event i has the id "i-0", from 1. */
struct happened {
    bool is_kept, is_wanted, is_pending;
    bool was_kept;
    bool is_due;               /* it was kept, or told to a connection that was not lost since */
    bool is_given, is_missing; /* as the reader said */
};

struct server {
    const uint8_t *at, *end;
    unsigned how;
    struct happened *events;
    size_t last, trimmed; /* the newest; up to where there is nothing */
    size_t delivered;     /* of the group */
    bool is_lost, is_reply_lost, is_listened_to;
    bool has_removed; /* anything, or cut a connection */
    struct redis_link *listener;
    size_t start; /* events behind it are to be given */
    bool has_start;
    size_t given; /* the last one */
    unsigned opened;
};

/* ---- what happens ---- */

static void feed_buf(struct redis_link *link, const struct buf *text)
{
    fake_link_feed(link, buf_peek(text), text->len);
}

static const char *type_of(const struct happened *e)
{
    return e->is_wanted ? "task.created" : "instance.left";
}

static void tell(struct server *s, size_t id)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    char message[80];

    if (!s->is_listened_to)
        return;
    int n = snprintf(message, sizeof message, "[[\"%zu-0\",\"type\",\"%s\"]]", id,
                     type_of(&s->events[id]));
    buf_printf(&text, "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$%d\r\n%s\r\n", n, message);
    feed_buf(s->listener, &text);
}

static void add(struct server *s, bool is_kept, bool is_told, bool is_wanted)
{
    if (s->last + 1 >= EVENTS_MAX)
        return;
    bool is_for_group = s->how & HAS_GROUP;
    s->events[++s->last] = (struct happened){.is_kept = is_kept || is_for_group,
                                             .was_kept = is_kept || is_for_group,
                                             .is_wanted = is_wanted};
    s->has_removed |= !s->events[s->last].is_kept;
    s->events[s->last].is_due = s->events[s->last].is_kept || (is_told && s->is_listened_to);
    if (is_told)
        tell(s, s->last);
}

static size_t count_kept(const struct server *s)
{
    size_t n = 0;

    for (size_t i = s->trimmed + 1; i <= s->last; i++)
        n += s->events[i].is_kept;
    return n;
}

static void trim(struct server *s)
{
    size_t kept = count_kept(s);

    for (size_t leave = kept / 2 > TRIM_KEEPS ? kept / 2 : TRIM_KEEPS; kept > leave; kept--) {
        do
            s->trimmed++;
        while (!s->events[s->trimmed].is_kept);
        s->events[s->trimmed].is_kept = false;
        s->has_removed = true;
    }
}

/* What was only told, and not heard, nobody can have; that it is missing is noticed when it is the newest. */
static void lose(struct server *s)
{
    s->is_lost = true;
    s->is_listened_to = false;
    for (size_t i = 1; i <= s->last; i++)
        s->events[i].is_due &= s->events[i].was_kept;
}

static void happen(struct server *s, uint8_t what)
{
    switch (what % HAPPENINGS) {
    case ADD:
    case ADD_KEPT:
    case ADD_OTHER:
        add(s, true, what % HAPPENINGS != ADD_KEPT, what % HAPPENINGS != ADD_OTHER);
        break;
    case ADD_TOLD:
        add(s, false, true, true);
        break;
    case ADD_MANY:
        for (int i = 0; i < MANY; i++)
            add(s, true, true, true);
        break;
    case TRIM:
        trim(s);
        break;
    case LOSE:
        lose(s);
        break;
    case LOSE_REPLY:
        s->is_reply_lost = true;
        break;
    default:
        break;
    }
}

static void go_on(struct server *s)
{
    while (s->at < s->end) {
        uint8_t what = *s->at++;
        if (what % HAPPENINGS == PAUSE)
            return;
        happen(s, what);
    }
}

/* ---- commands ---- */

static size_t parse_id(const char *text)
{
    return (size_t)strtoull(text, NULL, 10);
}

static void put_text(struct buf *out, const char *text)
{
    buf_printf(out, "$%zu\r\n%s\r\n", strlen(text), text);
}

static void put_entry(struct buf *out, const struct server *s, size_t id)
{
    char text[24];

    snprintf(text, sizeof text, "%zu-0", id);
    buf_puts(out, "*2\r\n");
    put_text(out, text);
    if (!s->events[id].is_kept) {
        buf_puts(out, "*-1\r\n");
        return;
    }
    buf_puts(out, "*2\r\n");
    put_text(out, "type");
    put_text(out, type_of(&s->events[id]));
}

/* Those from..to that are there, at most a page of them; returns how many. */
static size_t put_range(struct buf *out, struct server *s, size_t from, size_t to, bool is_pending)
{
    struct buf entries CB_CLEANUP(buf_done) = BUF_INIT;
    size_t n = 0;

    for (size_t i = from; i <= to && i <= s->last && n < 500; i++)
        if (is_pending ? s->events[i].is_pending : s->events[i].is_kept) {
            put_entry(&entries, s, i);
            n++;
        }
    buf_printf(out, "*%zu\r\n", n);
    buf_append(out, buf_peek(&entries), entries.len);
    return n;
}

static void put_stream(struct buf *out, const struct buf *entries)
{
    buf_puts(out, "*1\r\n*2\r\n$1\r\nk\r\n");
    buf_append(out, buf_peek(entries), entries->len);
}

static size_t newest_kept(const struct server *s)
{
    size_t i = s->last;

    while (i > 0 && !s->events[i].is_kept)
        i--;
    return i;
}

static void put_info(struct buf *out, struct server *s)
{
    size_t first = s->trimmed + 1, newest = newest_kept(s);
    char last[24];

    while (first <= s->last && !s->events[first].is_kept)
        first++;
    snprintf(last, sizeof last, "%zu-0", s->last);
    buf_printf(out, "*10\r\n$6\r\nlength\r\n:%zu\r\n$13\r\nentries-added\r\n:%zu\r\n",
               count_kept(s), s->last);
    put_text(out, "last-generated-id");
    put_text(out, last);
    for (int i = 0; i < 2; i++) {
        put_text(out, i == 0 ? "first-entry" : "last-entry");
        if (newest > s->trimmed)
            put_entry(out, s, i == 0 ? first : newest);
        else
            buf_puts(out, "*-1\r\n");
    }
    if (!s->has_start && !s->is_reply_lost) { /* where it begins when nobody has said */
        s->start = s->last;
        s->has_start = true;
    }
}

/* What was given to the group, or what is new to it. */
static size_t put_group(struct buf *out, struct server *s, const char *from)
{
    size_t n;

    if (strcmp(from, ">") != 0) {
        put_range(out, s, parse_id(from) + 1, s->last, true);
        return 1; /* if only an empty list */
    }
    n = put_range(out, s, s->delivered + 1, s->last, false);
    for (size_t left = n; left > 0;)
        if (s->events[++s->delivered].is_kept) {
            s->events[s->delivered].is_pending = true;
            left--;
        }
    return n;
}

static void put_read(struct buf *out, struct server *s, int argc, const char *const *argv)
{
    bool is_group = strcmp(argv[0], "XREADGROUP") == 0;
    int block_ms = 0;

    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "BLOCK") == 0)
            block_ms = (int)strtol(argv[i + 1], NULL, 10);
    for (int tries = block_ms > 0 ? 2 : 1; tries > 0; tries--) {
        struct buf entries CB_CLEANUP(buf_done) = BUF_INIT;
        if (is_group ? put_group(&entries, s, argv[argc - 1])
                     : put_range(&entries, s, parse_id(argv[argc - 1]) + 1, s->last, false)) {
            put_stream(out, &entries);
            return;
        }
        if (block_ms > 0)
            go_on(s);
    }
    clock_fake_advance_us((int64_t)block_ms * 1000);
    buf_puts(out, "*-1\r\n");
}

static void carry_out(struct server *s, struct redis_link *link, int argc, const char *const *argv)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;

    if (strcmp(argv[0], "PSUBSCRIBE") == 0) {
        s->is_listened_to = true;
        s->listener = link;
    } else if (strcmp(argv[0], "PING") == 0) {
        buf_puts(&out, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    } else if (strcmp(argv[0], "XINFO") == 0) {
        put_info(&out, s);
    } else if (strcmp(argv[0], "XRANGE") == 0) {
        put_range(&out, s, parse_id(argv[2]), argv[3][0] == '+' ? s->last : parse_id(argv[3]),
                  false);
    } else if (strcmp(argv[0], "XACK") == 0) {
        for (int i = 3; i < argc; i++)
            s->events[parse_id(argv[i])].is_pending = false;
        buf_puts(&out, ":1\r\n");
    } else {
        put_read(&out, s, argc, argv);
    }
    if (!s->is_reply_lost)
        feed_buf(link, &out);
}

static void take_command(void *arg, struct redis_link *link, int argc, const char *const *argv,
                         const size_t *lens)
{
    struct server *s = arg;

    (void)lens;
    go_on(s);
    if (!s->is_lost)
        carry_out(s, link, argc, argv);
    if (s->is_reply_lost)
        lose(s);
    s->is_reply_lost = false;
}

/* All that there is came with the commands, or as it happened. */
static bool next_bytes(void *arg, struct redis_link *link)
{
    struct server *s = arg;

    if (fake_link_is_listening(link)) {
        clock_fake_advance_us(WAIT_MS * 1000);
        go_on(s);
    }
    return !s->is_lost;
}

/* ---- the reader ---- */

static void take_event(struct server *s, const struct event_entry *e)
{
    size_t id = (size_t)e->id.ms;

    cb_assert(id <= s->last && e->id.seq == 0 && strcmp(e->type, type_of(&s->events[id])) == 0);
    if (s->how & HAS_GROUP && s->opened != fake_server.opened)
        s->given = 0;
    s->opened = fake_server.opened;
    cb_assert(id > s->given);
    s->given = id;
    s->events[id].is_given = true;
}

static void take_gap(struct server *s, const struct event_gap *gap)
{
    cb_assert(s->has_removed && gap->before.ms <= s->last);
    size_t first = (size_t)gap->after.ms + (s->how & HAS_GROUP ? 0 : 1);
    for (size_t i = first; i <= gap->before.ms; i++)
        s->events[i].is_missing = true;
}

/* True: it says that there is nothing. */
static bool take_turn(struct server *s, struct event_reader *r)
{
    const struct event_entry *e = NULL;
    struct event_gap gap;
    struct cb_error err;

    switch (event_reader_next(r, TIMEOUT_MS, &e, &gap, &err)) {
    case EVENT_GIVEN:
        take_event(s, e);
        break;
    case EVENT_GAP:
        take_gap(s, &gap);
        break;
    case EVENT_LOST:
        cb_assert(s->is_lost); /* it understands all that a server says that tells the truth */
        s->is_lost = false;
        clock_fake_advance_us(INT64_C(3600000000));
        return false;
    case EVENT_NOTHING:
        return true;
    default:
        cb_assert(!"neither denied nor at an end");
    }
    event_reader_ack(r, &err);
    return false;
}

static void check_all(const struct server *s)
{
    for (size_t i = s->start + 1; i <= s->last; i++) {
        const struct happened *e = &s->events[i];
        bool is_wanted = e->is_wanted || !(s->how & HAS_TYPES);
        cb_assert(!is_wanted || !e->is_due || e->is_given || e->is_missing);
        cb_assert(is_wanted || !e->is_given);
        cb_assert(!e->is_pending);
    }
}

static void read_all(struct server *s)
{
    static const struct redis_target target = {.unix_path = (char *)"/nowhere", .timeout_ms = 5000};
    static const char *const types[] = {"task.*", NULL};
    const struct event_reader_config config = {
        .target = &target,
        .prefix = "cb",
        .types = s->how & HAS_TYPES ? types : NULL,
        .since = s->how & (HAS_SINCE | HAS_GROUP) ? "3-0" : NULL,
        .group = s->how & HAS_GROUP ? "g" : NULL,
        .is_following = true,
        .has_channels = s->how & HAS_CHANNELS,
    };
    struct event_reader *r = event_reader_new(&config);
    int quiet = 0;

    for (int i = 0; i < CALLS_MAX && quiet < DRAIN_CALLS; i++)
        quiet = take_turn(s, r) && s->at == s->end ? quiet + 1 : 0;
    cb_assert(quiet == DRAIN_CALLS);
    check_all(s);
    event_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct server s = {.at = data + 1, .end = data + len, .how = data[0]};
    s.events = mem_calloc(EVENTS_MAX, sizeof *s.events);
    for (int i = 0; i < FIRST; i++)
        add(&s, true, false, true);
    s.has_start = s.how & (HAS_SINCE | HAS_GROUP);
    s.start = s.delivered = 3;
    fake_server = (struct fake_server){.command = take_command, .more = next_bytes, .arg = &s};
    clock_fake_set(1000000000, 1700000000000000);
    read_all(&s);
    clock_fake_stop();
    free(s.events);
    return 0;
}
