/*
 * status_summary.c: the first part of status_screen.h: a label and what there is to say, a line each.
 */
#include "common/compat.h"
#include "client/status_screen.h"

#include "client/peek.h"
#include "common/mem.h"

enum { LABEL_WIDTH = 10, NARROWEST = 20 };

struct summary {
    struct json_span status;
    struct term term;
    struct buf text; /* of the line at hand, not escaped */
    struct buf *out;
};

/* ---- lines ---- */

static size_t room(const struct summary *s)
{
    int width = s->term.width;

    if (width <= 0)
        return SIZE_MAX;
    return (size_t)(width > LABEL_WIDTH + NARROWEST ? width - LABEL_WIDTH : NARROWEST);
}

static void put_label(struct summary *s, const char *label)
{
    buf_printf(s->out, "%-*s", LABEL_WIDTH, label);
}

/* The text as one line, cut to the width. */
static void end_line(struct summary *s, const char *label)
{
    struct buf safe CB_CLEANUP(buf_done) = BUF_INIT;
    size_t columns = room(s);

    term_put(&safe, buf_peek(&s->text), s->text.len);
    put_label(s, label);
    if (term_width(buf_peek(&safe), safe.len) <= columns) {
        buf_append(s->out, buf_peek(&safe), safe.len);
    } else {
        buf_append(s->out, buf_peek(&safe), term_fit(buf_peek(&safe), safe.len, columns - 1));
        buf_puts(s->out, "…");
    }
    buf_putc(s->out, '\n');
    buf_reset(&s->text);
}

/* How much of the text goes into a line: to its last space, if there is one. */
static size_t break_at(const char *text, size_t len, size_t columns)
{
    size_t fits = term_fit(text, len, columns);

    if (fits == len)
        return len;
    for (size_t i = fits; i > 0; i--)
        if (text[i] == ' ')
            return i;
    return fits;
}

/* The text as a paragraph: a reason is worth its lines. */
static void end_paragraph(struct summary *s, const char *label)
{
    struct buf safe CB_CLEANUP(buf_done) = BUF_INIT;

    term_put(&safe, buf_peek(&s->text), s->text.len);
    for (const char *at = buf_peek(&safe); *at; label = "") {
        size_t len = break_at(at, strlen(at), room(s));
        put_label(s, label);
        buf_append(s->out, at, len);
        buf_putc(s->out, '\n');
        at += len;
        at += strspn(at, " ");
    }
    buf_reset(&s->text);
}

static void add(struct summary *s, const char *before, const char *path)
{
    buf_puts(&s->text, before);
    peek_put(s->status, path, &s->text);
}

/* "before N after" */
static void add_count(struct summary *s, const char *before, const char *path, const char *after)
{
    add(s, before, path);
    buf_puts(&s->text, after);
}

/* The same, unless it is 0. */
static void add_some(struct summary *s, const char *before, const char *path, const char *after)
{
    if (peek_int(s->status, path) != 0)
        add_count(s, before, path, after);
}

/* ---- the daemon ---- */

/* Green, yellow or red. */
static void put_status(struct summary *s)
{
    const char *color = peek_is(s->status, "status", "healthy")    ? "\033[1;32m"
                        : peek_is(s->status, "status", "degraded") ? "\033[1;33m"
                                                                   : "\033[1;31m";
    struct buf word CB_CLEANUP(buf_done) = BUF_INIT;

    peek_put(s->status, "status", &word);
    put_label(s, "status");
    buf_puts(s->out, s->term.has_color ? color : "");
    term_put(s->out, buf_peek(&word), word.len);
    buf_puts(s->out, s->term.has_color ? "\033[0m" : "");
    buf_putc(s->out, '\n');
}

static void put_reasons(struct summary *s)
{
    struct json_item reasons, reason;
    struct json_iter it;

    if (!peek_find(s->status, "reasons", &reasons) || reasons.type != JSON_ARRAY)
        return;
    json_iter_init(&it, reasons.value);
    while (json_iter_next(&it, &reason)) {
        peek_put(reason.value, "", &s->text);
        end_paragraph(s, "reason");
    }
}

