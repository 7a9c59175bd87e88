/*
 * audit.c: see audit.h. One thing at a time: a job of the writer's thread (audit_writer.c), or a call to Redis; whatever ends
 * calls advance(), which does what is next. What was read is kept nowhere: when it cannot be written, it is read again.
 */
#include "common/compat.h"
#include "supervisor/audit.h"

#include "common/clock.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rfc3339.h"
#include "supervisor/audit_writer.h"

enum {
    RETRY_MS = 1000,
    SYNC_MS = 1000,
    READ_ENTRIES = 100,
    READ_BYTES = 1024 * 1024,
    HEAD_TTL_S = 30 * 86400,
    MINUTE_MS = 60000,
    HOUR_MINUTES = 60,
    REPLY_ADDED = 0, /* positions in the script's reply */
    REPLY_LENGTH = 1,
    REPLY_LAST = 2,
    REPLY_IS_ALL = 3,
    REPLY_ENTRIES = 4
};

/* More entries than any stream will have had: what is above it is no count. */
static const int64_t added_max = INT64_C(1) << 60;

/* What hook.spool brings: decisions that a client made by itself. */
static const char local_kind[] = "hook.local";

struct minute {
    int64_t number; /* since 1970 */
    int64_t calls;
};

struct audit {
    const struct options *opts;
    struct redis_conn *conn;
    struct audit_writer *writer;
    struct event *timer;
    struct audit_position pos;  /* the file's last line */
    struct audit_position next; /* …when what is being written is in it */
    char last[STREAM_ID_SIZE];  /* of the stream's last entry, as the tick told; "" = none */
    bool is_open;
    bool has_position; /* pos is known: from the file, from Redis, or this is the first line */
    bool has_head;     /* what Redis knows of our last line has been looked at */
    bool has_before;   /* …and this is the last line of the file that was rotated last */
    struct audit_position before;
    bool is_reopening;
    bool is_start;  /* the next line begins a file: is_new says of what */
    bool is_new;    /* …of a chain, not just of a file */
    bool is_resync; /* the stream has forgotten entries: its count is taken as it is */
    bool is_calling;
    bool is_retrying; /* not before the timer */
    bool is_dirty;
    bool is_more;
    int64_t entries; /* in what is being written */
    int64_t lost;
    int64_t records, gaps, waiting;
    struct minute local[HOUR_MINUTES]; /* by number */
    int64_t minutes[READ_ENTRIES];     /* …of those in what is being written */
    size_t nminutes;
    char error[sizeof((struct cb_error *)NULL)->text];
    struct log_repeat said;
};

static void advance(struct audit *a);

static void arm(struct audit *a, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(a->timer, &tv);
}

/* It is tried again until it works: the records wait in the stream. */
static void trouble(struct audit *a, const char *what)
{
    unsigned times;

    snprintf(a->error, sizeof a->error, "%s", what);
    if (log_repeat_may(&a->said, what, &times))
        log_event(EV_audit_failed, LOG_S("error", what), LOG_I("waiting", a->waiting),
                  LOG_I("times", times));
    a->is_retrying = true;
    arm(a, RETRY_MS);
}

static void trouble_over(struct audit *a)
{
    if (a->error[0])
        log_event(EV_audit_resumed, LOG_S("file", a->opts->audit.file), LOG_I("seq", a->pos.seq));
    a->error[0] = '\0';
    log_repeat_over(&a->said);
}

/* ---- lines ---- */

static void put_own(struct audit *a, struct buf *out, const char *kind, int64_t n,
                    const struct buf *data)
{
    struct audit_entry e = {.id = a->next.id,
                            .n = n,
                            .kind = {kind, strlen(kind)},
                            .at_ms = clock_wall_ms(),
                            .data = {buf_peek(data), data->len}};
    audit_chain_put(&a->next, &e, out);
}

/* The first line of a file. */
static void put_start(struct audit *a, struct buf *out)
{
    CB_CLEANUP(buf_done) struct buf data = BUF_INIT;

    if (!a->is_start)
        return;
    buf_puts(&data, "{\"instance\":");
    json_put_cstr(&data, a->opts->instance.id);
    buf_puts(&data, ",\"version\":\"" PACKAGE_VERSION "\"}");
    put_own(a, out, a->is_new ? AUDIT_STARTED : AUDIT_OPENED, a->next.n, &data);
}

