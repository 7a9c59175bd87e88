/*
 * cmd_wait.c: claudebench wait: until tasks have ended, or are in another state.
 *
 * It follows the event stream from before its first look, so that no end falls between the two; an event about a task has it
 * looked at. A look every few seconds finds what events did not tell (trimmed, or a Redis that may not be listened to).
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/interrupt.h"
#include "client/peek.h"
#include "client/session.h"
#include "common/clock.h"
#include "common/event_reader.h"
#include "common/exitcode.h"
#include "common/mem.h"

enum {
    MISSING_MS = 1000,
    LOOK_MS = 5000,     /* between two looks at all of them */
    DEAF_LOOK_MS = 500, /* the same while events cannot be followed */
    BEGIN_MS = 3000,    /* for the reader to have its place */
    IDS_MAX = 1000,
};
#define TIMEOUT_MAX_MS INT64_C(31536000000)

static const struct cli_option wait_options[] = {
    {'t', "timeout", "TIME", "Give up after so long, for instance 90s or 15m (default: never)."},
    {0, "any", NULL, "One of the tasks is enough."},
    {0, "all", NULL, "All of them have to (the default)."},
    {'s', "status", "STATUS",
     "Wait for this state (default completed): blocked, delayed, pending, in_progress, completed, "
     "failed or cancelled; may be repeated, or a list with commas."},
    {'q', "quiet", NULL, "Print nothing."},
    {'j', "json", NULL, "Print each task as JSON, a line each."},
    {0, NULL, NULL, NULL},
};

static int run_wait(const struct cli *cli);

const struct cli_verb verb_wait = {
    .name = "wait",
    .operands = "ID...",
    .min_operands = 1,
    .max_operands = -1,
    .summary = "Wait until tasks have ended.",
    .notes =
        "Prints each task's id and state when it is there. Exit 0: completed, or in the state of "
        "--status; 1: it ended otherwise, and will not get there; 66: no such task; 75: the time "
        "is over. With several: 0 when all of them are there, with --any when one is.\n",
    .options = wait_options,
    .run = run_wait,
};

enum outcome { OUTCOME_OPEN, OUTCOME_REACHED, OUTCOME_MISSED, OUTCOME_GONE };

struct awaited {
    const char *id;
    enum outcome outcome;
    bool is_due;        /* to be looked at */
    bool is_known;      /* it was there once */
    int told;           /* the state in which an event says that it ended; -1: none has */
    int64_t missing_ms; /* since when it is not there; 0: it is */
};

struct waiting {
    const struct cli *cli;
    struct session s;
    struct event_reader *reader;
    struct awaited *tasks;
    size_t len;
    size_t open;
    size_t reached;
    bool wanted[7]; /* by the states below */
    bool is_deaf;   /* events cannot be followed */
    int64_t until_ms, looked_ms;
    struct term term;
};

/* The final ones last. */
static const char *const states[] = {"blocked",   "delayed", "pending",  "in_progress",
                                     "completed", "failed",  "cancelled"};
enum { STATE_IN_PROGRESS = 3, STATE_COMPLETED = 4, STATE_CANCELLED = 6 };

static int find_state(const char *word, size_t len)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(states); i++)
        if (strlen(states[i]) == len && memcmp(states[i], word, len) == 0)
            return (int)i;
    return -1;
}

/* ---- one task ---- */

/* A line for it: what it was found to be. */
static int show(const struct waiting *w, const struct awaited *t, const char *state,
                struct json_span task)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;

    if (cli_is_set(w->cli, "quiet"))
        return -1;
    if (!cli_is_set(w->cli, "json")) {
        term_put(&out, t->id, strlen(t->id));
        buf_printf(&out, " %s\n", state);
    } else if (task.len > 0) {
        session_put_json(&out, task, w->term);
    } else {
        buf_puts(&out, "{\"id\":");
        json_put_cstr(&out, t->id);
        buf_printf(&out, ",\"status\":\"%s\"}\n", state);
    }
    int written = cli_write(&out);
    return written == EXITCODE_OK ? -1 : written;
}

