/*
 * doctor_tasks.c: do counts and indexes say the same as the tasks? See doctor.h.
 *
 * task.audit walks all indexes and says what is wrong with single entries, and how many tasks of each queue and state it saw.
 * That is compared with what the queues count (task.queues), before the walk and behind it; of a queue in which they differ,
 * the next walk asks for the counters with every page, too. While tasks move, a walk may see one twice or not at all, so a
 * count is wrong only when it was seen to stand still and differs by the same in each of WALKS walks; one that moves all
 * the time is said not to have been compared. Single entries are looked at within one script, so that
 * what is found of them is wrong at that moment; those that a later walk does not find any more have ended meanwhile.
 */
#include "common/compat.h"
#include "client/doctor.h"

#include "client/show.h"
#include "common/mem.h"

enum { WALKS = 4, REPAIR_AT_ONCE = 100, QUEUES_PAGE = 100, WATCHED_MAX = 100, NAME_SIZE = 65 };

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

struct doctor_tasks {
    struct queue *queues; /* sorted by name */
    size_t nqueues;
    size_t queues_cap;
    char **findings; /* JSON, of the last walk */
    size_t nfindings;
    size_t cap;
    int64_t examined;
};

/* ---- queues ---- */

static int compare_queues(const void *a, const void *b)
{
    return strcmp(((const struct queue *)a)->name, ((const struct queue *)b)->name);
}

static struct queue *queue_of(struct doctor_tasks *t, const char *name)
{
    struct queue wanted = {.name = ""};

    snprintf(wanted.name, sizeof wanted.name, "%s", name);
    struct queue *found = t->nqueues ? bsearch(&wanted, t->queues, t->nqueues, sizeof wanted,
                                               compare_queues)
                                     : NULL;
    if (found)
        return found;
    if (t->nqueues == t->queues_cap) {
        t->queues_cap = t->queues_cap ? 2 * t->queues_cap : 16;
        t->queues = mem_realloc(t->queues, t->queues_cap * sizeof *t->queues);
    }
    size_t at = t->nqueues++;
    while (at > 0 && strcmp(t->queues[at - 1].name, wanted.name) > 0) {
        t->queues[at] = t->queues[at - 1];
        at--;
    }
    t->queues[at] = wanted;
    return &t->queues[at];
}

/* The queue that an object of a reply names. */
static struct queue *named_queue(struct doctor_tasks *t, struct json_span object)
{
    char name[NAME_SIZE];

    doctor_text(object, "queue", name, sizeof name);
    return queue_of(t, name);
}

static void take_queue(struct doctor_tasks *t, struct json_span queue, bool is_behind)
{
    struct queue *q = named_queue(t, queue);

    for (size_t i = 0; i < STATES; i++)
        *(is_behind ? &q->after[i] : &q->before[i]) = doctor_number(queue, states[i]);
}

/* What the queues count now. -1, or the exit code after a message. */
static int read_counts(struct doctor *d, bool is_behind)
{
    struct doctor_tasks *t = d->tasks;
    struct buf cursor CB_CLEANUP(buf_done) = BUF_INIT;
    int status = -1;

    for (size_t i = 0; i < t->nqueues; i++)
        memset(is_behind ? t->queues[i].after : t->queues[i].before, 0, sizeof t->queues[i].after);
    do {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        struct json_item list, queue;
        struct json_iter it;
        buf_printf(&params, "{\"limit\":%d", QUEUES_PAGE);
        session_put_cursor(&params, &cursor);
        buf_puts(&params, "}");
        if ((status = session_call(&d->s, "task.queues", &params, NULL, &reply)) >= 0)
            return status;
        if (json_find(reply.result, "queues", &list) && list.type == JSON_ARRAY) {
            json_iter_init(&it, list.value);
            while (json_iter_next(&it, &queue))
                take_queue(t, queue.value, is_behind);
        }
        session_next_page(reply.result, &cursor);
    } while (cursor.len);
    return status;
}

/* ---- a walk ---- */

