/*
 * durable.c: see durable.h. The server's own word counts, not our option: it may be somebody else's, and be changed while
 * it runs. What is not known counts as no.
 */
#include "common/compat.h"
#include "supervisor/durable.h"

#include "common/mem.h"

enum { LOOK_MS = 10000 };

struct durable {
    struct scoreboard *scoreboard;
    struct redis_conn *conn;
    struct event *timer;
    char fsync[16]; /* appendfsync as the server has it; "" = not known, or no append-only file */
};

static bool is_set(const reply_t *config, const char *name, const char *value)
{
    for (size_t i = 0; i + 1 < reply_count(config); i += 2)
        if (strcmp(reply_str(reply_at(config, i)), name) == 0)
            return strcmp(reply_str(reply_at(config, i + 1)), value) == 0;
    return false;
}

static void on_config(void *arg, const reply_t *reply)
{
    static const char *const words[] = {"always", "everysec", "no"};
    struct durable *d = arg;
    bool is_fsynced = is_set(reply, "appendonly", "yes") && is_set(reply, "appendfsync", "always");

    atomic_store(&d->scoreboard->global.is_fsynced, is_fsynced);
    d->fsync[0] = '\0';
    for (size_t i = 0; is_set(reply, "appendonly", "yes") && i < CB_ARRAY_LEN(words); i++)
        if (is_set(reply, "appendfsync", words[i]))
            snprintf(d->fsync, sizeof d->fsync, "%s", words[i]);
}

void durable_look(struct durable *d)
{
    if (redis_conn_is_up(d->conn))
        redis_conn_call(d->conn, on_config, d, "CONFIG", "GET", "append*", NULL);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct durable *d = arg;
    const struct timeval tv = {.tv_sec = LOOK_MS / 1000};
    (void)fd, (void)what;

    evtimer_add(d->timer, &tv);
    durable_look(d);
}

struct durable *durable_new(struct event_base *base, struct scoreboard *scoreboard,
                            struct redis_conn *conn)
{
    struct durable *d = mem_alloc(sizeof *d);
    const struct timeval tv = {.tv_sec = LOOK_MS / 1000};

    *d = (struct durable){.scoreboard = scoreboard, .conn = conn};
    d->timer = evtimer_new(base, on_timer, d);
    cb_assert(d->timer);
    evtimer_add(d->timer, &tv);
    return d;
}

void durable_free(struct durable *d)
{
    if (!d)
        return;
    event_free(d->timer);
    free(d);
}

const char *durable_fsync(const struct durable *d)
{
    return d ? d->fsync : "";
}
