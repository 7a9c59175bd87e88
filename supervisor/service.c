/*
 * service.c: see service.h.
 */
#include "common/compat.h"
#include "supervisor/service.h"

#include "common/mem.h"

#include <signal.h>

static void lay_out(struct services *s, const char *domain, size_t workers, int *next_slot)
{
    struct service *service = &s->items[s->len++];

    service->name = domain;
    service->len = workers;
    service->children = mem_calloc(workers, sizeof *service->children);
    for (size_t i = 0; i < workers; i++)
        child_init(&service->children[i], &s->env, domain, (*next_slot)++);
}

int services_init(struct services *s, struct cb_error *err)
{
    const char *const *names = options_domain_names();
    int64_t total = 0;
    int next_slot = 0;

    for (size_t i = 0; names[i]; i++)
        total += options_domain(s->env.opts, names[i])->workers;
    if (total > SCOREBOARD_SLOTS)
        return cb_error_set(err, EINVAL, "%lld workers are more than %d", (long long)total,
                            SCOREBOARD_SLOTS);
    s->len = 0;
    for (size_t i = 0; names[i]; i++) {
        cb_assert(s->len < SERVICES_MAX);
        lay_out(s, names[i], (size_t)options_domain(s->env.opts, names[i])->workers, &next_slot);
    }
    return 0;
}

void services_done(struct services *s)
{
    for (size_t i = 0; i < s->len; i++) {
        for (size_t j = 0; j < s->items[i].len; j++)
            child_done(&s->items[i].children[j]);
        free(s->items[i].children);
    }
    s->len = 0;
}

void services_event(struct services *s, enum child_event event)
{
    for (size_t i = 0; i < s->len; i++)
        for (size_t j = 0; j < s->items[i].len; j++)
            child_event(&s->items[i].children[j], event);
}

void services_signal(struct services *s, int sig)
{
    for (size_t i = 0; i < s->len; i++)
        for (size_t j = 0; j < s->items[i].len; j++)
            if (s->items[i].children[j].state == CHILD_UP)
                kill(s->items[i].children[j].pid, sig);
}

void services_open(struct services *s)
{
    s->env.is_open = true;
    services_event(s, CHILD_EV_OPEN);
}

struct child *services_find_pid(const struct services *s, pid_t pid)
{
    for (size_t i = 0; i < s->len; i++)
        for (size_t j = 0; j < s->items[i].len; j++)
            if (s->items[i].children[j].pid == pid)
                return &s->items[i].children[j];
    return NULL;
}

void service_count(const struct service *service, struct service_counts *ret)
{
    *ret = (struct service_counts){0};
    for (size_t i = 0; i < service->len; i++) {
        const struct child *c = &service->children[i];
        ret->wanted += c->state != CHILD_DOWN && c->state != CHILD_DRAINING &&
                       c->state != CHILD_DISMISSED;
        ret->up += c->state == CHILD_UP;
        ret->dead += c->state == CHILD_WAITING || c->state == CHILD_GAVE_UP;
        ret->processes += child_state_has_process(c->state);
        ret->looping += child_is_crash_looping(c);
        ret->gave_up += c->state == CHILD_GAVE_UP;
        ret->refused += child_is_refused(c);
        ret->up_refused += c->state == CHILD_UP && child_is_refused(c);
    }
}

void services_count(const struct services *s, struct service_counts *ret)
{
    struct service_counts one;

    *ret = (struct service_counts){0};
    for (size_t i = 0; i < s->len; i++) {
        service_count(&s->items[i], &one);
        ret->wanted += one.wanted;
        ret->up += one.up;
        ret->dead += one.dead;
        ret->processes += one.processes;
        ret->looping += one.looping;
        ret->gave_up += one.gave_up;
        ret->refused += one.refused;
        ret->up_refused += one.up_refused;
    }
}

void services_sum(const struct services *s, struct tally *ret)
{
    tally_add(ret, s->env.tally);
    for (size_t i = 0; i < s->len; i++)
        for (size_t j = 0; j < s->items[i].len; j++)
            if (s->items[i].children[j].pid > 0)
                tally_add_slot(ret, child_slot(&s->items[i].children[j]));
}
