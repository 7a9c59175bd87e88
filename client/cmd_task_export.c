/*
 * cmd_task_export.c: claudebench task export: the tasks as lines that `task import` takes.
 *
 * Pages of task.list name the tasks, one task.get each brings what they hold; EXPORT_WINDOW of those are in flight, and
 * their lines are written in the order of the pages. Memory is constant: one page of ids and the replies of one window.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/interrupt.h"
#include "client/params.h"
#include "client/progress.h"
#include "client/session.h"
#include "common/exitcode.h"
#include "common/mem.h"

#include <fcntl.h>

enum { EXPORT_PAGE = 200, EXPORT_WINDOW = 32, EXPORT_TIMEOUT_MS = 60000, ID_MAX = 24 };

static const struct cli_option export_options[] = {
    {'s', "status", "STATUS",
     "Only tasks in this state: blocked, delayed, pending, in_progress, completed, failed, "
     "cancelled "
     "(default: all)."},
    {'q', "queue", "QUEUE", "Only tasks of this queue."},
    {'o', "output", "FILE", "Write there instead of to stdout; the file must not exist."},
    {0, NULL, NULL, NULL},
};

static int run_task_export(const struct cli *cli);

const struct cli_verb verb_task_export = {
    .name = "task export",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Print tasks as lines that task import takes.",
    .notes = "A line holds what task.create takes: text, priority, queue, roles, metadata, "
             "payload, max_attempts, unique_key, partition. An import makes new tasks of them: "
             "with new ids, pending, not tried yet.\n",
    .options = export_options,
    .run = run_task_export,
};

enum slot_state { SLOT_EMPTY, SLOT_FLYING, SLOT_READY };

struct slot {
    enum slot_state state;
    struct buf line; /* READY; empty: the task has gone meanwhile */
};

struct exporter {
    const struct cli *cli;
    struct session s;
    FILE *file;
    char ids[EXPORT_PAGE][ID_MAX];
    size_t count;   /* ids on the page */
    size_t sent;    /* of them asked for */
    size_t written; /* of them done; the window is [written, sent) */
    struct slot slots[EXPORT_WINDOW];
    struct buf cursor; /* of the next page, "" = the first */
    bool has_more;     /* pages */
    int64_t exported, gone;
    int exit_code;
    struct progress progress;
};

static void fail(struct exporter *ex, int exit_code)
{
    if (!ex->exit_code)
        ex->exit_code = exit_code;
}

/* ---- a line ---- */

/* What task.get calls a member, and what task.create does. */
static const struct {
    const char *from, *to;
} members[] = {
    {"text", "text"},
    {"priority", "priority"},
    {"queue", "queue"},
    {"roles", "roles"},
    {"metadata", "metadata"},
    {"payload", "payload"},
    {"maxAttempts", "max_attempts"},
    {"unique_key", "unique_key"},
    {"partition", "partition"},
};

/* Byte by byte as they were stored. */
static void put_task(struct json_span task, struct buf *out)
{
    struct json_item item;

    buf_putc(out, '{');
    for (size_t i = 0; i < CB_ARRAY_LEN(members); i++)
        if (json_find(task, members[i].from, &item)) {
            json_put_key(out, members[i].to);
            buf_append(out, item.value.at, item.value.len);
        }
    buf_puts(out, "}\n");
}

/* A payload keeps the newlines between its tokens: they would end the line. In JSON that has been checked they stand
 * nowhere else, so a space does as well. */
static void make_one_line(struct buf *line)
{
    for (size_t i = 0; i + 1 < line->len; i++)
        if (line->data[i] == '\n' || line->data[i] == '\r')
            line->data[i] = ' ';
}

/* ---- pages ---- */

static void put_page_params(const struct exporter *ex, struct buf *params)
{
    buf_puts(params, "{");
    json_put_int(params, "limit", EXPORT_PAGE);
    params_put_word(ex->cli, params, "status");
    params_put_word(ex->cli, params, "queue");
    session_put_cursor(params, &ex->cursor);
    buf_puts(params, "}");
}

