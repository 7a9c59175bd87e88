/*
 * cmd_doctor.c: claudebench doctor: do counts and indexes say the same as the tasks?
 *
 * task.audit walks all indexes and says what is wrong with single entries, and how many tasks of each queue and state it saw.
 * That is compared with what the queues count (task.queues), before the walk and behind it; of a queue in which they differ,
 * the next walk asks for the counters with every page, too. While tasks move, a walk may see one twice or not at all, so a
 * count is wrong only when it was seen to stand still and differs by the same in each of WALKS walks; one that moves all
 * the time is said not to have been compared. Single entries are looked at within one script, so that
 * what is found of them is wrong at that moment; those that a later walk does not find any more have ended meanwhile.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/session.h"
#include "client/show.h"
#include "client/table.h"
#include "common/exitcode.h"
#include "common/mem.h"

enum { WALKS = 4, REPAIR_AT_ONCE = 100, QUEUES_PAGE = 100, WATCHED_MAX = 100, NAME_SIZE = 65 };

static const struct cli_option options[] = {
    {0, "repair", NULL,
     "Take out entries that lead nowhere, and put counts right; what is behind it is left alone."},
    {'j', "json", NULL, "Print one JSON object for each finding, and one with the totals."},
    {0, NULL, NULL, NULL},
};

static int run_doctor(const struct cli *cli);

const struct cli_verb verb_doctor = {
    .name = "doctor",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Check counts, indexes and leases against the tasks.",
    .notes =
        "Exit 0: nothing is wrong, or all of it was repaired; 1: something is; 69: no daemon.\n"
        "Changes nothing without --repair, and may be run while tasks are worked on.\n",
    .options = options,
    .run = run_doctor,
};

static const char *const states[] = {"pending",     "delayed", "blocked",
                                     "in_progress", "failed",  "cancelled"};
enum { STATES = CB_ARRAY_LEN(states) };

/* One queue: what it counted before the walk and behind it, and what the walk saw. */
struct queue {
    char name[NAME_SIZE];
    int64_t before[STATES];
    int64_t after[STATES];
    int64_t seen[STATES];
    int64_t differs[STATES]; /* by how much in the walk before; 0: not at all */
    unsigned same[STATES];   /* in how many walks by so much */
    bool moved[STATES];      /* the last walk could not compare it */
    bool is_watched;         /* its counters come with each page of this walk */
};

struct doctor {
    const struct cli *cli;
    struct session s;
    struct term term;
    struct queue *queues; /* sorted by name */
    size_t nqueues;
    size_t queues_cap;
    char **findings; /* JSON, of the last walk */
    size_t nfindings;
    size_t cap;
    int64_t examined;
    int64_t removed;
    int64_t recounted;
};

/* ---- queues ---- */

static int compare_queues(const void *a, const void *b)
{
    return strcmp(((const struct queue *)a)->name, ((const struct queue *)b)->name);
}

static struct queue *queue_of(struct doctor *d, const char *name)
{
    struct queue wanted = {.name = ""};

    snprintf(wanted.name, sizeof wanted.name, "%s", name);
    struct queue *found = d->nqueues ? bsearch(&wanted, d->queues, d->nqueues, sizeof wanted,
                                               compare_queues)
                                     : NULL;
    if (found)
        return found;
    if (d->nqueues == d->queues_cap) {
        d->queues_cap = d->queues_cap ? 2 * d->queues_cap : 16;
        d->queues = mem_realloc(d->queues, d->queues_cap * sizeof *d->queues);
    }
    size_t at = d->nqueues++;
    while (at > 0 && strcmp(d->queues[at - 1].name, wanted.name) > 0) {
        d->queues[at] = d->queues[at - 1];
        at--;
    }
    d->queues[at] = wanted;
    return &d->queues[at];
}

static void take_text(struct json_span object, const char *name, char *text, size_t size)
{
    struct buf value CB_CLEANUP(buf_done) = BUF_INIT;

    show_put_member(&value, object, name);
    snprintf(text, size, "%s", buf_peek(&value));
}

static int64_t number_of(struct json_span object, const char *name)
{
    struct json_item item;
    int64_t n = 0;

    if (json_find(object, name, &item))
        json_decode_int(item.value, &n);
    return n;
}

