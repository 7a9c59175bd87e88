/*
 * session.c: see session.h.
 */
#include "common/compat.h"
#include "worker/session.h"

#include "common/clock.h"
#include "common/dead_letters.h"
#include "common/exitcode.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/redis_cluster.h"
#include "common/requeue.h"
#include "common/schema.h"

enum {
    ROUNDS_MAX = 1000,
};

int session_init(struct session *s, const struct options *opts, struct supervised *sup,
                 const char *domain, const char *consumer, struct cb_error *err)
{
    struct arena arena = ARENA_INIT;

    *s = (struct session){.opts = opts, .sup = sup};
    if (connect_target(opts, CONNECT_DAEMON, &s->target, err) != 0)
        return -1;
    connect_backoff(&s->target, CONNECT_DAEMON, &s->backoff);
    s->consumer = mem_strdup(consumer);
    s->stream = mem_strdup(keys_make(&arena, opts->redis.prefix, KEY_REQUESTS, domain));
    arena_done(&arena);
    return 0;
}

void session_drop(struct session *s)
{
    redis_link_free(s->link);
    redis_link_free(s->second);
    s->link = NULL;
    s->second = NULL;
}

void session_done(struct session *s)
{
    session_drop(s);
    redis_target_done(&s->target);
    free(s->consumer);
    free(s->stream);
}

/* Beats while it connects: a Redis that accepts and does not answer must not look like a hung worker. */
static int open_link(struct session *s, struct redis_link **ret, struct cb_error *err)
{
    struct redis_link *link = NULL;

    if (redis_link_start(&s->target, s->consumer, &link, err) != 0)
        return -1;
    redis_link_set_idle(link, supervised_idle, s->sup);
    redis_link_set_wake_fd(link, s->sup->is_orphan ? -1 : FRAME_FD);
    if (redis_link_await(link, err) != 0) {
        redis_link_free(link);
        return -1;
    }
    *ret = link;
    return 0;
}

struct redis_link *session_second(struct session *s, struct cb_error *err)
{
    if (s->second && redis_link_is_lost(s->second)) {
        redis_link_free(s->second);
        s->second = NULL;
    }
    if (s->second)
        return s->second;
    s->is_repairing = true; /* the hook of the opening must not open it as well */
    int status = open_link(s, &s->second, err);
    s->is_repairing = false;
    return status == 0 ? s->second : NULL;
}

int session_create_group(struct session *s, struct redis_link *link, struct cb_error *err)
{
    if (redis_link_callv(link, NULL, err, "XGROUP", "CREATE", s->stream, "workers", "0", "MKSTREAM",
                         NULL) == 0)
        return 0;
    if (err->code == REDIS_ERROR && strncmp(err->text, "BUSYGROUP", 9) == 0)
        return 0;
    return -1;
}

/* Is the connection with this id still ours? After a restart of Redis ids begin again, and the old one may
 * be somebody else's by now. */
static bool is_our_connection(struct session *s, struct redis_link *link, const char *id)
{
    struct cb_error err = {0};
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;

    if (redis_link_callv(link, &reply, &err, "CLIENT", "LIST", "ID", id, NULL) != 0)
        return false;
    char *name = mem_printf(" name=%s ", s->consumer);
    bool found = strstr(reply_str(reply), name) != NULL;
    free(name);
    return found;
}

/* The server may still hold our old connection, blocked in a read that would take entries. */
static int kill_old_connection(struct session *s, struct redis_link *link, struct cb_error *err)
{
    char id[24];

    snprintf(id, sizeof id, "%" PRId64, s->link_id);
    if (s->link_id == 0 || s->link_id == redis_link_id(link) || !is_our_connection(s, link, id))
        return 0;
    if (redis_link_callv(link, NULL, err, "CLIENT", "KILL", "ID", id, NULL) != 0 &&
        err->code != REDIS_ERROR)
        return -1;
    return 0;
}

/* Data of a newer version is not for these scripts: the worker must not touch it (exit 78). */
static int check_schema(struct session *s, struct redis_link *link, struct cb_error *err)
{
    struct arena arena = ARENA_INIT;
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    const char *meta = keys_make(&arena, s->opts->redis.prefix, KEY_META);
    int status = redis_link_callv(link, &reply, err, "HGET", meta, "schema", NULL);

    arena_done(&arena);
    if (status != 0)
        return -1;
    if (reply_type(reply) == REPLY_NIL)
        return 0;
    const char *text = reply_type(reply) == REPLY_STRING ? reply_str(reply) : "";
    if (!*text || text[strspn(text, "0123456789")]) /* that says nothing about the data */
        return cb_error_set(err, REDIS_LOST, "unexpected reply to HGET");
    int64_t schema = reply_int(reply);
    if (schema >= SCHEMA_MIN && schema <= SCHEMA_MAX)
        return 0;
    log_event(EV_schema_unsuitable, LOG_I("schema", schema), LOG_I("from", SCHEMA_MIN),
              LOG_I("to", SCHEMA_MAX));
    return cb_error_set(err, SESSION_UNSUITABLE,
                        "the data has schema %" PRId64 ", this version knows %d to %d", schema,
                        SCHEMA_MIN, SCHEMA_MAX);
}

