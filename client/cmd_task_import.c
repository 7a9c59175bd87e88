/*
 * cmd_task_import.c: claudebench task import FILE.jsonl|-: one task per line, in batches of at most
 * 100.
 *
 * Memory is constant: IMPORT_BATCHES batches of at most IMPORT_BYTES each are in hand, the rest
 * stays in the file. A line that is not a task is reported by its number and left out; what only
 * the worker can judge comes back with the batch's error, the line is dropped, and the rest of the
 * batch is sent again. Batches are cut the same way each time and each has the key
 * "<--idem>-<number>", so that an import that was cut off can be repeated.
 *
 * While the queue or Redis's memory is full, batches wait and are sent again, for --wait seconds without any progress.
 * Ctrl-C ends the reading; what is in flight is waited for, so that the totals are right.
 */
#include "common/compat.h"
#include "client/import.h"
#include "client/verbs.h"

#include "client/interrupt.h"
#include "client/params.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/fields.h"
#include "common/mem.h"
#include "common/rnd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

enum {
    IMPORT_TIMEOUT_MS = 60000,
    IMPORT_RETRY_MS = 500,
    IMPORT_SPARE = 1024, /* an export writes the defaults too */
    IMPORT_WAIT_MS = 60000,
    IMPORT_SAY_MS = 15000, /* between two lines that there is no room */
    IMPORT_LAST_MS = 5000, /* after Ctrl-C: for what is in flight */
};

static const struct cli_option import_options[] = {
    {'q', "queue", "QUEUE", "Queue of the lines that do not name one."},
    {0, "strict", NULL,
     "Stop at the first bad line. Up to 700 lines behind it may have been sent by then."},
    {0, "idem", "KEY",
     "Repeating an import of the same file under the same key adds no task twice (within "
     "limits.idempotency_ttl_ms)."},
    {0, "wait", "TIME",
     "How long to wait while the queue or the memory is full (default 60s; 0: not at all)."},
    {'j', "json", NULL, "Print {\"line\":…,\"id\":…} for each line's task, and the totals."},
    {0, NULL, NULL, NULL},
};

static int run_task_import(const struct cli *cli);

const struct cli_verb verb_task_import = {
    .name = "task import",
    .operands = "FILE.jsonl|-",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Create a task from each line of a file of JSON objects.",
    .notes = "A line holds the parameters of task.create, for instance "
             "{\"text\":\"hello\",\"priority\":70}.\n"
             "Bad lines are reported and left out; exit 65 when there were any.\n"
             "Exit 75 when there was no room for as long as --wait says.\n",
    .options = import_options,
    .run = run_task_import,
};

/* ---- sending ---- */

static void send_batch(struct import *im, struct batch *b)
{
    struct buf params = BUF_INIT;
    char idem[REQUESTS_IDEM_SIZE];

    buf_puts(&params, "{\"tasks\":[");
    for (size_t i = 0; i < b->count; i++) {
        json_put_comma(&params);
        buf_append(&params, b->text.data + b->items[i].from, b->items[i].len);
    }
    buf_puts(&params, "]}");
    snprintf(idem, sizeof idem, "%s-%" PRId64 ".%u", im->idem, b->number, b->drops);
    struct requests_call call = {
        .method = "task.create_batch",
        .params = params.data,
        .params_len = params.len,
        .idem = idem,
        .timeout_ms = IMPORT_TIMEOUT_MS,
        .tag = (uint64_t)(b - im->batches),
    };
    requests_client_submit(im->s.rc, &call);
    b->state = BATCH_FLYING;
    buf_done(&params);
}

static void drop_item(struct batch *b, size_t index)
{
    for (size_t i = index; i + 1 < b->count; i++)
        b->items[i] = b->items[i + 1];
    b->count--;
    b->drops++;
}

/* "tasks[17].text" names the item that the worker did not like; -1 when the path is none of that
 * form. */
