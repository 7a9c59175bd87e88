/*
 * cmd_events.c: claudebench events: shows the event stream, and follows it (common/event_reader.h).
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/interrupt.h"
#include "client/interval.h"
#include "client/session.h"
#include "common/clock.h"
#include "common/event_reader.h"
#include "common/exitcode.h"
#include "common/mem.h"
#include "common/rfc3339.h"

enum { WAIT_MS = 1000, WRITE_BYTES = 65536, COUNT_MAX = 1000000000 };

static const struct cli_option events_options[] = {
    {'f', "follow", NULL,
     "Wait for new events; without --since or --last beginning with the next one."},
    {0, "since", "WHEN",
     "Only events behind this: the id of an event, a time (2026-11-22T08:00:00Z), or so long ago "
     "(90s, 15m, 6h, 1d); 0 for all that are kept."},
    {'n', "last", "N", "Begin with the last N events."},
    {'t', "type", "GLOB",
     "Only events whose type matches, for instance 'task.*'; may be repeated, or a list with "
     "commas."},
    {0, "count", "N", "End after N events."},
    {'g', "group", "NAME",
     "Go on where the last reader of this name ended; the place is kept by Redis. A new one begins "
     "at --since, or with the next event."},
    {0, "remove", NULL, "Forget the reader of --group and its place."},
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
    .notes = "An event of your own:\n  claudebench call system.event.publish "
             "'{\"type\":\"deploy.done\"}'\n",
    .options = events_options,
    .run = run_events,
};

struct viewer {
    const struct cli *cli;
    struct session s;
    struct event_reader *reader;
    const char **types;
    char since[STREAM_ID_SIZE]; /* "" = not given */
    int64_t last;               /* 0 = not given */
    int64_t left;               /* to show; -1 = any number */
    bool is_json, is_following;
    struct buf out;
    struct term term;
    bool was_up, has_failed; /* told about the present loss */
};

/* ---- printing ---- */

static void put_event_json(struct viewer *v, const struct event_entry *e)
{
    struct buf line = BUF_INIT;
    char id[STREAM_ID_SIZE];

    stream_id_put(e->id, id);
    buf_puts(&line, "{\"event\":"); /* the fields may have an id of their own */
    json_put_cstr(&line, id);
    for (size_t i = 0; i < e->nfields; i++) {
        const struct event_field *f = &e->fields[i];
        json_put_comma(&line);
        json_put_string(&line, f->name, f->name_len);
        buf_putc(&line, ':');
        json_put_string(&line, f->value, f->value_len);
    }
    buf_putc(&line, '}');
    session_put_json(&v->out, (struct json_span){line.data, line.len}, v->term);
    buf_done(&line);
}

static void put_event_text(struct viewer *v, const struct event_entry *e)
{
    char when[CLOCK_RFC3339_SIZE], id[STREAM_ID_SIZE];

    clock_format_rfc3339((int64_t)e->id.ms, when);
    stream_id_put(e->id, id);
    buf_printf(&v->out, "%s  %s  ", when, id);
    term_put(&v->out, e->type, strlen(e->type));
    for (size_t i = 0; i < e->nfields; i++) {
        const struct event_field *f = &e->fields[i];
        if (strcmp(f->name, "type") == 0 || strcmp(f->name, "at") == 0)
            continue;
        buf_putc(&v->out, ' ');
        term_put(&v->out, f->name, f->name_len);
        buf_putc(&v->out, '=');
        term_put_value(&v->out, f->value, f->value_len);
    }
    buf_putc(&v->out, '\n');
}

/* Writes what is ready, whole lines, and then only tells a group that it is done. Returns -1 to go on, or an exit code. */
static int flush_events(struct viewer *v)
{
    struct cb_error err = {0};
    int status = cli_write(&v->out);

    buf_reset(&v->out);
    if (status != EXITCODE_OK)
        return status;
    event_reader_ack(v->reader, &err); /* what is not acknowledged now is, or is given, again */
    return -1;
}

static int show(struct viewer *v, const struct event_entry *e)
{
    if (v->is_json)
        put_event_json(v, e);
    else
        put_event_text(v, e);
    if (v->left > 0)
        v->left--;
    if (event_reader_has_more(v->reader) && v->out.len < WRITE_BYTES && v->left != 0)
        return -1;
    int status = flush_events(v);
    return status >= 0 ? status : v->left == 0 ? EXITCODE_OK : -1;
}

/* ---- what else the reader says ---- */