/* Which of `states` an object names; STATES: one that is not compared. */
static size_t named_state(struct json_span object)
{
    char state[16];
    size_t i = 0;

    doctor_text(object, "state", state, sizeof state);
    while (i < STATES && strcmp(state, states[i]) != 0)
        i++;
    return i;
}

static void take_counted(struct doctor_tasks *t, struct json_span counted)
{
    struct queue *q = named_queue(t, counted);
    size_t state = named_state(counted);

    if (state < STATES)
        q->seen[state] += doctor_number(counted, "count");
}

/* A counter as it was while a page was looked at. */
static void take_counter(struct doctor_tasks *t, struct json_span counter)
{
    struct queue *q = named_queue(t, counter);
    size_t state = named_state(counter);

    if (state < STATES && doctor_number(counter, "count") != q->before[state])
        q->moved[state] = true;
}

static void add_finding(struct doctor_tasks *t, const char *json, size_t len)
{
    if (t->nfindings == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->findings = mem_realloc(t->findings, t->cap * sizeof *t->findings);
    }
    t->findings[t->nfindings++] = mem_strndup(json, len);
}

static void forget_findings(struct doctor_tasks *t)
{
    for (size_t i = 0; i < t->nfindings; i++)
        free(t->findings[i]);
    t->nfindings = 0;
}

static void take_page(struct doctor_tasks *t, struct json_span result)
{
    struct json_item list, item;
    struct json_iter it;

    t->examined += doctor_number(result, "examined");
    if (json_find(result, "counted", &list)) {
        json_iter_init(&it, list.value);
        while (json_iter_next(&it, &item))
            take_counted(t, item.value);
    }
    if (json_find(result, "counters", &list)) {
        json_iter_init(&it, list.value);
        while (json_iter_next(&it, &item))
            take_counter(t, item.value);
    }
    if (json_find(result, "findings", &list)) {
        json_iter_init(&it, list.value);
        while (json_iter_next(&it, &item))
            add_finding(t, item.value.at, item.value.len);
    }
}

/* The queues in which the walk before found something, in order, up to WATCHED_MAX: those behind wait for the next run. */
static void choose_watched(struct doctor_tasks *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->nqueues; i++) {
        struct queue *q = &t->queues[i];
        q->is_watched = false;
        for (size_t j = 0; j < STATES; j++)
            q->is_watched = q->is_watched ||
                            (n < WATCHED_MAX && (q->moved[j] || q->differs[j] != 0));
        n += q->is_watched;
    }
}

static void put_watched(struct buf *params, const struct doctor_tasks *t)
{
    bool is_first = true;

    for (size_t i = 0; i < t->nqueues; i++) {
        if (!t->queues[i].is_watched)
            continue;
        if (is_first) {
            json_put_key(params, "queues");
            buf_puts(params, "[");
        }
        json_put_comma(params);
        json_put_cstr(params, t->queues[i].name);
        is_first = false;
    }
    if (!is_first)
        buf_puts(params, "]");
}

static int walk_indexes(struct doctor *d)
{
    struct doctor_tasks *t = d->tasks;
    struct buf cursor CB_CLEANUP(buf_done) = BUF_INIT;
    int status = -1;

    t->examined = 0;
    forget_findings(t);
    choose_watched(t);
    for (size_t i = 0; i < t->nqueues; i++) {
        memset(t->queues[i].seen, 0, sizeof t->queues[i].seen);
        memset(t->queues[i].moved, 0, sizeof t->queues[i].moved);
    }
    do {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
        buf_puts(&params, "{");
        session_put_cursor(&params, &cursor);
        put_watched(&params, t);
        buf_puts(&params, "}");
        if ((status = session_call(&d->s, "task.audit", &params, NULL, &reply)) >= 0)
            return status;
        take_page(t, reply.result);
        session_next_page(reply.result, &cursor);
    } while (cursor.len);
    return status;
}

