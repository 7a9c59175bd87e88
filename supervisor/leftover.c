/*
 * leftover.c: see leftover.h. Names are <instance>/<domain>/<slot>.<generation>; those that this
 * supervisor itself has started are left alone. First the connections are killed, then each consumer is handed on (handon.c).
 * Nobody is charged: which entry an earlier worker was handling is not known any more.
 */
#include "common/compat.h"
#include "supervisor/leftover.h"

#include "common/keys.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/client_list.h"

struct look {
    struct leftover *owner;
    const char *domain;
};

struct leftover {
    const struct services *services;
    struct handon *handon;
    struct redis_conn *conn;
    char *prefix;  /* "<instance>/" */
    bool is_other; /* of another instance */
    int found;     /* in this round */
    void (*done)(void *arg, int found);
    void *arg;
    size_t waiting;   /* answers that are due */
    bool is_complete; /* so far every answer of this round has come */
    bool is_done;
    struct look looks[SERVICES_MAX];
};

static struct leftover *make(const struct services *services, struct handon *handon,
                             const char *instance)
{
    struct leftover *l = mem_alloc(sizeof *l);

    l->services = services;
    l->handon = handon;
    l->prefix = mem_printf("%s/", instance);
    return l;
}

struct leftover *leftover_new(const struct services *services, struct handon *handon)
{
    return make(services, handon, services->env.opts->instance.id);
}

struct leftover *leftover_new_of(const struct services *services, struct handon *handon,
                                 const char *instance, void (*done)(void *arg, int found),
                                 void *arg)
{
    struct leftover *l = make(services, handon, instance);

    l->is_other = true;
    l->done = done;
    l->arg = arg;
    return l;
}

void leftover_free(struct leftover *l)
{
    if (!l)
        return;
    free(l->prefix);
    free(l);
}

/* Those that this supervisor has started, or adopted after an upgrade in place, are handed on by their deaths. */
static bool is_ours(const struct leftover *l, const char *name)
{
    const char *dot = strrchr(name, '.');
    uint64_t generation = dot ? strtoull(dot + 1, NULL, 10) : 0;

    return (generation >= l->services->env.first_generation &&
            generation < l->services->env.next_generation) ||
           services_have(l->services, generation);
}

static bool is_left_over(const struct leftover *l, const char *name)
{
    return strncmp(name, l->prefix, strlen(l->prefix)) == 0 && (l->is_other || !is_ours(l, name));
}

static void answered(struct leftover *l, const reply_t *reply)
{
    if (!reply)
        l->is_complete = false;
    if (--l->waiting > 0)
        return;
    l->is_done = l->is_complete;
    if (l->done)
        l->done(l->arg, l->is_complete ? l->found : -1);
}

static void kill_left_over(void *arg, int64_t id, const char *name)
{
    struct leftover *l = arg;
    char number[24];

    if (!is_left_over(l, name))
        return;
    l->found++;
    log_event(EV_leftover_killed, LOG_S("consumer", name), LOG_I("redis_id", id));
    snprintf(number, sizeof number, "%" PRId64, id);
    redis_conn_call(l->conn, NULL, NULL, "CLIENT", "KILL", "ID", number, NULL);
}

static void on_clients(void *arg, const reply_t *reply)
{
    struct leftover *l = arg;

    if (reply && !reply_is_error(reply))
        client_list_find_prefix(reply_str(reply), l->prefix, kill_left_over, l);
    answered(l, reply);
}

/* An error is "no such stream" or "no such group": nothing is left there. */
static void on_consumers(void *arg, const reply_t *reply)
{
    struct look *look = arg;
    struct leftover *l = look->owner;

    for (size_t i = 0; reply && !reply_is_error(reply) && i < reply_count(reply); i++) {
        const char *name = reply_str(reply_at(reply_at(reply, i), 1));
        struct handon_item item = {
            .domain = look->domain, .consumer = name, .entry = "", .how = "supervisor gone"};
        if (!is_left_over(l, name))
            continue;
        l->found++;
        handon_add(l->handon, &item);
    }
    answered(l, reply);
}

static void look_at(struct leftover *l, size_t i)
{
    const char *prefix = l->services->env.opts->redis.prefix;
    CB_CLEANUP(arena_done) struct arena keys = ARENA_INIT;
    struct look *look = &l->looks[i];

    *look = (struct look){.owner = l, .domain = l->services->items[i].name};
    l->waiting++;
    redis_conn_call(l->conn, on_consumers, look, "XINFO", "CONSUMERS",
                    keys_make(&keys, prefix, KEY_REQUESTS, look->domain), "workers", NULL);
}

void leftover_look(struct leftover *l, struct redis_conn *conn)
{
    if (l->is_done || l->waiting > 0)
        return;
    l->conn = conn;
    l->is_complete = true;
    l->waiting = 1;
    redis_conn_call(conn, on_clients, l, "CLIENT", "LIST", "TYPE", "normal", NULL);
    for (size_t i = 0; i < l->services->len; i++)
        if (options_domain_has_requests(l->services->items[i].name))
            look_at(l, i);
}