static long item_in_path(const struct requests_reply *reply, struct buf *path)
{
    struct json_item item;
    char *end;

    if (reply->data.len == 0 || json_type_of(reply->data) != JSON_OBJECT ||
        !json_find(reply->data, "path", &item) || item.type != JSON_STRING)
        return -1;
    json_decode_string(item.value, path);
    if (strncmp(buf_peek(path), "tasks[", 6) != 0)
        return -1;
    long index = strtol(path->data + 6, &end, 10);
    return *end == ']' ? index : -1;
}

/* Appends what the message has not said already. */
static void put_text_member(struct buf *out, struct json_span object, const char *name,
                            const char *label)
{
    struct json_item item;
    struct buf value CB_CLEANUP(buf_done) = BUF_INIT;

    if (!json_find(object, name, &item) || item.type != JSON_STRING)
        return;
    json_decode_string(item.value, &value);
    if (value.len > 0 && !strstr(buf_peek(out), value.data))
        buf_printf(out, "%s%s", label, value.data);
}

/* ---- outcomes ---- */

/* No further batches; those in flight are waited for. */
static void give_up(struct import *im, int exit_code)
{
    im->is_ended = true;
    im->filling = NULL;
    buf_reset(&im->held);
    if (!im->exit_code)
        im->exit_code = exit_code;
}

/* The complaint as the line's own: without the path "tasks[17]", which is the batch's. */
static void put_complaint(struct buf *out, const struct requests_reply *reply, const char *path)
{
    const char *member = strchr(path, ']') + 1;
    size_t before = out->len;

    buf_printf(out, "%s%s", member[0] == '.' ? member + 1 : member, member[0] ? ": " : "");
    size_t start = out->len;
    put_text_member(out, reply->data, "expected", "expected ");
    put_text_member(out, reply->data, "got", out->len > start ? ", got " : "got ");
    if (out->len > start)
        return;
    out->len = before;
    buf_puts(out, reply->message);
}

/* One item is bad: it goes, the others are sent again. */
static bool take_bad_item(struct import *im, struct batch *b, const struct requests_reply *reply)
{
    struct buf path CB_CLEANUP(buf_done) = BUF_INIT;
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    long index = reply->code == -32602 ? item_in_path(reply, &path) : -1;

    if (index < 0 || (size_t)index >= b->count)
        return false;
    put_complaint(&text, reply, path.data);
    import_bad_line(im, b->items[index].line, "%s", buf_peek(&text));
    drop_item(b, (size_t)index);
    if (cli_is_set(im->cli, "strict"))
        b->count = (size_t)index; /* what stands before the bad line, no more */
    if (b->count > 0)
        send_batch(im, b);
    else
        b->state = BATCH_FREE;
    return true;
}

static void put_id(struct import *im, int64_t line, struct json_span id)
{
    if (!cli_is_set(im->cli, "json"))
        return;
    buf_printf(&im->out, "{\"line\":%" PRId64 ",\"id\":", line);
    buf_append(&im->out, id.at, id.len);
    buf_puts(&im->out, "}\n");
}

static int64_t count_existing(struct json_span result)
{
    struct json_item ids, id;
    struct json_iter it;
    int64_t n = 0;

    if (!json_find(result, "existing", &ids) || ids.type != JSON_ARRAY)
        return 0;
    for (json_iter_init(&it, ids.value); json_iter_next(&it, &id);)
        n++;
    return n;
}

static void take_ids(struct import *im, struct batch *b, struct json_span result)
{
    struct json_item ids, id;
    struct json_iter it;
    size_t i = 0;

    b->state = BATCH_FREE;
    im->full_since = 0;
    if (json_find(result, "ids", &ids) && ids.type == JSON_ARRAY) {
        json_iter_init(&it, ids.value);
        while (i < b->count && json_iter_next(&it, &id))
            put_id(im, b->items[i++].line, id.value);
    }
    int64_t existing = count_existing(result);
    im->created += (int64_t)i - existing;
    im->existing += existing;
    if (cli_write(&im->out) != 0)
        give_up(im, EXITCODE_FAILURE);
    buf_reset(&im->out);
    if (i == b->count)
        return;
    progress_clear(&im->progress);
    cli_say("lines %" PRId64 " to %" PRId64 ": the answer names %zu of %zu tasks", b->items[0].line,
            b->items[b->count - 1].line, i, b->count);
    give_up(im, EXITCODE_SOFTWARE);
}