/* It is in that state, or an event has told that it was. Returns -1 to go on, or an exit code. */
static int found_in(struct waiting *w, struct awaited *t, int state, struct json_span task)
{
    if (t->outcome != OUTCOME_OPEN || state < 0)
        return -1;
    if (w->wanted[state] && w->reached++ > 0 && cli_is_set(w->cli, "any"))
        return -1; /* the first one is enough */
    if (w->wanted[state])
        t->outcome = OUTCOME_REACHED;
    else if (state >= STATE_COMPLETED)
        t->outcome = OUTCOME_MISSED;
    else
        return -1;
    w->open--;
    return show(w, t, states[state], task);
}

/*
 * There is no such task (any more). One that ended and was removed at once was told of by an event, which may still be on its
 * way: it is looked at again for a while.
 */
static int is_missing(struct waiting *w, struct awaited *t)
{
    int64_t now = clock_mono_ms();

    if (t->told >= 0)
        return found_in(w, t, t->told, (struct json_span){NULL, 0});
    if (t->missing_ms == 0)
        t->missing_ms = now;
    if (t->is_known && now - t->missing_ms < MISSING_MS) {
        t->is_due = true;
        return -1;
    }
    cli_say("no task %s", t->id);
    t->outcome = OUTCOME_GONE;
    w->open--;
    return -1;
}

static int take_reply(struct waiting *w, const struct requests_reply *reply)
{
    struct awaited *t = &w->tasks[reply->tag];
    struct json_item status;

    if (reply->outcome == REQUESTS_RESULT && json_find(reply->result, "status", &status) &&
        status.type == JSON_STRING && status.value.len > 2) {
        t->is_known = true;
        return found_in(w, t, find_state(status.value.at + 1, status.value.len - 2), reply->result);
    }
    if (reply->outcome == REQUESTS_ERROR && reply->code == -32004)
        return t->outcome == OUTCOME_OPEN ? is_missing(w, t) : -1;
    if (reply->outcome == REQUESTS_RESULT) {
        cli_say("task.get: the task %s has no state", t->id);
        return EXITCODE_SOFTWARE;
    }
    return session_report("task.get", reply);
}

/* ---- a look at all that are due ---- */

static void submit(struct waiting *w, size_t i)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;

    buf_puts(&params, "{\"id\":");
    json_put_cstr(&params, w->tasks[i].id);
    buf_putc(&params, '}');
    const struct requests_call call = {
        .method = "task.get",
        .params = buf_peek(&params),
        .params_len = params.len,
        .timeout_ms = CALL_TIMEOUT_MS,
        .tag = i,
    };
    requests_client_submit(w->s.rc, &call);
}

static int take_next(struct waiting *w)
{
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;

    if (interrupt_came())
        return EXITCODE_OK;
    return requests_client_next(w->s.rc, INTERRUPT_LOOK_MS, &reply) > 0 ? take_reply(w, &reply)
                                                                        : -1;
}

static int look(struct waiting *w)
{
    int status = -1;

    for (size_t i = 0; i < w->len && status < 0; i++) {
        struct awaited *t = &w->tasks[i];
        if (!t->is_due || t->outcome != OUTCOME_OPEN)
            continue;
        t->is_due = false;
        while (status < 0 && !requests_client_has_room(w->s.rc))
            status = take_next(w);
        if (status < 0)
            submit(w, i);
    }
    while (status < 0 && requests_client_in_flight(w->s.rc) > 0)
        status = take_next(w);
    return status;
}

static void look_at_all_soon(struct waiting *w)
{
    w->looked_ms = clock_mono_ms();
    for (size_t i = 0; i < w->len; i++)
        w->tasks[i].is_due = true;
}

/* ---- events ---- */

