/*
 * service.c: see service.h.
 */
#include "common/compat.h"
#include "supervisor/service.h"

#include "common/mem.h"

#include <signal.h>

/* ---- the children ---- */

static int take_slot(struct services *s)
{
    for (int i = 0; i < SCOREBOARD_SLOTS; i++)
        if (!s->is_slot_used[i]) {
            s->is_slot_used[i] = true;
            return i;
        }
    return -1;
}

static struct child *add_in_slot(struct services *s, struct service *service, int slot)
{
    struct child *c = mem_alloc(sizeof *c);
    child_init(c, &s->env, service->name, slot);
    service->children = mem_realloc(service->children, (service->len + 1) * sizeof(struct child *));
    service->children[service->len++] = c;
    return c;
}

struct child *service_add(struct services *s, struct service *service)
{
    int slot = take_slot(s);

    return slot < 0 ? NULL : add_in_slot(s, service, slot);
}

bool services_adopt(struct services *s, const char *domain, int slot, const struct child_life *life)
{
    struct service *service = services_find(s, domain);

    if (!service || slot < 0 || slot >= SCOREBOARD_SLOTS || s->is_slot_used[slot] ||
        !child_state_has_process(life->state))
        return false;
    s->is_slot_used[slot] = true;
    child_adopt(add_in_slot(s, service, slot), life);
    return true;
}

void service_remove(struct services *s, struct service *service, size_t i)
{
    struct child *c = service->children[i];

    s->is_slot_used[c->slot] = false;
    child_done(c);
    free(c);
    service->len--;
    for (size_t j = i; j < service->len; j++)
        service->children[j] = service->children[j + 1];
}

static void on_settle(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    services_settle(arg);
}

void services_settle_soon(struct services *s)
{
    if (s->settle)
        event_active(s->settle, EV_TIMEOUT, 0);
}

static void take_numbers(struct services *s)
{
    for (size_t i = 0; i < s->len; i++)
        s->items[i].wanted = (size_t)options_domain(s->env.opts, s->items[i].name)->workers;
}

void services_init(struct services *s)
{
    const char *const *names = options_domain_names();

    s->settle = evtimer_new(s->env.base, on_settle, s);
    cb_assert(s->settle);
    s->len = 0;
    for (size_t i = 0; names[i]; i++) {
        cb_assert(s->len < SERVICES_MAX);
        s->items[s->len++] = (struct service){.name = names[i]};
    }
    take_numbers(s);
}

void services_done(struct services *s)
{
    if (s->settle)
        event_free(s->settle);
    s->settle = NULL;
    for (size_t i = 0; i < s->len; i++) {
        while (s->items[i].len > 0)
            service_remove(s, &s->items[i], s->items[i].len - 1);
        free(s->items[i].children);
    }
    s->len = 0;
}

/* ---- what they shall be ---- */

/* A child's event never takes children away: that is left to the settling. */
static void tell_all(struct services *s, enum child_event event)
{
    for (size_t i = 0; i < s->len; i++)
        for (size_t j = 0; j < s->items[i].len; j++)
            child_event(s->items[i].children[j], event);
}

void services_start(struct services *s)
{
    s->is_started = true;
    services_settle(s);
}

void services_close(struct services *s, enum child_event event)
{
    s->is_closing = true;
    tell_all(s, event);
}

void services_renew(struct services *s, bool has_new_options, int options_fd)
{
    take_numbers(s);
    s->is_drained = false;
    if (has_new_options) {
        s->env.options_fd = options_fd;
        s->env.options_serial++;
    }
    for (size_t i = 0; i < s->len; i++)
        for (size_t j = 0; j < s->items[i].len; j++)
            child_options_changed(s->items[i].children[j]);
    services_settle_soon(s);
}

void services_drain(struct services *s)
{
    s->is_drained = true;
    services_settle_soon(s);
}

int services_scale(struct services *s, struct service *service, size_t workers,
                   struct cb_error *err)
{
    size_t others = 0;