/* The batch is to be sent again; false when that has been tried for long enough. */
static bool wait_for_room(struct import *im, struct batch *b, const struct requests_reply *reply)
{
    int64_t now = clock_mono_ms();
    int64_t wait = reply->retry_after_ms > IMPORT_RETRY_MS ? reply->retry_after_ms
                                                           : IMPORT_RETRY_MS;

    if (im->full_since && now - im->full_since >= im->wait_ms)
        return false;
    if (im->wait_ms > 0 && (!im->full_said || now - im->full_said >= IMPORT_SAY_MS)) {
        im->full_said = now;
        progress_clear(&im->progress);
        cli_say("line %" PRId64 ": %s (%d); waiting for room, %" PRId64 " s at most",
                b->items[0].line, reply->message, reply->code, im->wait_ms / 1000);
    }
    if (!im->full_since)
        im->full_since = now;
    b->state = BATCH_WAITING;
    b->retry_ms = now + wait;
    if (b->retry_ms >
        im->full_since + im->wait_ms) /* the last try, however long it had better be */
        b->retry_ms = im->full_since + im->wait_ms;
    return im->wait_ms > 0;
}

static void take_error(struct import *im, struct batch *b, const struct requests_reply *reply)
{
    if (take_bad_item(im, b, reply))
        return;
    if (session_exit_code(reply->code) == EXITCODE_TEMPFAIL && reply->retry_after_ms >= 0 &&
        wait_for_room(im, b, reply))
        return;
    progress_clear(&im->progress);
    session_report("task import", reply);
    cli_say("lines %" PRId64 " to %" PRId64 " were refused; nothing behind them is imported",
            b->items[0].line, b->items[b->count - 1].line);
    give_up(im, session_exit_code(reply->code));
    b->state = BATCH_FREE;
}

static void take_reply(struct import *im, const struct requests_reply *reply)
{
    struct batch *b = &im->batches[reply->tag];

    switch (reply->outcome) {
    case REQUESTS_RESULT:
        take_ids(im, b, reply->result);
        break;
    case REQUESTS_ERROR:
        take_error(im, b, reply);
        break;
    default:
        progress_clear(&im->progress);
        cli_say("lines %" PRId64 " to %" PRId64 ": %s: %s", b->items[0].line,
                b->items[b->count - 1].line,
                reply->outcome == REQUESTS_UNKNOWN ? "the outcome is unknown" : "not imported",
                reply->message);
        give_up(im, EXITCODE_UNAVAILABLE);
        b->state = BATCH_FREE;
    }
}

/* ---- Ctrl-C ---- */

/* Batches that were refused for want of room are not sent again: they have not happened. */
static void stop_reading(struct import *im)
{
    im->last_ms = clock_mono_ms() + IMPORT_LAST_MS;
    im->is_ended = true;
    im->filling = NULL;
    buf_reset(&im->held);
    for (size_t i = 0; i < IMPORT_BATCHES; i++)
        if (im->batches[i].state == BATCH_WAITING)
            im->batches[i].state = BATCH_FREE;
}

/* Whether to leave although something is in flight. */
static bool has_to_leave(struct import *im)
{
    if (!interrupt_came())
        return false;
    if (!im->last_ms)
        stop_reading(im);
    return clock_mono_ms() >= im->last_ms;
}

/* What is still in flight after that may have happened or not. */
static void say_unknown(const struct import *im)
{
    for (size_t i = 0; i < IMPORT_BATCHES; i++) {
        const struct batch *b = &im->batches[i];
        if (b->state == BATCH_FLYING)
            cli_say("lines %" PRId64 " to %" PRId64 ": the outcome is unknown", b->items[0].line,
                    b->items[b->count - 1].line);
    }
}

/* ---- the loop ---- */

