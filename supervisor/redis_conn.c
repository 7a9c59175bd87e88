/*
 * redis_conn.c: see redis_conn.h. Owns the link, its two events and the queue of callbacks.
 *
 * A callback may hang up or free nothing but may send commands; `epoch` tells the reading loop that the
 * link it was reading is gone.
 */
#include "common/compat.h"
#include "supervisor/redis_conn.h"

#include "common/clock.h"
#include "common/connect.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/redis_cluster.h"

enum {
    LOADING_RETRY_MS = 200,
    STABLE_MS = 2000, /* a connection of that age resets the pauses */
    START_MS = 1000,  /* at the start a server may take so long before that is news */
    ARGS_MAX = 16,
};

/* The log follows these: a line is written when another one is due than the last. */
enum said { SAID_NOTHING, SAID_UP, SAID_LOST, SAID_LOADING, SAID_REFUSED, SAID_MIGRATING };

/* One command that waits for its reply. */
struct pending {
    struct pending *next;
    redis_conn_fn *fn;
    void *arg;
    int64_t deadline_ms;
    struct script_copy *script; /* NULL: not a script */
};

/* What it takes to call a script again after NOSCRIPT. */
struct script_copy {
    enum script_id id;
    int argc;
    char **argv;
    size_t *lens;
};

struct redis_conn {
    struct event_base *base;
    const struct redis_target *target;
    const char *client_name;
    struct redis_conn_hooks hooks;
    struct redis_link *link; /* NULL: none */
    struct event *readable;
    struct event *writable;
    struct event *retry;   /* the next try */
    struct event *overdue; /* the oldest answer's deadline */
    struct backoff backoff;
    enum redis_state state;
    int64_t since_ms;
    char error[256];
    enum redis_fault fault; /* of the last failure */
    enum said said;         /* what was logged last */
    int64_t lost_said_ms;   /* monotonic: when SAID_LOST was */
    int64_t up_ms;          /* monotonic: when it came up last */
    int64_t quiet_until_ms; /* monotonic: until then it may not be there yet */
    bool is_stopped;
    bool has_contact;
    unsigned epoch;
    unsigned hops;    /* redirections since it was up */
    char served[320]; /* by whom, when it was up last */
    struct pending *first;
    struct pending **last;
};

static void on_info(void *arg, const reply_t *reply);
static void begin(struct redis_conn *c);

static struct timeval to_timeval(int64_t ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

/* ---- scripts that may have to be repeated ---- */

static struct script_copy *script_copy_new(const struct script_call *call)
{
    struct script_copy *s = mem_alloc(sizeof *s);

    s->id = call->id;
    s->argc = (int)call->argc;
    s->argv = mem_calloc(call->argc, sizeof *s->argv);
    s->lens = mem_calloc(call->argc, sizeof *s->lens);
    for (size_t i = 0; i < call->argc; i++) {
        s->argv[i] = mem_strndup(call->argv[i], call->lens[i]);
        s->lens[i] = call->lens[i];
    }
    return s;
}

static void script_copy_free(struct script_copy *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->argc; i++)
        free(s->argv[i]);
    free(s->argv);
    free(s->lens);
    free(s);
}

/* ---- the queue of callbacks ---- */

static void arm_overdue(struct redis_conn *c)
{
    if (!c->first || evtimer_pending(c->overdue, NULL))
        return;
    int64_t ms = c->first->deadline_ms - clock_mono_ms();
    struct timeval tv = to_timeval(ms > 0 ? ms : 0);
    evtimer_add(c->overdue, &tv);
}

static void push(struct redis_conn *c, redis_conn_fn *fn, void *arg, struct script_copy *script)
{
    struct pending *p = mem_alloc(sizeof *p);

    *p = (struct pending){.fn = fn, .arg = arg, .script = script};
    p->deadline_ms = clock_mono_ms() + c->target->timeout_ms;
    *c->last = p;
    c->last = &p->next;
    arm_overdue(c);
    if (c->writable && redis_link_wants_write(c->link))
        event_add(c->writable, NULL);
}

static struct pending *pop(struct redis_conn *c)
{
    struct pending *p = c->first;

    cb_assert(p); /* the link has a reply for each command only */
    c->first = p->next;
    if (!c->first)
        c->last = &c->first;
    return p;
}

static void pending_free(struct pending *p)
{
    script_copy_free(p->script);
    free(p);
}

