/*
 * event_channel.c: see event_channel.h. A message is what lua/include/emit.lua says; one that is anything else is ignored,
 * as others may publish on such channels, too.
 */
#include "common/compat.h"
#include "common/event_channel.h"

#include "common/clock.h"
#include "common/mem.h"

#include <poll.h>
#include <utlist.h>

enum {
    IDLE_MS = 200,     /* a signal just before a wait does not end it */
    EVENTS_MAX = 1000, /* in one message; emit.lua puts 100 into it */
};

struct event_channel {
    const struct redis_target *target;
    struct redis_link *link;
    redis_idle_fn *go_on;
    void *arg;
    unsigned pings; /* sent and not answered */
};

void event_list_insert(struct event_entry **list, struct event_entry *e)
{
    struct event_entry *at = *list ? (*list)->prev
                                   : NULL; /* the last one: new ones mostly come behind it */

    while (at && stream_id_compare(at->id, e->id) > 0)
        at = at == *list ? NULL : at->prev;
    if (at && stream_id_compare(at->id, e->id) == 0)
        event_entry_free(e);
    else if (at)
        DL_APPEND_ELEM(*list, at, e);
    else
        DL_PREPEND(*list, e);
}

/* ---- messages ---- */

static void take_message(const reply_t *payload, struct event_entry **list)
{
    struct json_span whole;
    enum json_type type;
    struct json_iter it;
    struct json_item item;

    if (json_check(reply_str(payload), reply_bytes(payload), &whole, &type, NULL) != 0 ||
        type != JSON_ARRAY || json_count(whole) > EVENTS_MAX)
        return;
    json_iter_init(&it, whole);
    while (json_iter_next(&it, &item)) {
        struct event_entry *e = event_entry_from_json(item.value);
        if (e)
            event_list_insert(list, e);
    }
}

/* What came of itself, or the answer to a PING. */
static int take_reply(struct event_channel *c, const reply_t *r, struct event_entry **list,
                      struct cb_error *err)
{
    const char *kind = reply_str(reply_at(r, 0));

    if (reply_is_error(r))
        return cb_error_set(err, (int)reply_fault(r), "%s", reply_str(r));
    if (strcmp(kind, "pmessage") == 0)
        take_message(reply_at(r, 3), list);
    else if (strcmp(kind, "pong") == 0 && c->pings > 0)
        c->pings--;
    return 0;
}

static int take_all(struct event_channel *c, struct event_entry **list, struct cb_error *err)
{
    for (;;) {
        reply_t *r CB_CLEANUP(reply_free_ptr) = NULL;
        if (redis_link_take(c->link, &r, err) != 0)
            return -1;
        if (!r)
            return 0;
        if (take_reply(c, r, list, err) != 0)
            return -1;
    }
}

/* ---- waiting ---- */

static bool may_go_on(const struct event_channel *c)
{
    return !c->go_on || c->go_on(c->arg);
}

/* Moves bytes once; waits at most `ms` for them. */
static int turn(struct event_channel *c, int64_t ms, struct event_entry **list,
                struct cb_error *err)
{
    struct pollfd fd = {.fd = redis_link_fd(c->link), .events = POLLIN};

    if (redis_link_wants_write(c->link))
        fd.events |= POLLOUT;
    int n = poll(&fd, 1, ms < 0 ? 0 : ms < IDLE_MS ? (int)ms : IDLE_MS);
    if (n < 0 && errno != EINTR)
        return cb_error_set(err, REDIS_LOST, "poll: %s", strerror(errno));
    if (n <= 0)
        return 0;
    if (fd.revents & POLLOUT && redis_link_on_writable(c->link, err) != 0)
        return -1;
    if (fd.revents & (POLLIN | POLLHUP | POLLERR) && redis_link_on_readable(c->link, err) != 0)
        return -1;
    return take_all(c, list, err);
}

int event_channel_wait(struct event_channel *c, int timeout_ms, struct event_entry **list,
                       struct cb_error *err)
{
    int64_t until = clock_mono_ms() + timeout_ms;

    do {
        if (turn(c, until - clock_mono_ms(), list, err) != 0)
            return -1;
    } while (!*list && may_go_on(c) && clock_mono_ms() < until);
    return 0;
}

int event_channel_catch_up(struct event_channel *c, struct event_entry **list, struct cb_error *err)
{
    int64_t until = clock_mono_ms() + c->target->timeout_ms;

    redis_link_appendv(c->link, "PING", NULL);
    c->pings++;
    while (c->pings > 0) {
        if (clock_mono_ms() >= until)
            return cb_error_set(err, REDIS_LOST, "Redis does not answer");
        if (!may_go_on(c))
            return cb_error_set(err, REDIS_LOST, "interrupted");
        if (turn(c, until - clock_mono_ms(), list, err) != 0)
            return -1;
    }
    return 0;
}

/* ---- life ---- */

void event_channel_free(struct event_channel *c)
{
    if (!c)
        return;
    redis_link_free(c->link);
    free(c);
}

int event_channel_open(const struct redis_target *target, const char *prefix,
                       const char *client_name, redis_idle_fn *go_on, void *arg,
                       struct event_entry **list, struct event_channel **ret, struct cb_error *err)
{
    struct event_channel *c = mem_alloc(sizeof *c);
    char *pattern CB_CLEANUP(mem_free_ptr) = mem_printf("%s:events:*", prefix);

    *c = (struct event_channel){.target = target, .go_on = go_on, .arg = arg};
    if (redis_link_start(target, client_name, &c->link, err) != 0)
        goto fail;
    redis_link_set_idle(c->link, go_on, arg);
    if (redis_link_await(c->link, err) != 0)
        goto fail;
    redis_link_set_listening(c->link);
    redis_link_appendv(c->link, "PSUBSCRIBE", pattern, NULL);
    if (event_channel_catch_up(c, list, err) != 0)
        goto fail;
    *ret = c;
    return 0;
fail:
    event_channel_free(c);
    return -1;
}