/* Entries that are gone: `upto` have been in the stream that we cannot have. */
static void put_gap(struct audit *a, struct buf *out, int64_t upto)
{
    CB_CLEANUP(buf_done) struct buf data = BUF_INIT;

    buf_printf(&data, "{\"lost\":%" PRId64 ",\"after\":\"%s\"}", upto - a->next.n, a->next.id);
    a->lost += upto - a->next.n;
    put_own(a, out, AUDIT_GAP, upto, &data);
}

/* Redis has come back with less than it had (its last second, or all): ids go on, the count is a new one. */
static void put_rewound(struct audit *a, struct buf *out, int64_t added, int64_t n,
                        const char *last)
{
    CB_CLEANUP(buf_done) struct buf data = BUF_INIT;

    buf_printf(&data,
               "{\"had\":%" PRId64 ",\"has\":%" PRId64 ",\"after\":\"%s\",\"last\":", a->next.n,
               added, a->next.id);
    json_put_cstr(&data, last);
    buf_putc(&data, '}');
    if (stream_id_compare_texts(last, a->next.id) < 0)
        snprintf(a->next.id, sizeof a->next.id, "%s", last);
    put_own(a, out, AUDIT_REWOUND, n, &data);
    a->is_resync = true;
}

static void put_other(struct buf *more, const reply_t *name, const reply_t *value)
{
    buf_puts(more, more->len ? "," : ",\"fields\":{");
    json_put_string(more, reply_str(name), reply_bytes(name));
    buf_putc(more, ':');
    json_put_string(more, reply_str(value), reply_bytes(value));
}

/* A client tells of its decision when it can: what counts is when it was made, and that cannot be still to come. */
static void note_local(struct audit *a, const struct audit_entry *e)
{
    CB_CLEANUP(buf_done) struct buf text = BUF_INIT;
    int64_t at_ms = e->at_ms;
    struct json_span data;
    enum json_type type;
    struct json_item item;
    int64_t now_ms = clock_wall_ms();

    if (e->kind.len != sizeof local_kind - 1 || memcmp(e->kind.at, local_kind, e->kind.len) != 0)
        return;
    if (json_check(e->data.at, e->data.len, &data, &type, NULL) == 0 && type == JSON_OBJECT &&
        json_find(data, "at", &item) && item.type == JSON_STRING) {
        json_decode_string(item.value, &text);
        rfc3339_parse(buf_peek(&text), text.len, &at_ms);
    }
    if (a->nminutes < CB_ARRAY_LEN(a->minutes))
        a->minutes[a->nminutes++] = at_ms < 0 ? 0 : (at_ms < now_ms ? at_ms : now_ms) / MINUTE_MS;
}

static void count_local(struct audit *a)
{
    for (size_t i = 0; i < a->nminutes; i++) {
        struct minute *m = &a->local[a->minutes[i] % HOUR_MINUTES];
        if (m->number < a->minutes[i])
            *m = (struct minute){.number = a->minutes[i]};
        m->calls += m->number == a->minutes[i];
    }
    a->nminutes = 0;
}

static int64_t last_hour(const struct audit *a)
{
    int64_t now = clock_wall_ms() / MINUTE_MS, calls = 0;

    for (size_t i = 0; i < HOUR_MINUTES; i++)
        if (a->local[i].number > now - HOUR_MINUTES && a->local[i].number <= now)
            calls += a->local[i].calls;
    return calls;
}

static bool is_named(const reply_t *name, const char *s)
{
    return reply_bytes(name) == strlen(s) && memcmp(reply_str(name), s, strlen(s)) == 0;
}