/* Batches that wait for room are sent again when it is time; *due = when the next one is, 0 = none waits. */
static void send_again(struct import *im, int64_t *due)
{
    int64_t now = clock_mono_ms();

    *due = 0;
    for (size_t i = 0; i < IMPORT_BATCHES; i++) {
        struct batch *b = &im->batches[i];
        if (b->state == BATCH_WAITING && im->last_ms) /* refused since Ctrl-C */
            b->state = BATCH_FREE;
        if (b->state == BATCH_WAITING && now >= b->retry_ms)
            send_batch(im, b);
        if (b->state == BATCH_WAITING && (!*due || b->retry_ms < *due))
            *due = b->retry_ms;
    }
}

static struct batch *next_to_fill(struct import *im)
{
    struct batch *free_one = NULL;
    int64_t oldest = im->last_number + 1;

    if (im->filling)
        return im->filling;
    for (size_t i = 0; i < IMPORT_BATCHES; i++) {
        struct batch *b = &im->batches[i];
        if (b->state == BATCH_FREE)
            free_one = b;
        else if (b->number < oldest)
            oldest = b->number;
    }
    /* Of a slow worker's batch it is not known yet whether it is the last one. */
    if (cli_is_set(im->cli, "strict") && im->last_number + 1 - oldest >= IMPORT_BATCHES)
        return NULL;
    return free_one;
}

static bool is_done(const struct import *im)
{
    for (size_t i = 0; i < IMPORT_BATCHES; i++)
        if (im->batches[i].state != BATCH_FREE)
            return false;
    return im->is_ended && im->held.len == 0 && !im->filling;
}

/* Sends what may be sent; returns how long to wait for replies at most (ms), or -1 when all is done. */
static int send_all(struct import *im)
{
    struct batch *b;
    int64_t due;

    send_again(im, &due);
    while (!due && (b = next_to_fill(im)) && import_fill(im, b))
        send_batch(im, b);
    if (is_done(im))
        return -1;
    int64_t left = due ? due - clock_mono_ms() : INTERRUPT_LOOK_MS;
    return left < 0 ? 0 : left < INTERRUPT_LOOK_MS ? (int)left : INTERRUPT_LOOK_MS;
}

static bool is_waiting_for_room(const struct import *im)
{
    for (size_t i = 0; i < IMPORT_BATCHES; i++)
        if (im->batches[i].state == BATCH_WAITING)
            return true;
    return false;
}

/* With nothing in flight all there is to wait for is the time to try again, before which nothing is read, or another line. */
static void wait_for_input(const struct import *im, int wait)
{
    bool is_reading = !im->is_ended && !is_waiting_for_room(im);
    struct pollfd pfd = {.fd = is_reading ? im->lines.fd : -1, .events = POLLIN};

    poll(&pfd, 1, wait);
}

static void show_progress(struct import *im)
{
    char note[80];
    int64_t ms = progress_elapsed_ms(&im->progress);
    int64_t done = im->created + im->existing;

    snprintf(note, sizeof note, "%" PRId64 " tasks  %.0f/s%s", done,
             ms > 0 ? (double)done * 1000.0 / (double)ms : 0.0,
             im->full_since ? "  waiting for room" : "");
    progress_update(&im->progress, im->lines.offset, im->size, note);
}

static void import_all(struct import *im)
{
    int wait;

    while (!has_to_leave(im) && (wait = send_all(im)) >= 0) {
        struct requests_reply reply = REQUESTS_REPLY_INIT;
        if (requests_client_in_flight(im->s.rc) == 0)
            wait_for_input(im, wait);
        else if (requests_client_next(im->s.rc, wait, &reply))
            take_reply(im, &reply);
        requests_reply_done(&reply);
        show_progress(im);
    }
    progress_clear(&im->progress);
    say_unknown(im);
}

