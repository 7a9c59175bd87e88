/*
 * fuzz_script_replies.c: any replies to the scripts and commands of the supervisor's parts: missing members, wrong types, numbers
 * out of any range must neither crash nor get out of bounds. The first letter of the input says which part gets them:
 *
 *   i instance (and leftover, handon)   s scheduler   a assign   e event_care   t todo_sweep   j audit   d durable   h handon
 *
 * What follows is RESP: one reply for each command that the part sends. The status LOST stands for a lost connection.
 *
 * The connection (redis_conn.h), libevent's timers and the audit file's thread are stood in for below: commands wait in a queue,
 * a timer that is set is due at once; but no reply may set one for at once, but a tick's for the scheduler: a server is not to set our
 * pace. What the audit would write must be whole lines of JSON that claudebench audit accepts.
 */
#include "common/compat.h"

#include "common/audit_chain.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/redis_link_reader.h"
#include "supervisor/assign.h"
#include "supervisor/audit.h"
#include "supervisor/audit_writer.h"
#include "supervisor/durable.h"
#include "supervisor/event_care.h"
#include "supervisor/handon.h"
#include "supervisor/instance.h"
#include "supervisor/leftover.h"
#include "supervisor/scheduler.h"
#include "supervisor/todo_sweep.h"
#include "tests/fuzz/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { TURNS_MAX = 500, COMMANDS_MAX = 4096 };

/* ---- timers: libevent's interface, as far as the parts use it ---- */

struct event {
    struct event *next;
    event_callback_fn fn;
    void *arg;
    bool is_pending;
};
static struct event *events;
static bool is_answering; /* what is done now, a reply has asked for */

struct event *event_new(struct event_base *base, evutil_socket_t fd, short what,
                        event_callback_fn fn, void *arg)
{
    struct event *e = mem_alloc(sizeof *e);
    (void)base, (void)fd, (void)what;
    *e = (struct event){.next = events, .fn = fn, .arg = arg};
    events = e;
    return e;
}

void event_free(struct event *e)
{
    struct event **at = &events;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    free(e);
}

int event_add(struct event *e, const struct timeval *tv)
{
    cb_assert(!tv || (tv->tv_sec >= 0 && tv->tv_usec >= 0 && tv->tv_usec < 1000000));
    cb_assert(!is_answering || !tv || tv->tv_sec > 0 || tv->tv_usec > 0);
    e->is_pending = true;
    return 0;
}

int event_del(struct event *e)
{
    e->is_pending = false;
    return 0;
}

static void fire_timers(void)
{
    struct event *due[16];
    size_t n = 0;

    for (struct event *e = events; e && n < CB_ARRAY_LEN(due); e = e->next)
        if (e->is_pending)
            due[n++] = e;
    for (size_t i = 0; i < n; i++) { /* none of the parts frees a timer from within one */
        due[i]->is_pending = false;
        due[i]->fn(-1, 0, due[i]->arg);
    }
}

/* ---- the connection ---- */

struct redis_conn {
    bool is_swallowing; /* commands are answered by nobody */
    size_t first, len;
    struct {
        redis_conn_fn *fn;
        void *arg;
    } commands[COMMANDS_MAX];
};
static struct redis_conn conn;

static void push(redis_conn_fn *fn, void *arg)
{
    if (!fn || conn.is_swallowing)
        return;
    cb_assert(conn.len < COMMANDS_MAX);
    conn.commands[conn.len].fn = fn;
    conn.commands[conn.len++].arg = arg;
}

struct redis_conn *redis_conn_new(struct event_base *base, const struct redis_target *target,
                                  const char *client_name, const struct redis_conn_hooks *hooks)
{
    (void)base, (void)target, (void)client_name, (void)hooks;
    return &conn;
}

void redis_conn_free(struct redis_conn *c)
{
    (void)c;
}

void redis_conn_start(struct redis_conn *c, int64_t ms)
{
    (void)c, (void)ms;
}

bool redis_conn_is_up(const struct redis_conn *c)
{
    return c->len < COMMANDS_MAX - 64;
}

void redis_conn_call(struct redis_conn *c, redis_conn_fn *fn, void *arg, ...)
{
    (void)c;
    push(fn, arg);
}

void redis_conn_script(struct redis_conn *c, struct script_call *call, redis_conn_fn *fn, void *arg)
{
    volatile unsigned sum = 0;
    (void)c;
    for (size_t i = 0; i < call->argc; i++) /* all of it is read, as the link would */
        for (size_t at = 0; at < call->lens[i]; at++)
            sum += (unsigned char)call->argv[i][at];
    (void)sum;
    push(fn, arg);
}

