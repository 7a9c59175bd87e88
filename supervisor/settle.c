/*
 * settle.c: brings the workers of a service to what is wanted: so many, with the options in force.
 *
 * A new worker is started beside each stale one, and the stale one is told to leave when the new one is up: there are never
 * fewer at work than before. One that does not leave in supervisor.stop_timeout_ms is killed and what it had is handed on. There
 * are at most twice as many processes as workers are wanted, however often the options change and however slowly the
 * old ones leave; the rest waits for a place.
 *
 * It runs when a child or a wish has changed, and does what can be done now. New workers that do not come up leave the old
 * ones at work.
 */
#include "common/compat.h"
#include "supervisor/service.h"

struct census {
    size_t fresh;    /* with the options in force, or about to be started with them */
    size_t fresh_up; /* of these at work */
    size_t stale;    /* at work with older options, and not told to leave */
};

static void count(const struct service *service, struct census *ret)
{
    *ret = (struct census){0};
    for (size_t i = 0; i < service->len; i++) {
        const struct child *c = service->children[i];
        if (c->is_retiring)
            continue;
        ret->stale += child_is_stale(c);
        ret->fresh += !child_is_stale(c);
        ret->fresh_up += !child_is_stale(c) && c->state == CHILD_UP;
    }
}

static void retire(struct child *c)
{
    c->is_retiring = true;
    child_event(c, CHILD_EV_DRAIN);
    if (c->state == CHILD_DRAINING)
        child_set_timer(c, c->env->opts->supervisor.stop_timeout_ms);
}

/* The last one that is (not) stale, rather one that is not at work. NULL: none. */
static struct child *find_last(const struct service *service, bool is_stale)
{
    struct child *found = NULL;

    for (size_t i = service->len; i-- > 0;) {
        struct child *c = service->children[i];
        if (c->is_retiring || child_is_stale(c) != is_stale)
            continue;
        if (c->state != CHILD_UP)
            return c;
        if (!found)
            found = c;
    }
    return found;
}

static void remove_gone(struct services *s, struct service *service)
{
    for (size_t i = service->len; i-- > 0;)
        if (service->children[i]->is_retiring && service->children[i]->state == CHILD_DOWN)
            service_remove(s, service, i);
}

/* Nobody waits for one that was never at work. */
static void retire_unborn(struct service *service)
{
    for (size_t i = 0; i < service->len; i++) {
        struct child *c = service->children[i];
        if (!c->is_retiring && child_is_stale(c) && c->state != CHILD_UP)
            retire(c);
    }
}

static bool has_place(const struct service *service, const struct census *n, size_t wanted)
{
    return n->fresh + n->stale == 0 || service->len < 2 * wanted;
}

static void settle_service(struct services *s, struct service *service)
{
    size_t wanted = s->is_drained ? 0 : service->wanted;
    struct census n;

    remove_gone(s, service);
    retire_unborn(service);
    count(service, &n);
    for (; n.stale > 0 && n.stale + n.fresh_up > wanted; n.stale--)
        retire(find_last(service, true));
    for (; n.fresh > wanted; n.fresh--)
        retire(find_last(service, false));
    for (; n.fresh < wanted && has_place(service, &n, wanted); n.fresh++) {
        struct child *c = service_add(s, service);
        if (!c)
            return; /* no slot: looked at again when somebody has left */
        child_event(c, CHILD_EV_WANT);
    }
    remove_gone(s, service); /* whom retire() had no process to wait for */
}

void services_settle(struct services *s)
{
    if (!s->is_started || s->is_closing)
        return;
    for (size_t i = 0; i < s->len; i++)
        settle_service(s, &s->items[i]);
    s->env.on_settled(s->env.arg);
}