/* Replies to a repeated batch are those of the first time: whose tasks these are is not known. */
static void put_totals(struct import *im)
{
    double seconds = (double)progress_elapsed_ms(&im->progress) / 1000.0;

    if (cli_is_set(im->cli, "json")) {
        buf_printf(&im->out,
                   "{\"created\":%" PRId64 ",\"existing\":%" PRId64 ",\"bad\":%" PRId64 "}\n",
                   im->created, im->existing, im->bad);
        return;
    }
    buf_printf(&im->out, "%" PRId64 " task%s created%s in %.2f s, ", im->created,
               im->created == 1 ? "" : "s",
               cli_is_set(im->cli, "idem") ? ", now or earlier under this key," : "", seconds);
    if (im->existing > 0)
        buf_printf(&im->out, "%" PRId64 " had a unique_key that was there, ", im->existing);
    buf_printf(&im->out, "%" PRId64 " bad line%s\n", im->bad, im->bad == 1 ? "" : "s");
}

static int import_end(struct import *im)
{
    put_totals(im);
    int written = cli_write(&im->out);
    if (im->exit_code == EXITCODE_UNAVAILABLE || im->exit_code == EXITCODE_TEMPFAIL ||
        interrupt_came())
        cli_say("to go on, repeat the command with --idem %s: no task is added twice", im->idem);
    if (im->exit_code)
        return im->exit_code;
    return im->bad ? EXITCODE_DATAERR : written;
}

static int open_input(struct import *im)
{
    const char *name = im->cli->operands[0];
    struct stat st;
    int fd = strcmp(name, "-") == 0 ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        cli_say("cannot open %s: %s", name, strerror(errno));
        return EXITCODE_NOINPUT;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        im->size = st.st_size;
    lines_init(&im->lines, fd, (size_t)im->s.opts->limits.params_bytes + IMPORT_SPARE);
    im->lines.has_to_stop = interrupt_came;
    return -1;
}

static void import_done(struct import *im)
{
    if (im->lines.fd > STDIN_FILENO)
        close(im->lines.fd);
    lines_done(&im->lines);
    for (size_t i = 0; i < IMPORT_BATCHES; i++)
        buf_done(&im->batches[i].text);
    buf_done(&im->held);
    buf_done(&im->out);
    session_close(&im->s);
    free(im);
}

/* A bad --queue would be told for each line. Returns -1 to go on. */
static int check_queue(const struct cli *cli)
{
    static const struct field queue_fields[] = {FIELD_NAME("queue", OPTIONAL, ""), FIELD_END};
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct arena arena CB_CLEANUP(arena_done) = ARENA_INIT;
    struct field_value value;
    struct field_problem problem = {0};

    buf_puts(&params, "{");
    int status = params_put_text(cli, &params, "queue");
    buf_puts(&params, "}");
    if (status >= 0)
        return status;
    if (fields_parse(queue_fields, (struct json_span){params.data, params.len}, &arena, &value,
                     &problem) == 0)
        return -1;
    cli_say("--queue: expected %s, got %s", problem.expected, problem.got);
    return EXITCODE_DATAERR;
}

static int run_task_import(const struct cli *cli)
{
    const char *idem = cli_value(cli, "idem", NULL);

    if (idem && strlen(idem) > IMPORT_IDEM_MAX)
        return cli_wrong_use(cli->verb, "--idem is longer than %d bytes", IMPORT_IDEM_MAX);
    int status = check_queue(cli);
    if (status >= 0)
        return status;
    int64_t wait_ms;
    if (cli_time(cli, "wait", 0, 86400000, IMPORT_WAIT_MS, &wait_ms) != 0)
        return EXITCODE_USAGE;
    struct import *im = mem_alloc(sizeof *im);
    im->cli = cli;
    im->wait_ms = wait_ms;
    if (idem)
        snprintf(im->idem, sizeof im->idem, "%s", idem);
    else
        rnd_token(im->idem, 16);
    status = session_load(&im->s, cli);
    if (status < 0)
        status = open_input(im);
    if (status < 0)
        status = session_connect(&im->s, NULL, IMPORT_BATCHES, 0);
    if (status < 0) {
        interrupt_catch();
        progress_init(&im->progress, "import");
        import_all(im);
        status = import_end(im);
    }
    import_done(im);
    interrupt_end();
    return status;
}