static void put_daemon(struct summary *s)
{
    add(s, "", "instance");
    add(s, "  pid ", "pid");
    add(s, "  version ", "version");
    buf_puts(&s->text, "  up ");
    peek_put_age(&s->text, peek_int(s->status, "uptime_ms"));
    end_line(s, "daemon");
}

static void put_redis(struct summary *s)
{
    add(s, "", "redis.state");
    add(s, "  ", "redis.url");
    if (peek_int(s->status, "redis.used_memory") > 0) {
        buf_puts(&s->text, "  ");
        peek_put_bytes(&s->text, peek_int(s->status, "redis.used_memory"));
    }
    if (peek_int(s->status, "redis.max_memory") > 0) {
        buf_puts(&s->text, " of ");
        peek_put_bytes(&s->text, peek_int(s->status, "redis.max_memory"));
    }
    end_line(s, "redis");
}

/* Its own daemon's view of who leads, and how many of each kind there are. */
static void put_leader(struct summary *s)
{
    add(s, "", "leader.id");
    buf_puts(&s->text, peek_is_true(s->status, "leader.is_self") ? " (this one)" : "");
    if (peek_int(s->status, "hosts.known") > 1)
        add(s, "  sees ", "hosts.seen"), add_count(s, " of ", "hosts.known", " hosts");
    add_some(s, "  agents ", "figures.scaling.agents", "");
    end_line(s, "leader");
}

/* ---- tasks and requests ---- */

static void put_as_of(struct summary *s)
{
    int64_t age_ms = peek_int(s->status, "figures_age_ms");

    if (age_ms < 2000)
        return;
    buf_puts(&s->text, "  as of ");
    peek_put_age(&s->text, age_ms);
    buf_puts(&s->text, " ago");
}

static int64_t oldest_ms(struct json_span status)
{
    struct json_item queues, queue;
    struct json_iter it;
    int64_t oldest = -1;

    if (!peek_find(status, "figures.queues", &queues) || queues.type != JSON_ARRAY)
        return -1;
    json_iter_init(&it, queues.value);
    while (json_iter_next(&it, &queue)) {
        struct json_item item;
        int64_t ms = peek_int(queue.value, "oldest_ms");
        if (peek_find(queue.value, "oldest_ms", &item) && ms > oldest)
            oldest = ms;
    }
    return oldest;
}

static void put_tasks(struct summary *s)
{
    struct json_item item;
    int64_t ms = oldest_ms(s->status);

    if (!peek_find(s->status, "figures.tasks", &item)) {
        buf_puts(&s->text, "not known");
        end_line(s, "tasks");
        return;
    }
    add_count(s, "", "figures.tasks.pending", " pending");
    if (ms >= 0) {
        buf_puts(&s->text, ", oldest ");
        peek_put_age(&s->text, ms);
    }
    add_count(s, "  ", "figures.tasks.in_progress", " running");
    add_some(s, "  ", "figures.tasks.delayed", " delayed");
    add_some(s, "  ", "figures.tasks.blocked", " blocked");
    add_some(s, "  ", "figures.tasks.dead", " dead");
    buf_puts(&s->text, peek_is_true(s->status, "figures.all_paused") ? "  paused" : "");
    put_as_of(s);
    end_line(s, "tasks");
}

static void add_rate(struct summary *s, const char *before, const char *path, const char *after)
{
    buf_puts(&s->text, before);
    peek_put_rate(&s->text, peek_number(s->status, path));
    buf_puts(&s->text, after);
}

/* Of all daemons together, as the leader summed them up. */
static void put_rates(struct summary *s)
{
    struct json_item item;

    if (!peek_find(s->status, "figures.global", &item))
        return;
    add_rate(s, "", "figures.global.requests_per_s", " req/s");
    add_rate(s, "  ", "figures.scaling.created_per_s", " created/s");
    add_rate(s, "  ", "figures.scaling.completed_per_s", " completed/s");
    buf_printf(&s->text, "  p50 %.2f p99 %.2f ms", peek_number(s->status, "figures.global.p50_ms"),
               peek_number(s->status, "figures.global.p99_ms"));
    end_line(s, "rates");
}