/* As it is asked for it has to stand in a request, whole. */
static bool is_id(const struct buf *text)
{
    static const char chars[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:";

    return text->len > 0 && text->len < ID_MAX && strspn(text->data, chars) == text->len;
}

static void take_page(struct exporter *ex, struct json_span result)
{
    struct json_item tasks, task, id;
    struct json_iter it;
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;

    ex->count = ex->sent = ex->written = 0;
    if (json_find(result, "tasks", &tasks) && tasks.type == JSON_ARRAY) {
        json_iter_init(&it, tasks.value);
        while (ex->count < EXPORT_PAGE && json_iter_next(&it, &task)) {
            buf_reset(&text);
            if (json_find(task.value, "id", &id) && id.type == JSON_STRING)
                json_decode_string(id.value, &text);
            if (!is_id(&text)) {
                cli_say("task export: the list has a task without a usable id");
                fail(ex, EXITCODE_SOFTWARE);
                return;
            }
            snprintf(ex->ids[ex->count++], ID_MAX, "%s", buf_peek(&text));
        }
    }
    ex->has_more = session_next_page(result, &ex->cursor);
}

static void next_page(struct exporter *ex)
{
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;

    put_page_params(ex, &params);
    int status = session_call(&ex->s, "task.list", &params, NULL, &reply);
    if (status >= 0)
        fail(ex, status);
    else
        take_page(ex, reply.result);
}

/* ---- the tasks of a page ---- */

static void ask_for_tasks(struct exporter *ex)
{
    while (ex->sent < ex->count && ex->sent - ex->written < EXPORT_WINDOW) {
        size_t slot = ex->sent % EXPORT_WINDOW;
        char params[ID_MAX + 16];
        struct requests_call call = {
            .method = "task.get", .params = params, .timeout_ms = EXPORT_TIMEOUT_MS, .tag = slot};

        call.params_len = (size_t)snprintf(params, sizeof params, "{\"id\":\"%s\"}",
                                           ex->ids[ex->sent]);
        requests_client_submit(ex->s.rc, &call);
        ex->slots[slot].state = SLOT_FLYING;
        ex->sent++;
    }
}

static void take_task(struct exporter *ex, const struct requests_reply *reply)
{
    struct slot *slot = &ex->slots[reply->tag];

    slot->state = SLOT_READY;
    buf_reset(&slot->line);
    if (reply->outcome == REQUESTS_RESULT) {
        put_task(reply->result, &slot->line);
        make_one_line(&slot->line);
    } else if (reply->outcome == REQUESTS_ERROR && reply->code == -32004) {
        ex->gone++;
    } else if (!ex->exit_code) {
        progress_clear(&ex->progress);
        fail(ex, session_report("task export", reply));
    }
}

static void write_tasks(struct exporter *ex)
{
    for (; ex->written < ex->sent; ex->written++) {
        struct slot *slot = &ex->slots[ex->written % EXPORT_WINDOW];
        if (slot->state != SLOT_READY)
            return;
        slot->state = SLOT_EMPTY;
        if (slot->line.len == 0 || ex->exit_code)
            continue;
        if (fwrite(slot->line.data, 1, slot->line.len, ex->file) != slot->line.len)
            fail(ex, EXITCODE_FAILURE);
        else
            ex->exported++;
    }
}

static void show_progress(struct exporter *ex)
{
    char note[80];
    int64_t ms = progress_elapsed_ms(&ex->progress);

    snprintf(note, sizeof note, "%" PRId64 " tasks  %.0f/s", ex->exported,
             ms > 0 ? (double)ex->exported * 1000.0 / (double)ms : 0.0);
    progress_update(&ex->progress, 0, 0, note);
}

/* Nothing is in flight afterwards, unless it was interrupted. */
static void export_page(struct exporter *ex)
{
    while (ex->written < ex->count && !ex->exit_code && !interrupt_came()) {
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        ask_for_tasks(ex);
        if (requests_client_next(ex->s.rc, INTERRUPT_LOOK_MS, &reply))
            take_task(ex, &reply);
        write_tasks(ex);
        show_progress(ex);
    }
}

static void export_all(struct exporter *ex)
{
    ex->has_more = true;
    while (ex->has_more && !ex->exit_code && !interrupt_came()) {
        next_page(ex);
        if (!ex->exit_code)
            export_page(ex);
    }
    progress_clear(&ex->progress);
}

/* ---- the verb ---- */

static int open_output(struct exporter *ex)
{
    const char *name = cli_value(ex->cli, "output", NULL);
    int fd = name ? open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : -1;

    if (!name) {
        ex->file = stdout;
        return -1;
    }
    if (fd < 0 || !(ex->file = fdopen(fd, "w"))) {
        int code = errno == EEXIST ? EXITCODE_CONFLICT : EXITCODE_FAILURE;
        cli_say("cannot create %s: %s", name, strerror(errno));
        return code;
    }
    return -1;
}

/* A part is not what FILE is to be, and would be in the way of the next try. */
static void remove_part(const struct exporter *ex)
{
    const char *name = cli_value(ex->cli, "output", NULL);

    if (name && (ex->exit_code || interrupt_came()) && unlink(name) != 0)
        cli_say("%s is not whole, and cannot be removed: %s", name, strerror(errno));
}

/* The count goes to stderr when a person is there to read it, or when it is not the whole. */
static void say_totals(const struct exporter *ex)
{
    bool is_cut = ex->exit_code || interrupt_came();

    if (is_cut && cli_is_set(ex->cli, "output")) {
        cli_say("%s was not written", cli_value(ex->cli, "output", NULL));
        return;
    }
    if (!is_cut && !ex->progress.term.is_tty && !cli_is_set(ex->cli, "output"))
        return;
    cli_say("%" PRId64 " tasks exported%s", ex->exported, is_cut ? "; there are more" : "");
    if (ex->gone)
        cli_say("%" PRId64 " were removed meanwhile", ex->gone);
}

static int export_end(struct exporter *ex)
{
    bool is_written = fflush(ex->file) == 0 && !ferror(ex->file);

    if (ex->file != stdout && fclose(ex->file) != 0)
        is_written = false;
    if (!is_written) {
        if (errno != EPIPE)
            cli_say("cannot write: %s", strerror(errno));
        fail(ex, EXITCODE_FAILURE);
    }
    remove_part(ex);
    say_totals(ex);
    return ex->exit_code;
}

static int run_task_export(const struct cli *cli)
{
    struct exporter *ex = mem_alloc(sizeof *ex);

    ex->cli = cli;
    int status = session_load(&ex->s, cli);
    if (status < 0)
        status = session_connect(&ex->s, NULL, EXPORT_WINDOW, 0);
    if (status < 0)
        status = open_output(ex);
    if (status < 0) {
        interrupt_catch();
        progress_init(&ex->progress, "export");
        export_all(ex);
        status = export_end(ex);
    }
    for (size_t i = 0; i < EXPORT_WINDOW; i++)
        buf_done(&ex->slots[i].line);
    buf_done(&ex->cursor);
    session_close(&ex->s);
    free(ex);
    interrupt_end();
    return status;
}