static void take_queue(struct doctor *d, struct json_span queue, bool is_behind)
{
    char name[NAME_SIZE];

    take_text(queue, "queue", name, sizeof name);
    struct queue *q = queue_of(d, name);
    for (size_t i = 0; i < STATES; i++)
        *(is_behind ? &q->after[i] : &q->before[i]) = number_of(queue, states[i]);
}

static void put_cursor(struct buf *params, const struct buf *cursor)
{
    if (cursor->len) {
        json_put_key(params, "cursor");
        json_put_string(params, cursor->data, cursor->len);
    }
}

/* What the queues count now. -1, or the exit code after a message. */
static int read_counts(struct doctor *d, bool is_behind)
{
    struct buf cursor CB_CLEANUP(buf_done) = BUF_INIT;
    int status = -1;

    for (size_t i = 0; i < d->nqueues; i++)
        memset(is_behind ? d->queues[i].after : d->queues[i].before, 0, sizeof d->queues[i].after);
    do {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        struct json_item list, queue;
        struct json_iter it;
        buf_printf(&params, "{\"limit\":%d", QUEUES_PAGE);
        put_cursor(&params, &cursor);
        buf_puts(&params, "}");
        if ((status = session_call(&d->s, "task.queues", &params, NULL, &reply)) >= 0)
            return status;
        if (json_find(reply.result, "queues", &list) && list.type == JSON_ARRAY) {
            json_iter_init(&it, list.value);
            while (json_iter_next(&it, &queue))
                take_queue(d, queue.value, is_behind);
        }
        buf_reset(&cursor);
        show_put_member(&cursor, reply.result, "next");
    } while (cursor.len);
    return status;
}

/* ---- a walk ---- */

static void take_counted(struct doctor *d, struct json_span counted)
{
    char name[NAME_SIZE], state[16];

    take_text(counted, "queue", name, sizeof name);
    take_text(counted, "state", state, sizeof state);
    struct queue *q = queue_of(d, name);
    for (size_t i = 0; i < STATES; i++)
        if (strcmp(state, states[i]) == 0)
            q->seen[i] += number_of(counted, "count");
}

/* A counter as it was while a page was looked at. */
static void take_counter(struct doctor *d, struct json_span counter)
{
    char name[NAME_SIZE], state[16];

    take_text(counter, "queue", name, sizeof name);
    take_text(counter, "state", state, sizeof state);
    struct queue *q = queue_of(d, name);
    for (size_t i = 0; i < STATES; i++)
        if (strcmp(state, states[i]) == 0 && number_of(counter, "count") != q->before[i])
            q->moved[i] = true;
}

static void add_finding(struct doctor *d, const char *json, size_t len)
{
    if (d->nfindings == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 64;
        d->findings = mem_realloc(d->findings, d->cap * sizeof *d->findings);
    }
    d->findings[d->nfindings++] = mem_strndup(json, len);
}

static void forget_findings(struct doctor *d)
{
    for (size_t i = 0; i < d->nfindings; i++)
        free(d->findings[i]);
    d->nfindings = 0;
}

static void take_page(struct doctor *d, struct json_span result)
{
    struct json_item list, item;
    struct json_iter it;

    d->examined += number_of(result, "examined");
    if (json_find(result, "counted", &list)) {
        json_iter_init(&it, list.value);
        while (json_iter_next(&it, &item))
            take_counted(d, item.value);
    }
    if (json_find(result, "counters", &list)) {
        json_iter_init(&it, list.value);
        while (json_iter_next(&it, &item))
            take_counter(d, item.value);
    }
    if (json_find(result, "findings", &list)) {
        json_iter_init(&it, list.value);
        while (json_iter_next(&it, &item))
            add_finding(d, item.value.at, item.value.len);
    }
}

/* The queues in which the walk before found something, in order, up to WATCHED_MAX: those behind wait for the next run. */
static void choose_watched(struct doctor *d)
{
    size_t n = 0;

    for (size_t i = 0; i < d->nqueues; i++) {
        struct queue *q = &d->queues[i];
        q->is_watched = false;
        for (size_t j = 0; j < STATES; j++)
            q->is_watched = q->is_watched ||
                            (n < WATCHED_MAX && (q->moved[j] || q->differs[j] != 0));
        n += q->is_watched;
    }
}