/* All that is unanswered learns that it is lost. Callbacks must not find a link in use. */
static void lose_pending(struct redis_conn *c)
{
    struct pending *list = c->first;

    c->first = NULL;
    c->last = &c->first;
    evtimer_del(c->overdue);
    while (list) {
        struct pending *p = list;
        list = p->next;
        if (p->fn)
            p->fn(p->arg, NULL);
        pending_free(p);
    }
}

/* ---- states ---- */

static void set_state(struct redis_conn *c, enum redis_state state)
{
    if (c->state == state)
        return;
    c->state = state;
    c->since_ms = clock_wall_ms();
    if (state == REDIS_STATE_UP)
        c->error[0] = '\0';
}

static void close_link(struct redis_conn *c)
{
    if (c->readable)
        event_free(c->readable);
    if (c->writable)
        event_free(c->writable);
    c->readable = c->writable = NULL;
    redis_link_free(c->link);
    c->link = NULL;
    c->epoch++;
}

/* A server that is just being started, or a connection that comes and goes: that has been said, and is said again
 * once a minute. One that stays away is said when it has been away for STABLE_MS. */
static bool is_hasty(const struct redis_conn *c)
{
    int64_t now = clock_mono_ms();

    if (now < c->quiet_until_ms)
        return true;
    return c->said == SAID_UP && c->lost_said_ms && now - c->lost_said_ms < LOG_REPEAT_MS &&
           now - c->up_ms < STABLE_MS;
}

static void log_trouble(struct redis_conn *c, enum redis_fault fault)
{
    enum said kind = fault == REDIS_LOADING     ? SAID_LOADING
                     : fault == REDIS_AUTH      ? SAID_REFUSED
                     : fault == REDIS_MIGRATING ? SAID_MIGRATING
                                                : SAID_LOST;
    static const enum log_event events[] = {[SAID_LOST] = EV_redis_lost,
                                            [SAID_LOADING] = EV_redis_loading,
                                            [SAID_REFUSED] = EV_redis_auth,
                                            [SAID_MIGRATING] = EV_redis_migrating};
    char where[160];

    if (c->hooks.is_quiet || c->said == kind || (kind == SAID_LOST && is_hasty(c)))
        return;
    c->said = kind;
    if (kind == SAID_LOST)
        c->lost_said_ms = clock_mono_ms();
    redis_target_describe(c->target, where, sizeof where);
    log_event(events[kind], LOG_S("redis", where), LOG_S("error", c->error),
              LOG_S("next", "retry"));
}

static void schedule(struct redis_conn *c, int64_t ms)
{
    struct timeval tv = to_timeval(ms);
    evtimer_add(c->retry, &tv);
}

/* Another node of the cluster has the slot: no trouble, unless they send us to and fro. */
static bool is_redirected(struct redis_conn *c, enum redis_fault fault)
{
    return fault == REDIS_MOVED && c->hops++ < REDIS_CLUSTER_HOPS;
}

static int64_t retry_ms(struct redis_conn *c, enum redis_fault fault, bool is_redirected)
{
    if (is_redirected)
        return 0;
    return fault == REDIS_LOADING     ? LOADING_RETRY_MS
           : fault == REDIS_MIGRATING ? REDIS_CLUSTER_WAIT_MS
                                      : backoff_next_full_jitter(&c->backoff);
}

/* The connection, or the attempt at one, has failed. */
static void fail(struct redis_conn *c, enum redis_fault fault, const char *why)
{
    enum redis_state old = c->state;
    bool is_loading = fault == REDIS_LOADING;
    bool is_hop = is_redirected(c, fault);

    c->fault = fault;
    close_link(c);
    if (!is_hop || old == REDIS_STATE_UP) { /* else it is a part of connecting */
        snprintf(c->error, sizeof c->error, "%s", why);
        set_state(c, is_loading ? REDIS_STATE_LOADING : REDIS_STATE_DOWN);
    }
    if (old == REDIS_STATE_UP && clock_mono_ms() - c->up_ms >= STABLE_MS)
        backoff_reset(&c->backoff);
    if (!is_hop)
        log_trouble(c, fault);
    schedule(c, retry_ms(c, fault, is_hop));
    lose_pending(c);
    if (c->state != old)
        c->hooks.changed(c->hooks.arg);
}