/* The state that an event tells of; -1: only that something happened. Others are not for long, or not for sure. */
static int state_told(const char *type)
{
    if (strcmp(type, "task.claimed") == 0 || strcmp(type, "task.assigned") == 0)
        return STATE_IN_PROGRESS;
    if (strcmp(type, "task.completed") == 0)
        return STATE_COMPLETED;
    return strcmp(type, "task.cancelled") == 0 ? STATE_CANCELLED : -1;
}

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = words; (at = strstr(at, word)); at += len)
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
            return true;
    return false;
}

static bool is_about(const struct event_entry *e, const char *id)
{
    for (size_t i = 0; i < e->nfields; i++)
        if ((strcmp(e->fields[i].name, "id") == 0 || strcmp(e->fields[i].name, "ids") == 0) &&
            has_word(e->fields[i].value, id))
            return true;
    return false;
}

/* A state that is over by the next look counts, too. */
static int take_event(struct waiting *w, const struct event_entry *e)
{
    int state = state_told(e->type), status = -1;

    for (size_t i = 0; i < w->len && status < 0; i++) {
        struct awaited *t = &w->tasks[i];
        if (t->outcome != OUTCOME_OPEN || !is_about(e, t->id))
            continue;
        t->is_due = true;
        t->told = state >= STATE_COMPLETED ? state : t->told;
        /* Of an end the task itself tells more, if that is wanted and it is still there. */
        if (state >= 0 && (state == STATE_IN_PROGRESS || !cli_is_set(w->cli, "json")))
            status = found_in(w, t, state, (struct json_span){NULL, 0});
    }
    return status;
}

/* What the reader has for us within `timeout_ms`. After a lost connection all are looked at: what it was is not known. */
static int listen_once(struct waiting *w, int timeout_ms)
{
    const struct event_entry *e = NULL;
    struct event_gap gap;
    struct cb_error err = {0};
    enum event_reader_said said = event_reader_next(w->reader, timeout_ms, &e, &gap, &err);
    bool was_deaf = w->is_deaf;

    w->is_deaf = said == EVENT_LOST || said == EVENT_DENIED ||
                 (was_deaf && said == EVENT_NOTHING && !event_reader_is_connected(w->reader));
    if (said == EVENT_GAP || (was_deaf && !w->is_deaf))
        look_at_all_soon(w);
    return said == EVENT_GIVEN ? take_event(w, e) : -1;
}

static void open_reader(struct waiting *w)
{
    static const char *const types[] = {"task.*", NULL};
    const struct options *opts = w->s.opts;
    const struct event_reader_config config = {
        .target = &w->s.target,
        .prefix = opts->redis.prefix,
        .client_name = "claudebench",
        .types = types,
        .is_following = true,
        .has_channels = opts->events.transport != EVENTS_STREAM,
        .can_do_without = true,
    };
    struct stream_id place;
    int64_t until = clock_mono_ms() + BEGIN_MS;

    w->reader = event_reader_new(&config);
    while (!event_reader_place(w->reader, &place) && !w->is_deaf && !interrupt_came() &&
           clock_mono_ms() < until)
        listen_once(w, 1);
}

/* ---- all of it ---- */

/* -1: not yet. */
static int outcome(const struct waiting *w)
{
    bool is_one_gone = false;

    if (w->reached == w->len || (w->reached > 0 && cli_is_set(w->cli, "any")))
        return EXITCODE_OK;
    if (w->open > 0)
        return -1;
    for (size_t i = 0; i < w->len; i++)
        is_one_gone |= w->tasks[i].outcome == OUTCOME_GONE;
    return is_one_gone ? EXITCODE_NOINPUT : EXITCODE_FAILURE;
}

/* Until the next event, the next look, or the end. */
static int pause_ms(const struct waiting *w)
{
    int64_t now = clock_mono_ms();
    int64_t ms = w->looked_ms + (w->is_deaf ? DEAF_LOOK_MS : LOOK_MS) - now;

    if (w->until_ms - now < ms)
        ms = w->until_ms - now;
    return ms < 1 ? 1 : ms > INTERRUPT_LOOK_MS ? INTERRUPT_LOOK_MS : (int)ms;
}