/* Compares; true when something calls for another walk. */
static bool compare(struct doctor_tasks *t)
{
    bool is_suspect = t->nfindings > 0;

    for (size_t i = 0; i < t->nqueues; i++) {
        struct queue *q = &t->queues[i];
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
    struct doctor_tasks *t = d->tasks;
    int status = -1;
    bool is_suspect = true;

    for (size_t i = 0; i < t->nqueues; i++) {
        memset(t->queues[i].same, 0, sizeof t->queues[i].same);
        memset(t->queues[i].differs, 0, sizeof t->queues[i].differs);
    }
    for (int i = 0; i < WALKS && is_suspect && status < 0; i++) {
        if ((status = read_counts(d, false)) < 0 && (status = walk_indexes(d)) < 0 &&
            (status = read_counts(d, true)) < 0)
            is_suspect = compare(t);
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
        d->removed += doctor_number(reply.result, "removed");
        d->recounted += doctor_number(reply.result, "recounted");
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
    struct doctor_tasks *t = d->tasks;
    int status = -1;

    for (size_t i = 0; i < t->nfindings && status < 0;) {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        int n = 0;
        buf_puts(&params, "{\"entries\":[");
        while (i < t->nfindings && n < REPAIR_AT_ONCE)
            n += put_entry(&params, t->findings[i++]);
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
    json_put_text(params, "queue", q->name);
    json_put_text(params, "state", states[state]);
    json_put_int(params, "counter", q->before[state]);
    json_put_int(params, "counted", q->seen[state]);
    buf_puts(params, "}");
}

/* The last call, which may name no count, puts the sum of pending tasks right. */
static int repair_counts(struct doctor *d)
{
    struct doctor_tasks *t = d->tasks;
    int status = -1;

    for (size_t i = 0; i <= t->nqueues && status < 0;) {
        struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
        int n = 0;
        buf_puts(&params, "{\"counts\":[");
        for (; i < t->nqueues && n + (int)STATES <= REPAIR_AT_ONCE; i++)
            for (size_t j = 0; j < STATES; j++)
                if (is_wrong(&t->queues[i], j)) {
                    put_count(&params, &t->queues[i], j);
                    n++;
                }
        buf_puts(&params, "]}");
        status = send_repair(d, &params);
        i += i == t->nqueues;
    }
    return status;
}

/* ---- what the others call ---- */

int doctor_tasks_look(struct doctor *d)
{
    if (!d->tasks) {
        d->tasks = mem_alloc(sizeof *d->tasks);
        *d->tasks = (struct doctor_tasks){.queues = NULL};
    }
    return examine(d);
}

/* Entries first: they may be what the counts differ by. The caller looks again. */
int doctor_tasks_repair(struct doctor *d)
{
    int status = repair_entries(d);

    if (status < 0 && d->removed > 0)
        status = examine(d);
    return status < 0 ? repair_counts(d) : status;
}

void doctor_tasks_free(struct doctor_tasks *t)
{
    if (!t)
        return;
    forget_findings(t);
    free(t->findings);
    free(t->queues);
    free(t);
}

/* ---- what is reported ---- */

static const char take_out[] = "claudebench doctor --repair takes it out, if the task is listed "
                               "where it belongs or is no more";
static const char by_hand[] = "left alone: claudebench task show, then task retry, cancel or rm";

static const struct {
    const char *problem;
    const char *text;
    enum doctor_severity severity;
    const char *advice;
} meanings[] = {
    {"no_task", "there is no such task", DOCTOR_WARNING, take_out},
    {"damaged", "the data are damaged", DOCTOR_ERROR,
     "somebody else wrote there: look at the key with redis-cli"},
    {"other_state", "the task is in another state", DOCTOR_WARNING, take_out},
    {"other_queue", "the task belongs to another queue or role", DOCTOR_WARNING, take_out},
    {"other_priority", "the task has another priority", DOCTOR_WARNING,
     "set it again: claudebench task update --priority"},
    {"not_listed", "the task is missing here", DOCTOR_ERROR, by_hand},
    {"no_holder", "in progress, and nobody holds it", DOCTOR_ERROR,
     "it goes back when its lease ends"},
    {"not_held", "not among what its holder has", DOCTOR_WARNING,
     "it goes back when its lease ends, not when its holder does"},
    {"not_assigned", "not among what its holder is to get", DOCTOR_WARNING,
     "it goes back when its lease ends"},
    {"not_awaited", "would not be told when what it waits for ends", DOCTOR_ERROR, by_hand},
    {"not_unique", "another task has its unique key, or none", DOCTOR_WARNING, by_hand},
    {"no_lease", "in progress without a lease: it would never go back", DOCTOR_ERROR,
     "claudebench task reassign gives it back to its queue"},
    {"sum", "the queues together count something else", DOCTOR_WARNING,
     "claudebench doctor --repair puts the counts right"},
};

static char *place_of(struct json_span finding)
{
    struct buf place = BUF_INIT;
    char more[160];

    show_put_member(&place, finding, "index");
    doctor_text(finding, "queue", more, sizeof more);
    if (more[0])
        buf_printf(&place, " %s", more);
    doctor_text(finding, "role", more, sizeof more);
    if (more[0])
        buf_printf(&place, "/%s", more);
    doctor_text(finding, "id", more, sizeof more);
    if (more[0] && strcmp(more, "t-0") != 0)
        buf_printf(&place, " %s", more);
    char *text = mem_strdup(buf_peek(&place));
    buf_done(&place);
    return text;
}

static char *details_of(struct json_span finding, const char *meaning)
{
    static const char *const details[] = {"status", "instance", "waiting_for", "counter",
                                          "counted"};
    struct buf out = BUF_INIT;
    const char *between = ": ";
    char more[160];

    buf_puts(&out, meaning);
    for (size_t i = 0; i < CB_ARRAY_LEN(details); i++) {
        doctor_text(finding, details[i], more, sizeof more);
        if (more[0]) {
            buf_printf(&out, "%s%s %s", between, details[i], more);
            between = ", ";
        }
    }
    char *text = mem_strdup(buf_peek(&out));
    buf_done(&out);
    return text;
}

static void report_entry(struct doctor *d, const char *json)
{
    struct json_span finding = {json, strlen(json)};
    char *place CB_CLEANUP(mem_free_ptr) = place_of(finding);
    char problem[32];
    size_t i = 0;

    doctor_text(finding, "problem", problem, sizeof problem);
    while (i + 1 < CB_ARRAY_LEN(meanings) && strcmp(problem, meanings[i].problem) != 0)
        i++;
    char *text CB_CLEANUP(mem_free_ptr) = details_of(finding, meanings[i].text);
    struct doctor_finding *f = doctor_find(d, "tasks", meanings[i].severity, meanings[i].problem,
                                           place, meanings[i].advice, "%s", text);
    f->is_repairable = strstr(meanings[i].advice, "--repair") != NULL;
    doctor_keep_members(f, finding);
}

static void report_count(struct doctor *d, const struct queue *q, size_t state)
{
    char *place CB_CLEANUP(mem_free_ptr) = mem_printf("counts %s", q->name);
    struct doctor_finding *f = doctor_find(
        d, "tasks", DOCTOR_WARNING, "count", place, "claudebench doctor --repair puts it right",
        "queue %s counts %" PRId64 " %s, there are %" PRId64, q->name, q->before[state],
        states[state], q->seen[state]);

    f->is_repairable = true;
    f->members = mem_printf(
        ",\"index\":\"counts\",\"queue\":\"%s\",\"state\":\"%s\",\"counter\":%" PRId64
        ",\"counted\":%" PRId64,
        q->name, states[state], q->before[state], q->seen[state]);
}

void doctor_tasks_report(struct doctor *d)
{
    const struct doctor_tasks *t = d->tasks;

    if (!t)
        return;
    d->examined += t->examined;
    for (size_t i = 0; i < t->nfindings; i++)
        report_entry(d, t->findings[i]);
    for (size_t i = 0; i < t->nqueues * STATES; i++) {
        const struct queue *q = &t->queues[i / STATES];
        size_t state = i % STATES;
        if (is_wrong(q, state))
            report_count(d, q, state);
        else
            d->not_compared += q->differs[state] != 0;
    }
}