static void become_up(struct redis_conn *c)
{
    char where[sizeof c->served];

    c->quiet_until_ms = 0;
    c->hops = 0;
    c->up_ms = clock_mono_ms();
    set_state(c, REDIS_STATE_UP);
    c->fault = REDIS_OK;
    redis_target_describe(c->target, where, sizeof where);
    if (c->said != SAID_UP && !c->hooks.is_quiet) {
        log_event(EV_redis_connected, LOG_S("redis", where));
        c->said = SAID_UP;
    } else if (strcmp(where, c->served) != 0 && !c->hooks.is_quiet) {
        log_event(EV_redis_moved, LOG_S("redis", where), LOG_S("from", c->served));
    }
    snprintf(c->served, sizeof c->served, "%s", where);
    c->hooks.up(c->hooks.arg);
    c->hooks.changed(c->hooks.arg);
}

/* ---- replies ---- */

static void reload_script(struct redis_conn *c, struct pending *p)
{
    struct script_copy *s = p->script;

    log_event(EV_script_loaded, LOG_S("script", scripts_name(s->id)));
    redis_link_appendv(c->link, "SCRIPT", "LOAD", scripts_text(s->id), NULL);
    push(c, NULL, NULL, NULL);
    redis_link_append(c->link, s->argc, (const char *const *)s->argv, s->lens);
    push(c, p->fn, p->arg, NULL); /* a second NOSCRIPT is the caller's */
}

/* Answers that say: not this server, not now. (A right that we lack for one command is its sender's.) */
static bool is_fatal(enum redis_fault fault, const reply_t *reply)
{
    return fault == REDIS_LOADING || redis_fault_is_elsewhere(fault) ||
           (fault == REDIS_AUTH && strncmp(reply_str(reply), "NOPERM", 6) != 0);
}

static void handle_reply(struct redis_conn *c, const reply_t *reply)
{
    struct pending *p = pop(c);
    enum redis_fault fault = reply_is_error(reply) ? reply_fault(reply) : REDIS_OK;

    if (fault == REDIS_NOSCRIPT && p->script) {
        reload_script(c, p);
    } else if (is_fatal(fault, reply)) {
        if (p->fn)
            p->fn(p->arg, NULL);
        struct cb_error why = {0};
        reply_error(reply, &why);
        fail(c, fault, why.text);
    } else if (p->fn) {
        p->fn(p->arg, reply);
    }
    pending_free(p);
}

/* The first sign of life: whose server is it? */
static bool make_contact(struct redis_conn *c)
{
    if (c->has_contact)
        return true;
    c->has_contact = true;
    return c->hooks.contact(c->hooks.arg, redis_link_fd(c->link));
}

static void take_replies(struct redis_conn *c)
{
    unsigned epoch = c->epoch;
    struct cb_error err = {0};

    while (c->epoch == epoch) {
        CB_CLEANUP(reply_free_ptr) reply_t *reply = NULL;
        if (redis_link_take(c->link, &reply, &err) < 0) {
            if (err.code == REDIS_LOADING && !make_contact(c))
                err.code = REDIS_LOST;
            fail(c, (enum redis_fault)err.code, err.text);
            return;
        }
        if (!reply)
            return;
        if (!make_contact(c))
            fail(c, REDIS_LOST, "this is not our server");
        else
            handle_reply(c, reply);
    }
}