static void answer(const reply_t *reply)
{
    size_t i = conn.first++;
    bool is_lost = reply_type(reply) == REPLY_STATUS && strcmp(reply_str(reply), "LOST") == 0;
    is_answering = true;
    conn.commands[i].fn(conn.commands[i].arg, is_lost ? NULL : reply);
    is_answering = false;
}

/* ---- the audit file's thread ---- */

struct audit_writer {
    audit_writer_fn *fn;
    void *arg;
    bool is_busy;
    struct audit_done done;
};
static struct audit_writer writer;
static struct audit_position written;
static bool has_written;

struct audit_writer *audit_writer_new(struct event_base *base, const char *path,
                                      audit_writer_fn *fn, void *arg, struct cb_error *err)
{
    (void)base, (void)path, (void)err;
    writer = (struct audit_writer){.fn = fn, .arg = arg};
    has_written = false;
    return &writer;
}

void audit_writer_free(struct audit_writer *w)
{
    (void)w;
}

bool audit_writer_is_busy(const struct audit_writer *w)
{
    return w->is_busy;
}

static void begin_job(struct audit_writer *w, enum audit_job job)
{
    w->is_busy = true;
    w->done = (struct audit_done){.job = job, .is_open = true};
}

void audit_writer_open(struct audit_writer *w)
{
    begin_job(w, AUDIT_JOB_OPEN);
}

void audit_writer_sync(struct audit_writer *w)
{
    begin_job(w, AUDIT_JOB_SYNC);
}

static void check_lines(const char *text, size_t len)
{
    for (const char *end; len > 0; len -= (size_t)(end + 1 - text), text = end + 1) {
        struct audit_line line;
        end = memchr(text, '\n', len);
        cb_assert(end);
        const char *wrong = audit_chain_check(text, (size_t)(end - text), &line);
        if (!wrong && has_written)
            wrong = audit_chain_follows(&written, &line);
        if (wrong)
            fprintf(stderr, "%s: %.*s\n", wrong, (int)(end - text), text);
        cb_assert(!wrong);
        written = line.at;
        has_written = true;
    }
}

void audit_writer_append(struct audit_writer *w, struct buf *lines, bool is_start,
                         enum audit_fsync when)
{
    (void)is_start, (void)when;
    check_lines(buf_peek(lines), lines->len);
    buf_done(lines);
    begin_job(w, AUDIT_JOB_APPEND);
}

static void finish_job(void)
{
    if (!writer.is_busy)
        return;
    writer.is_busy = false;
    writer.fn(writer.arg, &writer.done);
}

/* ---- the parts ---- */

struct parts {
    const struct options *opts;
    struct scoreboard *board;
    struct services services;
    struct instance *instance;
    struct handon *handon;
    struct leftover *orphan;
    struct scheduler *scheduler;
    struct assign *assign;
    struct event_care *event_care;
    struct todo_sweep *todo_sweep;
    struct audit *audit;
    struct durable *durable;
};