    /* What brings workers back takes their numbers from the options: this one would never count. */
    if (s->is_drained)
        return cb_error_set(err, EBUSY, "the workers were drained: reload first");
    for (size_t i = 0; i < s->len; i++)
        others += &s->items[i] == service ? 0 : s->items[i].wanted;
    if (workers > SERVICE_WORKERS_MAX)
        return cb_error_set(err, EINVAL, "a domain has at most %d workers", SERVICE_WORKERS_MAX);
    if (others + workers > SERVICES_WORKERS_MAX)
        return cb_error_set(err, EINVAL, "all domains together have at most %d workers",
                            SERVICES_WORKERS_MAX);
    service->wanted = workers;
    services_settle_soon(s);
    return 0;
}

bool services_are_as_configured(const struct services *s)
{
    bool is_changed = s->is_drained;

    for (size_t i = 0; i < s->len; i++)
        is_changed |= s->items[i].wanted !=
                      (size_t)options_domain(s->env.opts, s->items[i].name)->workers;
    return !is_changed;
}

struct service *services_find(struct services *s, const char *domain)
{
    for (size_t i = 0; i < s->len; i++)
        if (strcmp(s->items[i].name, domain) == 0)
            return &s->items[i];
    return NULL;
}

bool services_are_settled(const struct services *s)
{
    struct service_counts n;

    services_count(s, &n);
    return n.old == 0 && n.up == n.wanted;
}

void services_signal(struct services *s, int sig)
{
    for (size_t i = 0; i < s->len; i++)
        for (size_t j = 0; j < s->items[i].len; j++) {
            const struct child *c = s->items[i].children[j];
            if (c->state == CHILD_UP || c->state == CHILD_DRAINING)
                kill(c->pid, sig);
        }
}

void services_open(struct services *s)
{
    s->env.is_open = true;
    tell_all(s, CHILD_EV_OPEN);
}

struct child *services_find_pid(const struct services *s, pid_t pid)
{
    for (size_t i = 0; i < s->len; i++)
        for (size_t j = 0; j < s->items[i].len; j++)
            if (s->items[i].children[j]->pid == pid)
                return s->items[i].children[j];
    return NULL;
}

bool services_have(const struct services *s, uint64_t generation)
{
    for (size_t i = 0; i < s->len; i++)
        for (size_t j = 0; j < s->items[i].len; j++)
            if (s->items[i].children[j]->generation == generation)
                return true;
    return false;
}

/* ---- counting ---- */

static void count_child(const struct services *s, const struct child *c, struct service_counts *n)
{
    n->processes += child_state_has_process(c->state);
    n->old += c->is_retiring || child_is_stale(c);
    if (c->is_retiring || s->is_closing)
        return;
    n->up += c->state == CHILD_UP;
    n->dead += c->state == CHILD_WAITING || c->state == CHILD_GAVE_UP;
    n->looping += child_is_crash_looping(c);
    n->gave_up += c->state == CHILD_GAVE_UP;
    n->refused += child_is_refused(c);
    n->up_refused += c->state == CHILD_UP && child_is_refused(c);
}

/* An old worker and the new one in its place are both up for a moment. */
void service_count(const struct services *s, const struct service *service,
                   struct service_counts *ret)
{
    *ret = (struct service_counts){0};
    for (size_t i = 0; i < service->len; i++)
        count_child(s, service->children[i], ret);
    ret->wanted = s->is_closing || s->is_drained ? 0 : (int)service->wanted;
    if (ret->up > ret->wanted)
        ret->up = ret->wanted;
}

void services_count(const struct services *s, struct service_counts *ret)
{
    struct service_counts one;

    *ret = (struct service_counts){0};
    for (size_t i = 0; i < s->len; i++) {
        service_count(s, &s->items[i], &one);
        ret->wanted += one.wanted;
        ret->up += one.up;
        ret->dead += one.dead;
        ret->processes += one.processes;
        ret->looping += one.looping;
        ret->gave_up += one.gave_up;
        ret->refused += one.refused;
        ret->up_refused += one.up_refused;
        ret->old += one.old;
    }
}

void services_sum(const struct services *s, struct tally *ret)
{
    tally_add(ret, s->env.tally);
    for (size_t i = 0; i < s->len; i++)
        for (size_t j = 0; j < s->items[i].len; j++)
            if (s->items[i].children[j]->pid > 0)
                tally_add_slot(ret, child_slot(s->items[i].children[j]));
}