static int time_is_over(const struct waiting *w)
{
    bool is_one = w->open == 1;

    if (cli_is_set(w->cli, "status"))
        cli_say("the time is over: %zu of %zu tasks %s not in that state", w->open, w->len,
                is_one ? "is" : "are");
    else
        cli_say("the time is over: %zu of %zu tasks %s not ended", w->open, w->len,
                is_one ? "has" : "have");
    return EXITCODE_TEMPFAIL;
}

static int wait_for_all(struct waiting *w)
{
    int status = -1;

    for (look_at_all_soon(w); status < 0;) {
        if ((status = look(w)) >= 0 || (status = outcome(w)) >= 0 || interrupt_came())
            return status < 0 ? EXITCODE_OK : status; /* ends by the signal */
        if (clock_mono_ms() >= w->until_ms) {
            return time_is_over(w);
        }
        do
            status = listen_once(w, pause_ms(w));
        while (status < 0 && event_reader_has_more(w->reader) && w->open > 0);
        if (clock_mono_ms() - w->looked_ms >= (w->is_deaf ? DEAF_LOOK_MS : LOOK_MS))
            look_at_all_soon(w);
    }
    return status;
}

static int read_states(struct waiting *w)
{
    if (!cli_is_set(w->cli, "status"))
        w->wanted[STATE_COMPLETED] = true;
    for (size_t i = 0; i < w->cli->nvalues; i++) {
        const char *at = w->cli->values[i].value;
        if (strcmp(w->cli->values[i].option->name, "status") != 0)
            continue;
        for (size_t len; *at; at += len + (at[len] == ',')) {
            len = strcspn(at, ",");
            int state = find_state(at, len);
            if (state < 0)
                return cli_wrong_use(w->cli->verb,
                                     "--status: \"%.*s\" is not blocked, delayed, pending, "
                                     "in_progress, completed, failed or cancelled",
                                     (int)len, at);
            w->wanted[state] = true;
        }
    }
    return -1;
}

/* Each counts once, however often it was given. */
static void take_ids(struct waiting *w)
{
    w->tasks = mem_calloc((size_t)w->cli->noperands, sizeof *w->tasks);
    for (int i = 0; i < w->cli->noperands; i++) {
        const char *id = w->cli->operands[i];
        size_t k = 0;
        while (k < w->len && strcmp(w->tasks[k].id, id) != 0)
            k++;
        if (k == w->len)
            w->tasks[w->len++] = (struct awaited){.id = id, .told = -1};
    }
    w->open = w->len;
}

static int start(struct waiting *w)
{
    int64_t timeout_ms;
    int status = read_states(w);

    if (status >= 0)
        return status;
    if (cli_is_set(w->cli, "any") && cli_is_set(w->cli, "all"))
        return cli_wrong_use(w->cli->verb, "--any or --all, not both");
    if (w->cli->noperands > IDS_MAX)
        return cli_wrong_use(w->cli->verb, "more than %d tasks", IDS_MAX);
    if (cli_time(w->cli, "timeout", 0, TIMEOUT_MAX_MS, TIMEOUT_MAX_MS, &timeout_ms) != 0)
        return EXITCODE_USAGE;
    w->until_ms = clock_mono_ms() + timeout_ms;
    take_ids(w);
    if ((status = session_open(&w->s, w->cli)) >= 0)
        return status;
    interrupt_catch();
    open_reader(w);
    return wait_for_all(w);
}

static int run_wait(const struct cli *cli)
{
    struct waiting w = {.cli = cli, .term = term_detect(STDOUT_FILENO)};
    int status = start(&w);

    event_reader_free(w.reader);
    session_close(&w.s);
    free(w.tasks);
    interrupt_end();
    return status;
}