static void put_watched(struct buf *params, const struct doctor *d)
{
    bool is_first = true;

    for (size_t i = 0; i < d->nqueues; i++) {
        if (!d->queues[i].is_watched)
            continue;
        if (is_first) {
            json_put_key(params, "queues");
            buf_puts(params, "[");
        }
        json_put_comma(params);
        json_put_cstr(params, d->queues[i].name);
        is_first = false;
    }
    if (!is_first)
        buf_puts(params, "]");
}

static int walk_indexes(struct doctor *d)
{
    struct buf cursor CB_CLEANUP(buf_done) = BUF_INIT;
    int status = -1;

    d->examined = 0;
    forget_findings(d);
    choose_watched(d);
    for (size_t i = 0; i < d->nqueues; i++) {
        memset(d->queues[i].seen, 0, sizeof d->queues[i].seen);
        memset(d->queues[i].moved, 0, sizeof d->queues[i].moved);
    }
    do {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        buf_puts(&params, "{");
        put_cursor(&params, &cursor);
        put_watched(&params, d);
        buf_puts(&params, "}");
        if ((status = session_call(&d->s, "task.audit", &params, NULL, &reply)) >= 0)
            return status;
        take_page(d, reply.result);
        buf_reset(&cursor);
        show_put_member(&cursor, reply.result, "next");
    } while (cursor.len);
    return status;
}

/* Compares; true when something calls for another walk. */
static bool compare(struct doctor *d)
{
    bool is_suspect = d->nfindings > 0;

    for (size_t i = 0; i < d->nqueues; i++) {
        struct queue *q = &d->queues[i];
        for (size_t j = 0; j < STATES; j++) {
            int64_t differs = q->before[j] - q->seen[j];
            q->moved[j] = q->moved[j] || q->before[j] != q->after[j];
            if (q->moved[j] || differs == 0 || !q->is_watched)
                q->same[j] = 0;
            else
                q->same[j] = differs == q->differs[j] ? q->same[j] + 1 : 1;
            q->differs[j] = differs;
            is_suspect = is_suspect || q->moved[j] || differs != 0;
        }
    }
    return is_suspect;
}

/* Walks until nothing is wrong, WALKS times at most. -1, or the exit code after a message. */
static int examine(struct doctor *d)
{
    int status = -1;
    bool is_suspect = true;

    for (size_t i = 0; i < d->nqueues; i++) {
        memset(d->queues[i].same, 0, sizeof d->queues[i].same);
        memset(d->queues[i].differs, 0, sizeof d->queues[i].differs);
    }
    for (int i = 0; i < WALKS && is_suspect && status < 0; i++) {
        if ((status = read_counts(d, false)) < 0 && (status = walk_indexes(d)) < 0 &&
            (status = read_counts(d, true)) < 0)
            is_suspect = compare(d);
    }
    return status;
}

static bool is_wrong(const struct queue *q, size_t state)
{
    return q->same[state] >= WALKS - 1; /* the first one only finds out whom to watch */
}

/* ---- repair ---- */

static int send_repair(struct doctor *d, struct buf *params)
{
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    int status = session_call(&d->s, "task.repair", params, NULL, &reply);

    if (status < 0) {
        d->removed += number_of(reply.result, "removed");
        d->recounted += number_of(reply.result, "recounted");
    }
    return status;
}

static void put_text_member(struct buf *params, struct json_span finding, const char *name)
{
    struct json_item item;

    if (json_find(finding, name, &item)) {
        json_put_key(params, name);
        buf_append(params, item.value.at, item.value.len);
    }
}

/* What is about one task; the others say so by their id. */
static bool put_entry(struct buf *params, const char *text)
{
    struct json_span finding = {text, strlen(text)};
    struct json_item id;

    if (!json_find(finding, "id", &id) || json_string_equals(id.value, "t-0"))
        return false;
    json_put_comma(params);
    buf_puts(params, "{");
    put_text_member(params, finding, "index");
    put_text_member(params, finding, "queue");
    put_text_member(params, finding, "role");
    put_text_member(params, finding, "id");
    put_text_member(params, finding, "instance");
    buf_puts(params, "}");
    return true;
}

