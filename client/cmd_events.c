/*
 * cmd_events.c: claudebench events: reads cb:stream:events, page by page, and follows it.
 *
 * The id of the last entry that was read is all the state there is: after a lost connection reading
 * goes on behind it, so that nothing is left out or shown twice.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/session.h"
#include "common/backoff.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/keys.h"
#include "common/mem.h"

#include <fnmatch.h>
#include <poll.h>

enum { PAGE = 500, BLOCK_MS = 2000, RETRY_MIN_MS = 50, RETRY_MAX_MS = 2000 };

static const struct cli_option events_options[] = {
    {'f', "follow", NULL, "Wait for new events; without --since beginning with the next one."},
    {0, "since", "ID",
     "Only events behind this one (the id of an event, or 0 for all that are kept)."},
    {'t', "type", "GLOB", "Only events whose type matches, for instance 'task.*'."},
    {'j', "json", NULL,
     "Print one JSON object per line: the event's id as \"event\", and its fields."},
    {0, NULL, NULL, NULL},
};

static int run_events(const struct cli *cli);

const struct cli_verb verb_events = {
    .name = "events",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Show what happened: tasks, instances, leaders.",
    .options = events_options,
    .run = run_events,
};

struct reader {
    const struct cli *cli;
    struct session s;
    struct redis_link *link;
    struct arena arena;
    const char *key;
    const char *type;
    bool is_json, is_following;
    char last[48];
    struct buf out;
    struct term term;
    struct backoff backoff;
    bool has_failed; /* told about the present loss */
};

/* ---- printing ---- */

static const char *entry_field(const reply_t *fields, const char *name)
{
    for (size_t i = 0; i + 1 < reply_len(fields); i += 2)
        if (strcmp(reply_str(reply_at(fields, i)), name) == 0)
            return reply_str(reply_at(fields, i + 1));
    return "";
}

static void put_entry_json(struct reader *rd, const char *id, const reply_t *fields)
{
    struct buf line = BUF_INIT;

    buf_puts(&line, "{\"event\":"); /* the fields may have an id of their own */
    json_put_cstr(&line, id);
    for (size_t i = 0; i + 1 < reply_len(fields); i += 2) {
        const reply_t *value = reply_at(fields, i + 1);
        json_put_comma(&line);
        json_put_string(&line, reply_str(reply_at(fields, i)), reply_len(reply_at(fields, i)));
        buf_putc(&line, ':');
        json_put_string(&line, reply_str(value), reply_len(value));
    }
    buf_putc(&line, '}');
    session_put_json(&rd->out, (struct json_span){line.data, line.len}, rd->term);
    buf_done(&line);
}