static void say_gap(const struct event_gap *gap)
{
    char after[STREAM_ID_SIZE], before[STREAM_ID_SIZE];

    stream_id_put(gap->after, after);
    stream_id_put(gap->before, before);
    if (stream_id_compare(gap->after, gap->before) == 0)
        cli_say("the event %s is missing: it was removed before it could be shown", after);
    else
        cli_say("events between %s and %s may be missing: they were removed, or never kept", after,
                before);
}

/* A loss is told once; returns the exit code when there is no use in trying again, else -1. */
static int lost(struct viewer *v, const struct cb_error *err, bool is_final)
{
    bool is_kept_trying = !is_final && v->is_following &&
                          (v->was_up || redis_fault_passes((enum redis_fault)err->code));

    if (err->code == REDIS_MOVED &&
        is_kept_trying) /* the next connection leads to the right node */
        return -1;
    if (!v->has_failed || is_final)
        cli_say("%s%s%s", v->was_up ? "" : "cannot reach Redis at ", err->text,
                is_kept_trying ? "; trying again"
                : is_final || redis_fault_passes((enum redis_fault)err->code)
                    ? ""
                    : "; is claudebenchd running?");
    v->has_failed = true;
    if (is_kept_trying)
        return -1;
    if (err->code == REDIS_NOGROUP)
        return EXITCODE_NOINPUT;
    if (!is_final)
        return EXITCODE_UNAVAILABLE;
    return err->code == REDIS_AUTH ? EXITCODE_NOPERM : EXITCODE_SOFTWARE;
}

static int view(struct viewer *v)
{
    int status = -1;

    while (status < 0) {
        const struct event_entry *e = NULL;
        struct event_gap gap;
        struct cb_error err = {0};
        enum event_reader_said said = event_reader_next(v->reader, WAIT_MS, &e, &gap, &err);
        switch (said) {
        case EVENT_GIVEN:
            status = show(v, e);
            break;
        case EVENT_GAP:
            say_gap(&gap);
            event_reader_ack(v->reader, &err); /* what is missing is not told of again */
            break;
        case EVENT_END:
            status = EXITCODE_OK;
            break;
        case EVENT_NOTHING:
            status = cli_reader_is_gone() ? EXITCODE_FAILURE : -1;
            break;
        case EVENT_LOST:
        case EVENT_DENIED:
            status = lost(v, &err, said == EVENT_DENIED);
            continue;
        }
        v->was_up |= said != EVENT_NOTHING;
        v->has_failed = v->has_failed && said == EVENT_NOTHING;
        if (interrupt_came() && status < 0) {
            status = flush_events(v);
            return status < 0 ? EXITCODE_OK : status;
        }
    }
    return status;
}

/* ---- the group ---- */

static int call_for_group(struct viewer *v, const char *method, struct requests_reply *reply)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;

    buf_puts(&params, "{\"group\":");
    json_put_cstr(&params, cli_value(v->cli, "group", ""));
    if (v->since[0] && strcmp(method, "system.event.subscribe") == 0)
        json_put_text(&params, "since", v->since);
    buf_putc(&params, '}');
    int status = session_connect(&v->s, NULL, 1, 0);
    if (status < 0)
        status = session_call(&v->s, method, &params, NULL, reply);
    requests_client_free(v->s.rc);
    v->s.rc = NULL;
    return status;
}

/* Its place becomes our --since: what lies behind it and is gone will be told. */
static int subscribe(struct viewer *v)
{
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    struct buf cursor CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item item;
    int status = call_for_group(v, "system.event.subscribe", &reply);

    if (status >= 0)
        return status;
    if (v->since[0] && json_find(reply.result, "created", &item) && item.value.at[0] == 'f')
        cli_say("the reader \"%s\" goes on where it ended, not at --since, which is for a new one; "
                "--remove forgets it",
                cli_value(v->cli, "group", ""));
    v->since[0] = '\0';
    if (json_find(reply.result, "cursor", &item) && item.type == JSON_STRING) {
        json_decode_string(item.value, &cursor);
        snprintf(v->since, sizeof v->since, "%s", buf_peek(&cursor));
    }
    return -1;
}

static int remove_group(struct viewer *v)
{
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    struct json_item item;
    int status = call_for_group(v, "system.event.unsubscribe", &reply);

    if (status >= 0)
        return status;
    if (json_find(reply.result, "removed", &item) && item.value.at[0] == 't')
        return EXITCODE_OK;
    cli_say("there is no reader \"%s\"", cli_value(v->cli, "group", ""));
    return EXITCODE_NOINPUT;
}

/* ---- start ---- */