static int repair_entries(struct doctor *d)
{
    int status = -1;

    for (size_t i = 0; i < d->nfindings && status < 0;) {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        int n = 0;
        buf_puts(&params, "{\"entries\":[");
        while (i < d->nfindings && n < REPAIR_AT_ONCE)
            n += put_entry(&params, d->findings[i++]);
        buf_puts(&params, "]}");
        if (n > 0)
            status = send_repair(d, &params);
    }
    return status;
}

static void put_count(struct buf *params, const struct queue *q, size_t state)
{
    json_put_comma(params);
    buf_puts(params, "{");
    json_put_key(params, "queue");
    json_put_cstr(params, q->name);
    json_put_key(params, "state");
    json_put_cstr(params, states[state]);
    json_put_key(params, "counter");
    buf_put_int(params, q->before[state]);
    json_put_key(params, "counted");
    buf_put_int(params, q->seen[state]);
    buf_puts(params, "}");
}

/* The last call, which may name no count, puts the sum of pending tasks right. */
static int repair_counts(struct doctor *d)
{
    int status = -1;

    for (size_t i = 0; i <= d->nqueues && status < 0;) {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        int n = 0;
        buf_puts(&params, "{\"counts\":[");
        for (; i < d->nqueues && n + (int)STATES <= REPAIR_AT_ONCE; i++)
            for (size_t j = 0; j < STATES; j++)
                if (is_wrong(&d->queues[i], j)) {
                    put_count(&params, &d->queues[i], j);
                    n++;
                }
        buf_puts(&params, "]}");
        status = send_repair(d, &params);
        i += i == d->nqueues;
    }
    return status;
}

/* Entries first: they may be what the counts differ by. What was changed is looked at again. */
static int repair(struct doctor *d)
{
    int status = repair_entries(d);

    if (status < 0 && d->removed > 0)
        status = examine(d);
    int64_t before = d->recounted;
    if (status < 0)
        status = repair_counts(d);
    if (status < 0 && d->recounted > before)
        status = examine(d);
    return status;
}

/* ---- what is shown ---- */

static const struct table_column columns[] = {
    {"INDEX", TABLE_LEFT, TABLE_KEEP},
    {"TASK", TABLE_LEFT, TABLE_KEEP},
    {"PROBLEM", TABLE_LEFT, TABLE_FLEX},
};

static const struct {
    const char *problem;
    const char *text;
} meanings[] = {
    {"no_task", "there is no such task"},
    {"damaged", "the data are damaged"},
    {"other_state", "the task is in another state"},
    {"other_queue", "the task belongs to another queue or role"},
    {"other_priority", "the task has another priority"},
    {"not_listed", "the task is missing here"},
    {"no_holder", "in progress, and nobody holds it"},
    {"not_held", "not among what its holder has"},
    {"not_assigned", "not among what its holder is to get"},
    {"not_awaited", "would not be told when what it waits for ends"},
    {"not_unique", "another task has its unique key, or none"},
    {"no_lease", "held without a lease"},
    {"sum", "the queues together count something else"},
};

static void add_row(struct table *table, struct json_span finding)
{
    struct buf cell CB_CLEANUP(buf_done) = BUF_INIT;
    char problem[32], more[160];

    show_put_member(&cell, finding, "index");
    take_text(finding, "queue", more, sizeof more);
    if (more[0])
        buf_printf(&cell, " %s", more);
    take_text(finding, "role", more, sizeof more);
    if (more[0])
        buf_printf(&cell, "/%s", more);
    table_cell(table, buf_peek(&cell), cell.len);
    buf_reset(&cell);
    show_put_member(&cell, finding, "id");
    table_cell_str(table, strcmp(buf_peek(&cell), "t-0") == 0 ? "-" : buf_peek(&cell));
    buf_reset(&cell);
    take_text(finding, "problem", problem, sizeof problem);
    for (size_t i = 0; i < CB_ARRAY_LEN(meanings); i++)
        if (strcmp(problem, meanings[i].problem) == 0)
            buf_puts(&cell, meanings[i].text);
    static const char *const details[] = {"status", "instance", "waiting_for", "counter",
                                          "counted"};
    for (size_t i = 0; i < CB_ARRAY_LEN(details); i++) {
        take_text(finding, details[i], more, sizeof more);
        if (more[0])
            buf_printf(&cell, "%s%s %s", i ? ", " : ": ", details[i], more);
    }
    table_cell(table, buf_peek(&cell), cell.len);
}