/* Whoever may write to Redis may have put anything there: it is data, and nothing of it is left out. */
static void put_entry(struct audit *a, struct buf *out, const reply_t *entry)
{
    CB_CLEANUP(buf_done) struct buf more = BUF_INIT;
    const reply_t *fields = reply_at(entry, 1);
    static const char no_data[] = "null";
    struct audit_entry e = {.id = reply_str(reply_at(entry, 0)),
                            .n = a->next.n + 1,
                            .kind = {"", 0},
                            .at_ms = strtoll(reply_str(reply_at(entry, 0)), NULL, 10),
                            .data = {no_data, sizeof no_data - 1}};

    for (size_t i = 0; i + 1 < reply_count(fields); i += 2) {
        const reply_t *name = reply_at(fields, i), *value = reply_at(fields, i + 1);
        if (is_named(name, "kind") && !e.kind.len)
            e.kind = (struct json_span){reply_str(value), reply_bytes(value)};
        else if (is_named(name, "data") && e.data.at == no_data)
            e.data = (struct json_span){reply_str(value), reply_bytes(value)};
        else if (is_named(name, "at") && reply_int(value) > 0)
            e.at_ms = reply_int(value);
        else
            put_other(&more, name, value);
    }
    if (more.len)
        buf_putc(&more, '}');
    e.more = more.len ? buf_peek(&more) : NULL;
    audit_chain_put(&a->next, &e, out);
    note_local(a, &e);
    a->entries++;
}

/* ---- the stream ---- */

static void make_lines(struct audit *a, const reply_t *reply, struct buf *out)
{
    int64_t added = reply_int(reply_at(reply, REPLY_ADDED));
    int64_t gone = added - reply_int(reply_at(reply, REPLY_LENGTH));
    const char *last = reply_str(reply_at(reply, REPLY_LAST));
    const reply_t *entries = reply_at(reply, REPLY_ENTRIES);
    bool is_all = reply_int(reply_at(reply, REPLY_IS_ALL)) == 1;

    if (added < a->next.n || stream_id_compare_texts(last, a->next.id) < 0)
        put_rewound(a, out, added, is_all ? added - (int64_t)reply_count(entries) : gone, last);
    else if (!a->is_resync && gone > a->next.n)
        put_gap(a, out, gone);
    for (size_t i = 0; i < reply_count(entries); i++)
        put_entry(a, out, reply_at(entries, i));
    if (is_all && a->is_resync)
        a->next.n = added;
    else if (is_all && a->next.n < added)
        put_gap(a, out, added);
    a->is_resync = a->is_resync && !is_all;
    a->waiting = added > a->pos.n ? added - a->pos.n : 0;
    a->is_more = !is_all;
}

/* Is it what audit_read.lua gives? Ids go into lines as they are and must rise, else the file would look forged; and the counts
 * are reckoned with. */
static bool is_sound(const struct audit *a, const reply_t *reply)
{
    const reply_t *entries = reply_at(reply, REPLY_ENTRIES);
    const char *before = a->pos.id, *last = reply_str(reply_at(reply, REPLY_LAST));
    int64_t added = reply_int(reply_at(reply, REPLY_ADDED));
    int64_t length = reply_int(reply_at(reply, REPLY_LENGTH));

    if (reply_type(entries) != REPLY_ARRAY || reply_count(entries) > READ_ENTRIES ||
        length < (int64_t)reply_count(entries) || added < length || added > added_max ||
        !audit_id_is_valid(last))
        return false;
    for (size_t i = 0; i < reply_count(entries); i++) {
        const char *id = reply_str(reply_at(reply_at(entries, i), 0));
        if (!audit_id_is_valid(id) || stream_id_compare_texts(id, before) <= 0 ||
            stream_id_compare_texts(id, last) > 0)
            return false;
        before = id;
    }
    return true;
}

static void on_read(void *arg, const reply_t *reply)
{
    struct audit *a = arg;
    struct buf lines = BUF_INIT;

    a->is_calling = false;
    if (!reply || reply_is_error(reply)) {
        if (reply)
            trouble(a, reply_str(reply));
        return; /* lost: the tick comes when Redis is back */
    }
    if (!is_sound(a, reply)) {
        trouble(a, "unexpected reply to the script audit_read");
        return;
    }
    a->next = a->pos;
    a->entries = a->lost = 0;
    a->nminutes = 0;
    put_start(a, &lines);
    make_lines(a, reply, &lines);
    if (lines.len > 0)
        audit_writer_append(a->writer, &lines, a->is_start, a->opts->audit.fsync);
    else
        a->last[0] = '\0'; /* it is gone again */
}

static void read_more(struct audit *a)
{
    CB_CLEANUP(arena_done) struct arena arena = ARENA_INIT;
    struct script_call call;

    a->is_calling = true;
    script_call_init(&call, SCRIPT_AUDIT_READ);
    script_call_key(&call, keys_make(&arena, a->opts->redis.prefix, KEY_AUDIT));
    script_call_arg_str(&call, arena_strndup(&arena, a->pos.id, strlen(a->pos.id)));
    script_call_arg_int(&call, READ_ENTRIES);
    script_call_arg_int(&call, READ_BYTES);
    redis_conn_script(a->conn, &call, on_read, a);
    script_call_done(&call);
}