/* Requests that wait, by domain; only when some do. */
static void put_backlog(struct summary *s)
{
    struct json_item domains, domain;
    struct json_iter it;

    if (!peek_find(s->status, "figures.backlog", &domains) || domains.type != JSON_OBJECT)
        return;
    json_iter_init(&it, domains.value);
    while (json_iter_next(&it, &domain)) {
        if (peek_int(domain.value, "length") == 0)
            continue;
        buf_puts(&s->text, s->text.len ? "  " : "");
        json_decode_string(domain.key, &s->text);
        buf_printf(&s->text, " %" PRId64 ", oldest ", peek_int(domain.value, "length"));
        peek_put_age(&s->text, peek_int(domain.value, "oldest_ms"));
    }
    if (s->text.len)
        end_line(s, "backlog");
}

/* ---- rules, configuration, audit ---- */

/* Decisions of the rules; and how many the clients had to make alone, which somebody should know. */
static void put_hooks(struct summary *s)
{
    static const char *const decisions[] = {"hooks.none", "hooks.allow", "hooks.modify",
                                            "hooks.ask", "hooks.deny"};
    struct json_item hooks;
    int64_t all = 0;

    if (!peek_find(s->status, "hooks", &hooks))
        return;
    for (size_t i = 0; i < CB_ARRAY_LEN(decisions); i++)
        all += peek_int(s->status, decisions[i]);
    add_count(s, "", "hooks.rules", " rules");
    buf_printf(&s->text, "  %" PRId64 " decisions", all);
    add_count(s, "  ", "hooks.deny", " denied");
    add_count(s, "  ", "hooks.ask", " asked");
    add_some(s, "  ", "hooks.fallbacks", " without the daemon");
    end_line(s, "hooks");
}

/* What a reload has left to do, or to the administrator. */
static void put_config(struct summary *s)
{
    struct json_item list, option;
    struct json_iter it;

    if (peek_int(s->status, "config.old_workers") > 0) {
        add_count(s, "", "config.old_workers", " workers that finish and leave");
        end_line(s, "old");
    }
    if (peek_count(s->status, "config.needs_restart") == 0 ||
        !peek_find(s->status, "config.needs_restart", &list))
        return;
    buf_puts(&s->text, "needed for new values of");
    json_iter_init(&it, list.value);
    for (const char *before = " "; json_iter_next(&it, &option); before = ", ") {
        buf_puts(&s->text, before);
        peek_put(option.value, "option", &s->text);
    }
    end_paragraph(s, "restart");
}

/* The audit file; and how many calls clients have decided alone, which somebody should know. */
static void put_audit(struct summary *s)
{
    struct json_item audit;

    if (!peek_find(s->status, "audit", &audit))
        return;
    add_count(s, "", "audit.records", " records since the start");
    add_count(s, "  ", "audit.waiting", " waiting");
    add_some(s, "  ", "audit.lost", " lost");
    add(s, "  ", "audit.file");
    end_line(s, "audit");
    if (peek_int(s->status, "audit.local_last_hour") > 0) {
        add_count(s, "", "audit.local_last_hour", " calls decided locally in the last hour");
        end_line(s, "");
    }
}

/* The archive, when there is one: whether it waits for PostgreSQL, and how far behind it is. */
static void put_archive(struct summary *s)
{
    struct json_item archive;

    if (!peek_find(s->status, "archive", &archive) || archive.type != JSON_OBJECT)
        return;
    add(s, "", "archive.state");
    add_count(s, "  ", "archive.events", " events since the start");
    add_count(s, "  ", "archive.waiting", " waiting");
    if (peek_int(s->status, "archive.waiting") > 0) {
        buf_puts(&s->text, "  oldest ");
        peek_put_age(&s->text, peek_int(s->status, "archive.lag_ms"));
    }
    add_some(s, "  ", "archive.refused", " refused");
    end_line(s, "archive");
}

void status_screen_put_summary(struct json_span status, struct term term, struct buf *out)
{
    struct summary s = {.status = status, .term = term, .text = BUF_INIT, .out = out};

    put_status(&s);
    put_reasons(&s);
    put_daemon(&s);
    put_redis(&s);
    put_leader(&s);
    put_tasks(&s);
    put_rates(&s);
    put_backlog(&s);
    put_hooks(&s);
    put_config(&s);
    put_audit(&s);
    put_archive(&s);
    buf_done(&s.text);
}