static size_t put_findings(struct doctor *d, struct table *table, struct buf *out)
{
    bool is_json = cli_is_set(d->cli, "json");
    size_t n = 0;

    for (; n < d->nfindings; n++) {
        struct json_span finding = {d->findings[n], strlen(d->findings[n])};
        if (is_json)
            session_put_json(out, finding, d->term);
        else
            add_row(table, finding);
    }
    return n;
}

/* Returns how many counts are wrong; *ret_moved: how many could not be compared. */
static size_t put_counts(struct doctor *d, struct table *table, struct buf *out, size_t *ret_moved)
{
    size_t n = 0;

    for (size_t i = 0; i < d->nqueues * STATES; i++) {
        const struct queue *q = &d->queues[i / STATES];
        size_t state = i % STATES;
        *ret_moved += q->differs[state] != 0 && !is_wrong(q, state);
        if (!is_wrong(q, state))
            continue;
        n++;
        if (cli_is_set(d->cli, "json")) {
            struct buf row CB_CLEANUP(buf_done) = BUF_INIT;
            buf_puts(&row, "{\"index\":\"counts\",\"problem\":\"count\",\"queue\":");
            json_put_cstr(&row, q->name);
            buf_printf(&row, ",\"state\":\"%s\",\"counter\":%" PRId64 ",\"counted\":%" PRId64 "}",
                       states[state], q->before[state], q->seen[state]);
            session_put_json(out, (struct json_span){row.data, row.len}, d->term);
        } else {
            table_cell_str(table, "counts");
            table_cell_str(table, "-");
            table_cellf(table, "queue %s counts %" PRId64 " %s, there are %" PRId64, q->name,
                        q->before[state], states[state], q->seen[state]);
        }
    }
    return n;
}

static int show(struct doctor *d)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;
    struct table table;
    size_t moved = 0;

    table_init(&table, columns, CB_ARRAY_LEN(columns));
    size_t wrong = put_findings(d, &table, &out);
    wrong += put_counts(d, &table, &out, &moved);
    if (cli_is_set(d->cli, "json")) {
        buf_printf(&out,
                   "{\"examined\":%" PRId64
                   ",\"findings\":%zu,\"not_compared\":%zu,\"removed\":%" PRId64
                   ",\"recounted\":%" PRId64 "}\n",
                   d->examined, wrong, moved, d->removed, d->recounted);
    } else {
        if (wrong)
            table_put(&table, d->term, &out);
        buf_printf(&out, "%" PRId64 " entries in %zu queues examined: ", d->examined, d->nqueues);
        if (wrong)
            buf_printf(&out, "%zu findings", wrong);
        else
            buf_puts(&out, "nothing wrong");
        if (cli_is_set(d->cli, "repair"))
            buf_printf(&out, "; %" PRId64 " entries removed, %" PRId64 " counts put right",
                       d->removed, d->recounted);
        if (moved)
            buf_printf(&out, "; %zu counts changed all the time and were not compared", moved);
        buf_puts(&out, "\n");
    }
    table_done(&table);
    int status = cli_write(&out);
    return status == EXITCODE_OK && wrong ? EXITCODE_FAILURE : status;
}

static int run_doctor(const struct cli *cli)
{
    struct doctor d = {.cli = cli, .s = SESSION_INIT, .term = term_detect(STDOUT_FILENO)};
    int status = session_open(&d.s, cli);

    if (status < 0)
        status = examine(&d);
    if (status < 0 && cli_is_set(cli, "repair"))
        status = repair(&d);
    if (status < 0)
        status = show(&d);
    forget_findings(&d);
    free(d.findings);
    free(d.queues);
    session_close(&d.s);
    return status;
}