static void put_entry_text(struct reader *rd, const char *id, const reply_t *fields)
{
    char when[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339(strtoll(id, NULL, 10), when);
    buf_printf(&rd->out, "%s  %s  ", when, id);
    const char *type = entry_field(fields, "type");
    term_put(&rd->out, type, strlen(type));
    for (size_t i = 0; i + 1 < reply_len(fields); i += 2) {
        const reply_t *name = reply_at(fields, i), *value = reply_at(fields, i + 1);
        if (strcmp(reply_str(name), "type") == 0 || strcmp(reply_str(name), "at") == 0)
            continue;
        buf_putc(&rd->out, ' ');
        term_put(&rd->out, reply_str(name), reply_len(name));
        buf_putc(&rd->out, '=');
        term_put(&rd->out, reply_str(value), reply_len(value));
    }
    buf_putc(&rd->out, '\n');
}

/* An array of entries. Returns -1 to go on, or an exit code when stdout is gone. */
static int show_entries(struct reader *rd, const reply_t *entries)
{
    for (size_t i = 0; i < reply_len(entries); i++) {
        const reply_t *entry = reply_at(entries, i);
        const char *id = reply_str(reply_at(entry, 0));
        const reply_t *fields = reply_at(entry, 1);
        snprintf(rd->last, sizeof rd->last, "%s", id);
        if (!fields || (rd->type && fnmatch(rd->type, entry_field(fields, "type"), 0) != 0))
            continue;
        if (rd->is_json)
            put_entry_json(rd, id, fields);
        else
            put_entry_text(rd, id, fields);
    }
    int status = cli_write(&rd->out);
    buf_reset(&rd->out);
    return status ? status : -1;
}

/* ---- reading ---- */

/* A page behind the last id. *ret_count tells how many entries there were. */
static int read_page(struct reader *rd, size_t *ret_count, struct cb_error *err)
{
    reply_t *r CB_CLEANUP(reply_free_ptr) = NULL;
    char from[64];

    snprintf(from, sizeof from, "(%s", rd->last);
    if (redis_link_callv(rd->link, &r, err, "XRANGE", rd->key, from, "+", "COUNT", "500", NULL) !=
        0)
        return -2;
    *ret_count = reply_len(r);
    return show_entries(rd, r);
}

/* Waits for entries behind the last id. */
static int read_blocking(struct reader *rd, struct cb_error *err)
{
    reply_t *r CB_CLEANUP(reply_free_ptr) = NULL;

    redis_link_appendv(rd->link, "XREAD", "COUNT", "500", "BLOCK", "2000", "STREAMS", rd->key,
                       rd->last, NULL);
    if (redis_link_read(rd->link, BLOCK_MS + rd->s.target.timeout_ms, &r, err) != 0)
        return -2;
    if (reply_is_error(r)) {
        cb_error_set(err, (int)reply_fault(r), "%s", reply_str(r));
        return -2;
    }
    const reply_t *stream = reply_at(r, 0);
    return stream ? show_entries(rd, reply_at(stream, 1)) : -1;
}

/* Where -f without --since begins: behind the newest entry. */
static int find_end(struct reader *rd, struct cb_error *err)
{
    reply_t *r CB_CLEANUP(reply_free_ptr) = NULL;

    if (redis_link_callv(rd->link, &r, err, "XREVRANGE", rd->key, "+", "-", "COUNT", "1", NULL) !=
        0)
        return -2;
    if (reply_len(r) > 0)
        snprintf(rd->last, sizeof rd->last, "%s", reply_str(reply_at(reply_at(r, 0), 0)));
    else
        snprintf(rd->last, sizeof rd->last, "0-0");
    return -1;
}

/* All that is there, then (with -f) what comes. -2: the connection failed. */
static int read_all(struct reader *rd, struct cb_error *err)
{
    size_t count = PAGE;
    int status = -1;

    if (!rd->last[0])
        status = find_end(rd, err);
    while (status == -1 && count == PAGE)
        status = read_page(rd, &count, err);
    while (status == -1 && rd->is_following) {
        status = read_blocking(rd, err);
        backoff_reset(&rd->backoff);
        rd->has_failed = false;
    }
    return status == -1 ? EXITCODE_OK : status;
}

/* ---- connecting ---- */

static int open_link(struct reader *rd, struct cb_error *err)
{
    if (redis_link_open(&rd->s.target, "claudebench", &rd->link, err) == 0)
        return 0;
    rd->link = NULL;
    struct cb_error why = *err; /* begins with the address */
    return cb_error_set(err, why.code, "cannot reach Redis at %.200s", why.text);
}

/* A loss is told once; returns the exit code when there is no use in trying again, else -1. */
static int lost(struct reader *rd, const struct cb_error *err)
{
    bool is_final = err->code == REDIS_AUTH || err->code == REDIS_ERROR;

    redis_link_free(rd->link);
    rd->link = NULL;
    if (!rd->has_failed || is_final)
        cli_say("%s%s", err->text,
                is_final           ? ""
                : rd->is_following ? "; trying again"
                                   : "; is claudebenchd running?");
    rd->has_failed = true;
    if (is_final)
        return err->code == REDIS_AUTH ? EXITCODE_NOPERM : EXITCODE_SOFTWARE;
    return rd->is_following ? -1 : EXITCODE_UNAVAILABLE;
}

static int follow(struct reader *rd)
{
    struct cb_error err = {0};
    int status = -2;
    bool was_open = false;

    while (status < 0) {
        status = open_link(rd, &err);
        was_open |= status == 0;
        if (status == 0)
            status = read_all(rd, &err);
        else
            status = -2;
        if (status == -2) {
            status = was_open || err.code == REDIS_LOADING ? lost(rd, &err) : EXITCODE_UNAVAILABLE;
            if (!was_open && status == EXITCODE_UNAVAILABLE)
                cli_say("%s; is claudebenchd running?", err.text);
            if (status < 0)
                poll(NULL, 0, (int)backoff_next_full_jitter(&rd->backoff));
        }
    }
    return status;
}

/* ---- start ---- */

/* "0", "123" or "123-4". */
static bool is_stream_id(const char *s)
{
    size_t n = strspn(s, "0123456789");

    if (n == 0 || n > 20)
        return false;
    if (!s[n])
        return true;
    size_t m = s[n] == '-' ? strspn(s + n + 1, "0123456789") : 0;
    return m > 0 && m <= 20 && !s[n + 1 + m];
}

static int start(struct reader *rd)
{
    struct cb_error err = {0};
    const char *since = cli_value(rd->cli, "since", rd->is_following ? NULL : "0");

    if (since && !is_stream_id(since))
        return cli_wrong_use(rd->cli->verb, "--since: \"%s\" is not the id of an event", since);
    if (since)
        snprintf(rd->last, sizeof rd->last, "%s%s", since, strchr(since, '-') ? "" : "-0");
    int status = session_load(&rd->s, rd->cli);
    if (status >= 0)
        return status;
    if (connect_target(rd->s.opts, CONNECT_CLIENT, &rd->s.target, &err) != 0) {
        cli_say("%s%s", err.text,
                err.code == EXITCODE_UNAVAILABLE ? "; is claudebenchd running?" : "");
        return err.code;
    }
    rd->s.has_target = true;
    rd->key = keys_make(&rd->arena, rd->s.opts->redis.prefix, KEY_EVENTS);
    return follow(rd);
}

static int run_events(const struct cli *cli)
{
    struct reader rd = {
        .cli = cli,
        .type = cli_value(cli, "type", NULL),
        .is_json = cli_is_set(cli, "json"),
        .is_following = cli_is_set(cli, "follow"),
        .term = term_detect(STDOUT_FILENO),
    };

    backoff_init(&rd.backoff, RETRY_MIN_MS, RETRY_MAX_MS);
    int status = start(&rd);
    redis_link_free(rd.link);
    session_close(&rd.s);
    arena_done(&rd.arena);
    buf_done(&rd.out);
    return status;
}