/* ---- what Redis knows of our last line: for a file that was moved away, or cut, while we were not there ---- */

static const char *head_key(const struct audit *a, struct arena *arena)
{
    return keys_make(arena, a->opts->redis.prefix, KEY_AUDIT_HEAD, a->opts->instance.id);
}

static void nothing(void *arg, const reply_t *reply)
{
    (void)arg, (void)reply; /* the next one will say more */
}

static void save_head(const struct audit *a)
{
    CB_CLEANUP(arena_done) struct arena arena = ARENA_INIT;
    CB_CLEANUP(buf_done) struct buf head = BUF_INIT;

    if (!redis_conn_is_up(a->conn))
        return;
    audit_position_put(&a->pos, &head);
    redis_conn_call(a->conn, nothing, NULL, "SET", head_key(a, &arena), buf_peek(&head), "EX",
                    arena_int(&arena, HEAD_TTL_S), NULL);
}

static void on_head(void *arg, const reply_t *reply)
{
    struct audit *a = arg;
    struct audit_position head;

    a->is_calling = false;
    if (!reply)
        return;
    bool is_known = !reply_is_error(reply) && audit_position_parse(reply_str(reply), &head) == 0;
    a->has_head = true;
    if (is_known && a->has_before && a->before.seq > head.seq)
        head = a->before;
    if (a->has_position && is_known && head.seq > a->pos.seq)
        log_event(EV_audit_file_behind, LOG_S("file", a->opts->audit.file),
                  LOG_I("seq", a->pos.seq), LOG_I("written", head.seq));
    if (!a->has_position) {
        if (is_known)
            a->pos = head;
        else
            audit_position_init(&a->pos);
        a->is_new = !is_known;
        a->has_position = a->is_start = true;
    }
    advance(a);
}

static void ask_head(struct audit *a)
{
    CB_CLEANUP(arena_done) struct arena arena = ARENA_INIT;

    a->is_calling = true;
    redis_conn_call(a->conn, on_head, a, "GET", head_key(a, &arena), NULL);
}

/* ---- the file ---- */

static void log_found(struct audit *a, const struct audit_found *f)
{
    const char *file = a->opts->audit.file;

    if (f->torn_bytes > 0)
        log_event(EV_audit_repaired, LOG_S("file", file), LOG_I("bytes", f->torn_bytes),
                  LOG_S("reason", "unfinished line"));
    if (f->bad_lines > 0)
        log_event(EV_audit_file_changed, LOG_S("file", file), LOG_I("bad_lines", f->bad_lines));
    if (f->was != f->is)
        log_event(EV_audit_file_changed, LOG_S("file", file), LOG_I("bytes", f->is),
                  LOG_I("expected", f->was));
}

static void opened(struct audit *a, const struct audit_found *f)
{
    bool is_same = f->has_position && strcmp(f->position.hash, a->pos.hash) == 0;

    if (a->has_position && f->has_position && !is_same)
        log_event(EV_audit_file_changed, LOG_S("file", a->opts->audit.file),
                  LOG_I("seq", f->position.seq), LOG_I("expected", a->pos.seq));
    if (!a->has_position && f->has_position)
        a->pos = f->position;
    if (a->has_position && !f->has_position)
        a->is_start = true;
    a->has_position = a->has_position || f->has_position;
    a->has_before = f->has_before;
    a->before = f->before;
    a->is_open = true;
    log_event(EV_audit_opened, LOG_S("file", a->opts->audit.file), LOG_I("seq", a->pos.seq),
              LOG_S("id", a->pos.id));
}

static void appended(struct audit *a)
{
    a->pos = a->next;
    a->is_start = a->is_new = false;
    a->records += a->entries;
    count_local(a);
    a->gaps += a->lost;
    a->waiting = a->waiting > a->entries + a->lost ? a->waiting - a->entries - a->lost : 0;
    if (a->lost > 0)
        log_event(EV_audit_gap, LOG_I("lost", a->lost), LOG_S("id", a->pos.id));
    trouble_over(a);
    save_head(a);
}

