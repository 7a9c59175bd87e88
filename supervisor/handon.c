/*
 * handon.c: see handon.h. Each item goes its own way: find the connection, kill it, requeue until nothing
 * is left. Items do not wait for each other.
 */
#include "common/compat.h"
#include "supervisor/handon.h"

#include "common/clock.h"
#include "common/dead_letters.h"
#include "common/fault.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/requeue.h"
#include "supervisor/client_list.h"

enum {
    /* A worker reads far fewer requests than these hand on; behind them there is a pause. */
    ROUNDS_AT_ONCE = 10,
    RETRY_MS = 200
};

struct work {
    struct work *next;
    struct handon *handon;
    char *domain;
    char *consumer;
    char *entry;
    char *how;
    int64_t redis_id;
    bool is_running; /* a command of it is under way */
    int64_t added_ms;
    int64_t moved;
    int64_t dead;
    unsigned rounds; /* calls since the last pause */
};

struct handon {
    const struct options *opts;
    struct redis_conn *conn;
    struct event *retry;
    struct work *first;
    void (*idle)(void *arg);
    void *arg;
};

static void begin_work(struct work *w);
static void requeue(struct work *w);

static void work_free(struct work *w)
{
    free(w->domain);
    free(w->consumer);
    free(w->entry);
    free(w->how);
    free(w);
}

static void finish_work(struct work *w)
{
    struct handon *h = w->handon;
    struct work **at = &h->first;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (w->moved + w->dead > 0)
        log_event(EV_requests_handed_on, LOG_S("service", w->domain),
                  LOG_S("consumer", w->consumer), LOG_I("moved", w->moved), LOG_I("dead", w->dead),
                  LOG_S("charged", w->entry), LOG_S("how", w->how),
                  LOG_I("took_ms", clock_mono_ms() - w->added_ms));
    work_free(w);
    if (!h->first)
        h->idle(h->arg);
}

/* The connection was lost, or Redis refuses for now. After a reconnect ids mean other connections. */
static void suspend_work(struct work *w)
{
    struct timeval tv = {.tv_usec = RETRY_MS * 1000};

    w->is_running = false;
    w->redis_id = 0;
    w->rounds = 0;
    evtimer_add(w->handon->retry, &tv);
}

/* ---- requeue ---- */

/* How many entries one call says to have handled: it was asked for no more than the limit. */
static int64_t count_at(const reply_t *reply, size_t i)
{
    int64_t n = reply_int(reply_at(reply, i));
    return n >= 0 && n <= REQUEUE_LIMIT ? n : 0;
}

static void on_requeued(void *arg, const reply_t *reply)
{
    struct work *w = arg;
    struct cb_error err = {0};

    if (!reply) {
        suspend_work(w);
        return;
    }
    if (reply_is_error(reply))
        cb_error_set(&err, REDIS_ERROR, "%s", reply_str(reply));
    else
        scripts_check_reply(SCRIPT_REQUEUE, reply, REQUEUE_MEMBERS, &err);
    if (err.code != 0) {
        log_event(EV_redis_error, LOG_S("command", "requeue"), LOG_S("consumer", w->consumer),
                  LOG_S("error", err.text));
        suspend_work(w);
        return;
    }
    w->moved += count_at(reply, 0);
    w->dead += count_at(reply, 1);
    dead_letters_log(reply_at(reply, 3), w->consumer);
    dead_letters_log_dropped(reply_at(reply, 4));
    if (reply_int(reply_at(reply, 2)) <= 0)
        finish_work(w);
    else if (++w->rounds < ROUNDS_AT_ONCE)
        requeue(w);
    else /* that there is always more may be a lie */
        suspend_work(w);
}

static void requeue(struct work *w)
{
    const struct options *opts = w->handon->opts;
    CB_CLEANUP(arena_done) struct arena arena = ARENA_INIT;
    const struct requeue what = {
        .stream = keys_make(&arena, opts->redis.prefix, KEY_REQUESTS, w->domain),
        .consumer = w->consumer,
        .entry = w->entry,
        .how = w->how};
    struct script_call call;

    if (!redis_conn_is_up(w->handon->conn)) {
        suspend_work(w);
        return;
    }
    fault_point_text("handon_requeue", w->consumer, strlen(w->consumer));
    script_call_init(&call, SCRIPT_REQUEUE);
    requeue_put(&call, &arena, opts, &what);
    redis_conn_script(w->handon->conn, &call, on_requeued, w);
    script_call_done(&call);
}

/* ---- the connection of the one that is gone ---- */

static void kill_connection(void *arg, int64_t id)
{
    struct work *w = arg;
    char number[24];

    snprintf(number, sizeof number, "%" PRId64, id);
    redis_conn_call(w->handon->conn, NULL, NULL, "CLIENT", "KILL", "ID", number, NULL);
}

/* By name, as an id may have been given to somebody else by a Redis that was restarted. */
static void on_listed(void *arg, const reply_t *reply)
{
    struct work *w = arg;

    if (!reply) {
        suspend_work(w);
        return;
    }
    if (reply_is_error(reply))
        log_event(EV_redis_error, LOG_S("command", "client list"),
                  LOG_S("error", reply_str(reply)));
    else
        client_list_find(reply_str(reply), w->consumer, kill_connection, w);
    requeue(w);
}

static void begin_work(struct work *w)
{
    struct redis_conn *conn = w->handon->conn;
    char id[24];

    if (w->is_running || !conn || !redis_conn_is_up(conn))
        return;
    w->is_running = true;
    snprintf(id, sizeof id, "%" PRId64, w->redis_id);
    if (w->redis_id > 0)
        redis_conn_call(conn, on_listed, w, "CLIENT", "LIST", "ID", id, NULL);
    else
        redis_conn_call(conn, on_listed, w, "CLIENT", "LIST", "TYPE", "normal", NULL);
}

/* ---- interface ---- */

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    handon_resume(arg);
}

struct handon *handon_new(struct event_base *base, const struct options *opts,
                          void (*idle)(void *arg), void *arg)
{
    struct handon *h = mem_alloc(sizeof *h);

    h->opts = opts;
    h->idle = idle;
    h->arg = arg;
    h->retry = evtimer_new(base, on_retry, h);
    cb_assert(h->retry);
    return h;
}

void handon_free(struct handon *h)
{
    if (!h)
        return;
    event_free(h->retry);
    while (h->first) {
        struct work *w = h->first;
        h->first = w->next;
        work_free(w);
    }
    free(h);
}

void handon_set_conn(struct handon *h, struct redis_conn *conn)
{
    h->conn = conn;
}

void handon_add(struct handon *h, const struct handon_item *item)
{
    struct work *w = mem_alloc(sizeof *w);

    *w = (struct work){
        .next = h->first,
        .handon = h,
        .domain = mem_strdup(item->domain),
        .consumer = mem_strdup(item->consumer),
        .entry = mem_strdup(item->entry),
        .how = mem_strdup(item->how),
        .redis_id = item->redis_id,
        .added_ms = clock_mono_ms(),
    };
    h->first = w;
    begin_work(w);
}

void handon_resume(struct handon *h)
{
    struct work *next;

    for (struct work *w = h->first; w; w = next) {
        next = w->next;
        begin_work(w);
    }
}

bool handon_is_idle(const struct handon *h)
{
    return !h->first;
}

size_t handon_count(const struct handon *h)
{
    size_t n = 0;
    for (const struct work *w = h->first; w; w = w->next)
        n++;
    return n;
}