/* XGROUP CREATE is refused when memory is full, also for a group that exists: then it is looked for. */
static int ensure_group(struct session *s, struct redis_link *link, struct cb_error *err)
{
    struct cb_error ignored = {0};
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;

    if (session_create_group(s, link, err) == 0)
        return 0;
    if (err->code != REDIS_OOM ||
        redis_link_callv(link, &reply, &ignored, "XINFO", "GROUPS", s->stream, NULL) != 0)
        return -1;
    return reply_count(reply) > 0 ? 0 : -1;
}

static int try_restore(struct session *s, struct cb_error *err)
{
    struct redis_link *link = NULL;

    if (open_link(s, &link, err) != 0)
        return -1;
    if (check_schema(s, link, err) != 0 || kill_old_connection(s, link, err) != 0 ||
        ensure_group(s, link, err) != 0) {
        redis_link_free(link);
        return -1;
    }
    s->link = link;
    s->link_id = redis_link_id(link);
    atomic_store(&s->sup->slot->redis_id, s->link_id);
    return 0;
}

int session_restore(struct session *s, struct cb_error *err)
{
    bool was_connected = s->link_id != 0;

    session_drop(s);
    supervised_state(s->sup, was_connected ? WORKER_RECONNECT : WORKER_STARTING);
    for (;;) {
        supervised_turn(s->sup);
        if (try_restore(s, err) == 0)
            break;
        if (err->code == SESSION_UNSUITABLE)
            return -1;
        if (outage_wait(&s->outage, s->sup, s->opts, &s->target, &s->backoff, err) != 0)
            return -1;
    }
    backoff_reset(&s->backoff);
    if (was_connected)
        atomic_fetch_add_explicit(&s->sup->slot->reconnects, 1, memory_order_relaxed);
    outage_over(&s->outage, s->link_id);
    return 0;
}

/* One step of at most REQUEUE_LIMIT entries; *ret_rest = how many are left. */
static int hand_on_step(struct session *s, struct script_call *call, const char *blame,
                        const char *how, int64_t *ret_rest, struct cb_error *err)
{
    CB_CLEANUP(arena_done) struct arena arena = ARENA_INIT;
    const struct requeue what = {
        .stream = s->stream, .consumer = s->consumer, .entry = blame, .how = how};
    reply_t *reply = NULL;

    script_call_reset(call, SCRIPT_REQUEUE);
    requeue_put(call, &arena, s->opts, &what);
    if (scripts_run(s->link, call, &reply, err) != 0 ||
        scripts_check_reply(SCRIPT_REQUEUE, reply, REQUEUE_MEMBERS, err) != 0) {
        reply_free(reply);
        return -1;
    }
    int64_t moved = reply_int(reply_at(reply, 0)), dead = reply_int(reply_at(reply, 1));
    *ret_rest = reply_int(reply_at(reply, 2));
    if (moved < 0 || moved > REQUEUE_LIMIT || dead < 0 || dead > REQUEUE_LIMIT) {
        reply_free(reply);
        return cb_error_set(err, REDIS_LOST, "impossible numbers from the script requeue");
    }
    if (moved > 0 || dead > 0)
        log_event(EV_requests_handed_on, LOG_S("consumer", s->consumer), LOG_I("requests", moved),
                  LOG_I("dead", dead), LOG_S("reason", how));
    dead_letters_log(reply_at(reply, 3), s->consumer);
    dead_letters_log_dropped(reply_at(reply, 4));
    reply_free(reply);
    return 0;
}

int session_hand_on(struct session *s, const char *blame, const char *how, struct cb_error *err)
{
    struct script_call call;
    int64_t rest = 1;
    int status = 0;

    script_call_init(&call, SCRIPT_REQUEUE);
    for (int i = 0; i < ROUNDS_MAX && rest > 0 && status == 0; i++)
        status = hand_on_step(s, &call, blame, how, &rest, err);
    script_call_done(&call);
    return status;
}

int session_oldest_pending(struct session *s, char ret_entry[STREAM_ID_SIZE], struct cb_error *err)
{
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;

    if (redis_link_callv(s->link, &reply, err, "XPENDING", s->stream, "workers", "-", "+", "1",
                         s->consumer, NULL) != 0)
        return -1;
    snprintf(ret_entry, STREAM_ID_SIZE, "%s", reply_str(reply_at(reply_at(reply, 0), 0)));
    return 0;
}

void session_unblock(struct session *s)
{
    struct cb_error err = {0};
    char id[24];

    s->is_unblock_due = s->is_repairing;
    if (!s->link || s->is_repairing)
        return;
    if (s->sup->is_orphan) /* an fd at its end is always readable */
        redis_link_set_wake_fd(s->link, -1);
    struct redis_link *second = session_second(s, &err);
    if (!second)
        return;
    snprintf(id, sizeof id, "%" PRId64, s->link_id);
    redis_link_callv(second, NULL, &err, "CLIENT", "UNBLOCK", id, NULL);
}

int session_repair(struct session *s, struct redis_link *second, struct script_call *call,
                   reply_t **ret_reply, struct cb_error *err)
{
    s->is_repairing = true;
    int status = scripts_run(second, call, ret_reply, err);
    s->is_repairing = false;
    if (s->is_unblock_due && !redis_link_is_lost(second))
        session_unblock(s);
    return status;
}