static void on_done(void *arg, const struct audit_done *d)
{
    struct audit *a = arg;

    a->is_dirty = d->is_dirty;
    if (d->status >= 0)
        log_found(a, &d->found);
    if (d->status < 0) {
        a->is_open = a->is_open && d->job != AUDIT_JOB_OPEN && d->is_open;
        trouble(a, d->err.text);
    } else if (d->job == AUDIT_JOB_OPEN) {
        opened(a, &d->found);
    } else if (d->job == AUDIT_JOB_APPEND && d->status == 1) {
        a->is_start = true; /* the same again, with the first line of a file */
    } else if (d->job == AUDIT_JOB_APPEND) {
        appended(a);
    }
    advance(a);
}

/* Writes the line that begins a file, when nothing else is to be written: it says where the chain goes on. */
static void write_start(struct audit *a)
{
    struct buf lines = BUF_INIT;

    a->next = a->pos;
    a->entries = a->lost = 0;
    put_start(a, &lines);
    audit_writer_append(a->writer, &lines, true, a->opts->audit.fsync);
}

/* ---- what is next ---- */

static bool is_behind(const struct audit *a)
{
    return a->is_more || (a->last[0] && strcmp(a->last, a->pos.id) != 0);
}

static void advance(struct audit *a)
{
    if (audit_writer_is_busy(a->writer) || a->is_calling || a->is_retrying)
        return;
    if (!a->is_open || a->is_reopening) {
        a->is_reopening = false;
        audit_writer_open(a->writer);
    } else if (!a->has_head && redis_conn_is_up(a->conn)) {
        ask_head(a);
    } else if (!a->has_position) {
        return; /* until Redis is there */
    } else if (is_behind(a) && redis_conn_is_up(a->conn)) {
        a->is_more = false;
        read_more(a);
    } else if (a->is_start) {
        write_start(a);
    } else if (a->is_dirty && a->opts->audit.fsync == AUDIT_FSYNC_EVERYSEC) {
        arm(a, SYNC_MS);
    } else if (a->error[0] && !a->is_dirty && !is_behind(a)) {
        trouble_over(a); /* what there seemed to be is not there */
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct audit *a = arg;
    (void)fd, (void)what;

    bool was_retrying = a->is_retrying;
    a->is_retrying = false;
    if (!was_retrying && a->is_dirty && !audit_writer_is_busy(a->writer) && !a->is_calling)
        audit_writer_sync(a->writer);
    else
        advance(a);
}

/* ---- interface ---- */

struct audit *audit_new(struct event_base *base, const struct options *opts,
                        struct redis_conn *conn)
{
    struct cb_error err = {0};
    struct audit *a;

    if (!opts->audit.file[0])
        return NULL;
    a = mem_alloc(sizeof *a);
    *a = (struct audit){.opts = opts, .conn = conn};
    audit_position_init(&a->pos);
    a->writer = audit_writer_new(base, opts->audit.file, on_done, a, &err);
    if (!a->writer) {
        log_event(EV_audit_failed, LOG_S("error", err.text));
        free(a);
        return NULL;
    }
    a->timer = evtimer_new(base, on_timer, a);
    cb_assert(a->timer);
    advance(a);
    return a;
}

void audit_free(struct audit *a)
{
    if (!a)
        return;
    audit_writer_free(a->writer);
    event_free(a->timer);
    free(a);
}

void audit_wake(struct audit *a, const char *last_id)
{
    if (!a)
        return;
    snprintf(a->last, sizeof a->last, "%s", last_id);
    advance(a);
}

void audit_reopen(struct audit *a)
{
    if (!a)
        return;
    a->is_reopening = true;
    a->is_retrying = false;
    advance(a);
}

void audit_go_on(struct audit *a, int64_t records, int64_t gaps)
{
    if (!a)
        return;
    a->records = records;
    a->gaps = gaps;
}

bool audit_status(const struct audit *a, struct audit_status *ret)
{
    if (!a)
        return false;
    *ret = (struct audit_status){.file = a->opts->audit.file,
                                 .error = a->error,
                                 .seq = a->pos.seq,
                                 .id = a->pos.id,
                                 .hash = a->pos.hash,
                                 .records = a->records,
                                 .gaps = a->gaps,
                                 .local = last_hour(a),
                                 .waiting = a->waiting};
    return true;
}