bool services_have(const struct services *s, uint64_t generation)
{
    (void)s, (void)generation;
    return false;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void is_due(void *arg, int64_t in_ms)
{
    struct parts *p = arg;
    bool is_told = is_answering;

    is_answering = false;
    if (p->scheduler)
        scheduler_wake(p->scheduler, in_ms);
    is_answering = is_told;
}

static void audit_has(void *arg, const char *last_id)
{
    struct parts *p = arg;
    audit_wake(p->audit, last_id);
}

static void measure(void *arg, bool is_last, struct script_call *call, struct arena *a)
{
    (void)arg, (void)is_last, (void)call, (void)a;
}

static void orphan_handled(void *arg, int found)
{
    struct parts *p = arg;
    instance_orphan_handled(p->instance, found == 0);
}

static void is_orphan(void *arg, const char *id)
{
    struct parts *p = arg;
    leftover_free(p->orphan);
    p->orphan = leftover_new_of(&p->services, p->handon, id, orphan_handled, p);
    leftover_look(p->orphan, &conn);
}

/* One tick by which the instance leads; its next commands are never answered, so that it sends no others. */
static void lead(struct parts *p)
{
    static const char tick[] = "*15\r\n+ok\r\n:1\r\n$4\r\nhost\r\n$1\r\n7\r\n:1\r\n:0\r\n:0\r\n:"
                               "0\r\n$0\r\n\r\n:0\r\n$0\r\n\r\n"
                               "*4\r\n:1\r\n:1\r\n$1\r\n0\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n*0\r\n";
    struct redis_link_reader reader;
    reply_t *reply = NULL;

    redis_link_reader_init(&reader);
    feed(&reader, tick, sizeof tick - 1);
    redis_link_reader_next(&reader, &reply, NULL);
    cb_assert(reply);
    instance_resume(p->instance);
    answer(reply);
    reply_free(reply);
    redis_link_reader_done(&reader);
    cb_assert(instance_leader(p->instance).is_self);
    conn.is_swallowing = true;
    instance_resume(p->instance);
    fire_timers();
    conn.is_swallowing = false;
    conn.first = conn.len = 0;
}

static void add_handon(struct parts *p, const char *consumer, int64_t redis_id)
{
    struct handon_item item = {.domain = "task",
                               .consumer = consumer,
                               .redis_id = redis_id,
                               .entry = "1-1",
                               .how = "signal 9"};
    handon_add(p->handon, &item);
}

static void make_part(struct parts *p, char which)
{
    static const struct redis_target target = {.timeout_ms = 5000};

    switch (which) {
    case 's':
        p->scheduler = scheduler_new(NULL, p->opts, p->board, p->instance, &conn);
        scheduler_wake(p->scheduler, 0);
        break;
    case 'a':
        p->assign = assign_new(NULL, p->opts, &target, &conn, p->instance);
        assign_update(p->assign);
        break;
    case 'e':
        p->event_care = event_care_new(NULL, p->opts, p->instance, &conn);
        break;
    case 't':
        p->todo_sweep = todo_sweep_new(NULL, p->opts, &conn);
        break;
    case 'j':
        p->audit = audit_new(NULL, p->opts, &conn);
        audit_wake(p->audit, "5-1");
        break;
    case 'd':
        p->durable = durable_new(NULL, p->board, &conn);
        break;
    case 'h':
        add_handon(p, "host/task/0.1", 5);
        add_handon(p, "host/task/1.2", 0);
        break;
    default:
        break;
    }
}

static void run(struct parts *p, char which, const char *data, size_t len)
{
    struct redis_link_reader reader;

    redis_link_reader_init(&reader);
    feed(&reader, data, len);
    for (int i = 0; i < TURNS_MAX; i++) {
        CB_CLEANUP(reply_free_ptr) reply_t *reply = NULL;
        fire_timers();
        if (which == 'j') {
            finish_job();
            audit_wake(p->audit, "9-9");
        }
        if (conn.first == conn.len)
            continue;
        if (redis_link_reader_next(&reader, &reply, NULL) != 0 || !reply)
            break;
        answer(reply);
    }
    redis_link_reader_done(&reader);
}

static struct options *make_options(void)
{
    static const char text[] = "config_version: 1\ninstance: {id: host}\ntask: {assignment: "
                               "push}\naudit: {file: /nowhere/audit}\n";
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    struct options *opts = NULL;

    if (options_load_text(text, sizeof text - 1, "fuzz.yaml", &opts, &errs) != 0) {
        struct buf out = BUF_INIT;
        options_errors_put(&errs, &out);
        fprintf(stderr, "%s", buf_peek(&out));
        abort();
    }
    options_errors_done(&errs);
    return opts;
}

static void done(struct parts *p)
{
    while (conn.first < conn.len) /* as redis_conn_free() does */
        answer(NULL);
    conn.first = conn.len = 0;
    assign_free(p->assign);
    audit_free(p->audit);
    leftover_free(p->orphan);
    handon_free(p->handon);
    scheduler_free(p->scheduler);
    event_care_free(p->event_care);
    todo_sweep_free(p->todo_sweep);
    durable_free(p->durable);
    instance_free(p->instance);
    cb_assert(!events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct options *opts;
    static struct scoreboard *board;
    struct cb_error err;

    if (!opts) {
        opts = make_options();
        cb_assert(scoreboard_create(&board, &err) >= 0);
        const struct log_settings settings = {.level = LOG_LEVEL_INFO, .destination = "/dev/null"};
        cb_assert(log_open(&settings, &err) == 0);
    }
    if (len == 0)
        return 0;
    clock_fake_set(1000000000, 1700000000000000); /* it stands still: nothing takes any time */
    struct parts p = {.opts = opts, .board = board};
    const struct instance_hooks hooks = {.arg = &p,
                                         .ours = nothing,
                                         .registered = nothing,
                                         .refused = nothing,
                                         .changed = nothing,
                                         .due = is_due,
                                         .audit = audit_has,
                                         .measure = measure,
                                         .orphan = is_orphan};
    char which = (char)data[0];

    p.services.env.opts = opts;
    p.services.items[0].name = "task";
    p.services.len = 1;
    p.instance = instance_new(NULL, opts, board, "secret", &hooks);
    instance_set_conn(p.instance, &conn);
    p.handon = handon_new(NULL, opts, nothing, NULL);
    handon_set_conn(p.handon, &conn);
    lead(&p);
    make_part(&p, which);
    if (which == 'i') { /* anew, so that its ticks are answered from the input */
        instance_free(p.instance);
        p.instance = instance_new(NULL, opts, board, "secret", &hooks);
        instance_set_conn(p.instance, &conn);
        instance_resume(p.instance);
    }
    run(&p, which, (const char *)data + 1, len - 1);
    done(&p);
    return 0;
}