/* An id, a time, or so long ago. Returns -1 to go on, or an exit code. */
static int parse_since(struct viewer *v, const char *text)
{
    struct stream_id id = {0, 0};
    int64_t ms;

    if (!text)
        return -1;
    if (!stream_id_parse(text, &id)) {
        if (interval_parse(text, true, &ms) == 0)
            ms = clock_wall_ms() - ms;
        else if (rfc3339_parse(text, strlen(text), &ms) != 0)
            return cli_wrong_use(v->cli->verb,
                                 "--since: \"%s\" is not the id of an event, a time such as "
                                 "2026-11-22T08:00:00Z, or a number with its unit (ms, s, m, h, d)",
                                 text);
        if (ms > 0)
            id = (struct stream_id){(uint64_t)ms - 1, UINT64_MAX};
    }
    stream_id_put(id, v->since);
    return -1;
}

/* Globs as a NULL-terminated list; each --type may be several, with commas. */
static void read_types(struct viewer *v)
{
    size_t n = 0;

    v->types = mem_calloc(1, sizeof *v->types);
    for (size_t i = 0; i < v->cli->nvalues; i++) {
        const char *at = v->cli->values[i].value;
        if (strcmp(v->cli->values[i].option->name, "type") != 0 || !at)
            continue;
        for (size_t len; *at; at += len + (at[len] == ',')) {
            len = strcspn(at, ",");
            if (len == 0)
                continue;
            v->types = mem_realloc(v->types, (n + 2) * sizeof *v->types);
            v->types[n++] = mem_strndup(at, len);
            v->types[n] = NULL;
        }
    }
}

static int read_options(struct viewer *v)
{
    const struct cli *cli = v->cli;
    bool has_group = cli_is_set(cli, "group");
    int64_t count;

    if (cli_is_set(cli, "remove") && !has_group)
        return cli_wrong_use(cli->verb, "--remove needs --group");
    if (cli_is_set(cli, "last") && (cli_is_set(cli, "since") || has_group))
        return cli_wrong_use(cli->verb, "--last does not go with --since or --group");
    if (cli_int(cli, "last", 1, COUNT_MAX, 0, &v->last) != 0 ||
        cli_int(cli, "count", 1, COUNT_MAX, -1, &count) != 0)
        return EXITCODE_USAGE;
    v->left = count;
    int status = parse_since(v, cli_value(cli, "since", NULL));
    if (status < 0 && !v->since[0] && !v->last && !v->is_following && !has_group)
        snprintf(v->since, sizeof v->since, "0-0");
    read_types(v);
    return status;
}

static int find_redis(struct viewer *v)
{
    struct cb_error err = {0};

    if (v->s.has_target)
        return -1;
    if (connect_target(v->s.opts, CONNECT_CLIENT, &v->s.target, &err) != 0) {
        cli_say("%s%s", err.text,
                err.code == EXITCODE_UNAVAILABLE ? "; is claudebenchd running?" : "");
        return err.code;
    }
    v->s.has_target = true;
    return -1;
}

static bool go_on(void *arg)
{
    (void)arg;
    return !interrupt_came();
}

static void open_reader(struct viewer *v)
{
    struct event_reader_config config = {
        .target = &v->s.target,
        .prefix = v->s.opts->redis.prefix,
        .client_name = "claudebench",
        .types = v->types,
        .since = v->since[0] ? v->since : NULL,
        .last = (size_t)v->last,
        .group = cli_value(v->cli, "group", NULL),
        .is_following = v->is_following,
        .has_channels = v->s.opts->events.transport != EVENTS_STREAM,
        .can_do_without = v->s.opts->events.transport == EVENTS_BOTH,
        .go_on = go_on,
    };

    v->reader = event_reader_new(&config);
}

static int start(struct viewer *v)
{
    int status = read_options(v);

    if (status < 0)
        status = session_load(&v->s, v->cli);
    if (status < 0 && cli_is_set(v->cli, "remove"))
        return remove_group(v);
    if (status < 0 && cli_is_set(v->cli, "group"))
        status = subscribe(v);
    if (status < 0)
        status = find_redis(v);
    if (status >= 0)
        return status;
    if ((!v->is_following || cli_is_set(v->cli, "group")) &&
        v->s.opts->events.transport == EVENTS_PUBSUB)
        cli_say("events.transport is pubsub: events are told to those who follow, and not kept");
    interrupt_catch();
    open_reader(v);
    return view(v);
}

static int run_events(const struct cli *cli)
{
    struct viewer v = {
        .cli = cli,
        .is_json = cli_is_set(cli, "json"),
        .is_following = cli_is_set(cli, "follow"),
        .term = term_detect(STDOUT_FILENO),
    };

    int status = start(&v);
    event_reader_free(v.reader);
    session_close(&v.s);
    for (const char **type = v.types; type && *type; type++)
        free((void *)*type);
    free(v.types);
    buf_done(&v.out);
    interrupt_end();
    return status;
}