/* ---- events ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

/* Watches the link's descriptor, which is another one once the sentinels have told where the master is. */
static void watch(struct redis_conn *c)
{
    int fd = redis_link_fd(c->link);

    if (c->readable && event_get_fd(c->readable) == fd)
        return;
    if (c->readable)
        event_free(c->readable);
    if (c->writable)
        event_free(c->writable);
    c->readable = event_new(c->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(c->base, fd, EV_WRITE, on_writable, c);
    cb_assert(c->readable && c->writable);
    event_add(c->readable, NULL);
    if (redis_link_wants_write(c->link))
        event_add(c->writable, NULL);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct redis_conn *c = arg;
    struct cb_error err = {0};
    (void)fd, (void)what;

    if (redis_link_on_readable(c->link, &err) < 0) {
        fail(c, (enum redis_fault)err.code, err.text);
        return;
    }
    watch(c);
    take_replies(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct redis_conn *c = arg;
    struct cb_error err = {0};
    (void)fd, (void)what;

    if (redis_link_on_writable(c->link, &err) < 0) {
        fail(c, (enum redis_fault)err.code, err.text);
        return;
    }
    if (redis_link_wants_write(c->link))
        event_add(c->writable, NULL);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct redis_conn *c = arg;
    (void)fd, (void)what;

    if (c->fault == REDIS_AUTH)
        c->hooks.refused(c->hooks.arg);
    begin(c);
}

static void on_overdue(evutil_socket_t fd, short what, void *arg)
{
    struct redis_conn *c = arg;
    (void)fd, (void)what;

    if (!c->first)
        return;
    if (clock_mono_ms() < c->first->deadline_ms)
        arm_overdue(c);
    else
        fail(c, REDIS_LOST, "no answer in time");
}

/* ---- connecting ---- */

static void begin(struct redis_conn *c)
{
    struct cb_error err = {0};

    cb_assert(!c->link);
    c->has_contact = false;
    if (redis_link_start(c->target, c->client_name, &c->link, &err) < 0) {
        fail(c, (enum redis_fault)err.code, err.text);
        return;
    }
    watch(c);
    redis_link_appendv(c->link, "INFO", NULL);
    push(c, on_info, c, NULL);
}

static void on_info(void *arg, const reply_t *reply)
{
    struct redis_conn *c = arg;
    struct redis_info info = {0};
    struct cb_error why = {0};

    if (!reply)
        return;
    if (reply_is_error(reply)) {
        reply_error(reply, &why);
        fail(c, (enum redis_fault)why.code, why.text);
        return;
    }
    redis_info_parse(reply_str(reply), &info);
    if (c->hooks.accept(c->hooks.arg, &info, &why) < 0)
        fail(c, REDIS_LOST, why.text);
    else
        become_up(c);
}

struct redis_conn *redis_conn_new(struct event_base *base, const struct redis_target *target,
                                  const char *client_name, const struct redis_conn_hooks *hooks)
{
    struct redis_conn *c = mem_alloc(sizeof *c);

    c->base = base;
    c->target = target;
    c->client_name = client_name;
    c->hooks = *hooks;
    c->state = REDIS_STATE_UNKNOWN;
    c->since_ms = clock_wall_ms();
    c->last = &c->first;
    c->retry = evtimer_new(base, on_retry, c);
    c->overdue = evtimer_new(base, on_overdue, c);
    cb_assert(c->retry && c->overdue);
    connect_backoff(target, CONNECT_DAEMON, &c->backoff);
    return c;
}

void redis_conn_free(struct redis_conn *c)
{
    if (!c)
        return;
    close_link(c);
    lose_pending(c);
    event_free(c->retry);
    event_free(c->overdue);
    free(c);
}

void redis_conn_start(struct redis_conn *c, int64_t ms)
{
    if (c->is_stopped)
        return;
    backoff_reset(&c->backoff);
    if (!c->up_ms)
        c->quiet_until_ms = clock_mono_ms() + START_MS;
    if (!c->link)
        schedule(c, ms);
}

void redis_conn_stop(struct redis_conn *c)
{
    c->is_stopped = true;
    close_link(c);
    evtimer_del(c->retry);
    set_state(c, REDIS_STATE_DOWN);
    lose_pending(c);
}

/* ---- commands ---- */

void redis_conn_call(struct redis_conn *c, redis_conn_fn *fn, void *arg, ...)
{
    const char *argv[ARGS_MAX];
    int argc = 0;
    va_list ap;

    cb_assert(redis_conn_is_up(c));
    va_start(ap, arg);
    for (const char *s; (s = va_arg(ap, const char *)) != NULL; argc++) {
        cb_assert(argc < ARGS_MAX);
        argv[argc] = s;
    }
    va_end(ap);
    redis_link_append(c->link, argc, argv, NULL);
    push(c, fn, arg, NULL);
}

void redis_conn_script(struct redis_conn *c, struct script_call *call, redis_conn_fn *fn, void *arg)
{
    cb_assert(redis_conn_is_up(c));
    cb_assert(!call->is_function); /* those are the workers' */
    scripts_append(c->link, call);
    push(c, fn, arg, script_copy_new(call));
}

/* ---- what is known about it ---- */

enum redis_state redis_conn_state(const struct redis_conn *c)
{
    return c->state;
}

bool redis_conn_is_up(const struct redis_conn *c)
{
    return c->state == REDIS_STATE_UP && c->link;
}

int64_t redis_conn_since_ms(const struct redis_conn *c)
{
    return c->since_ms;
}

const char *redis_conn_error(const struct redis_conn *c)
{
    return c->error;
}

bool redis_conn_is_refused(const struct redis_conn *c)
{
    return c->fault == REDIS_AUTH;
}
