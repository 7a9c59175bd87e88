/*
 * tally.c: see tally.h.
 */
#include "common/compat.h"
#include "supervisor/tally.h"

#include "common/mem.h"

enum { TALLY_METHODS_MAX = 256, TALLY_SCRIPTS_MAX = 256 };

void tally_done(struct tally *t)
{
    free(t->methods);
    free(t->scripts);
    *t = (struct tally){0};
}

/* NULL when there are too many: names come from workers, and a sick one must not make us grow. */
static struct tally_method *find_method(struct tally *t, const char *name)
{
    for (size_t i = 0; i < t->len; i++)
        if (strcmp(t->methods[i].name, name) == 0)
            return &t->methods[i];
    if (t->len == TALLY_METHODS_MAX)
        return NULL;
    t->methods = mem_realloc(t->methods, (t->len + 1) * sizeof *t->methods);
    struct tally_method *m = &t->methods[t->len++];
    *m = (struct tally_method){0};
    snprintf(m->name, sizeof m->name, "%s", name);
    return m;
}

static struct tally_script *find_script(struct tally *t, const char *name)
{
    for (size_t i = 0; i < t->nscripts; i++)
        if (strcmp(t->scripts[i].name, name) == 0)
            return &t->scripts[i];
    if (t->nscripts == TALLY_SCRIPTS_MAX)
        return NULL;
    t->scripts = mem_realloc(t->scripts, (t->nscripts + 1) * sizeof *t->scripts);
    struct tally_script *s = &t->scripts[t->nscripts++];
    *s = (struct tally_script){0};
    snprintf(s->name, sizeof s->name, "%s", name);
    return s;
}

static void sum(uint64_t *to, const uint64_t *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] += from[i];
}

static void add_script(struct tally *t, const char *name, uint64_t calls, uint64_t total_us)
{
    struct tally_script *to = calls ? find_script(t, name) : NULL;

    if (!to)
        return;
    to->calls += calls;
    to->total_us += total_us;
}

void tally_add(struct tally *t, const struct tally *other)
{
    t->requests += other->requests;
    t->duplicates += other->duplicates;
    t->commits += other->commits;
    t->reconnects += other->reconnects;
    for (size_t i = 0; i < other->len; i++) {
        const struct tally_method *from = &other->methods[i];
        struct tally_method *to = find_method(t, from->name);
        if (!to)
            continue;
        to->requests += from->requests;
        to->errors += from->errors;
        to->refused += from->refused;
        to->total_us += from->total_us;
        sum(to->buckets, from->buckets, SCOREBOARD_BUCKETS);
        sum(to->bounded, from->bounded, SCOREBOARD_BOUNDS);
        sum(to->codes, from->codes, SCOREBOARD_CODES);
    }
    for (size_t i = 0; i < other->nscripts; i++)
        add_script(t, other->scripts[i].name, other->scripts[i].calls, other->scripts[i].total_us);
    sum(t->nameless, other->nameless, SCOREBOARD_CODES);
    sum(t->claims, other->claims, SCOREBOARD_CLAIMS);
    for (size_t i = 0; i < SCOREBOARD_HOOK_EVENTS; i++)
        sum(t->hook_events[i], other->hook_events[i], SCOREBOARD_DECISIONS);
    t->fallbacks += other->fallbacks;
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void get_all(uint64_t *to, const _Atomic uint64_t *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] += get(&from[i]);
}

static void add_slot_method(struct tally *t, const struct scoreboard_method *from)
{
    char name[sizeof from->name];

    memcpy(name, from->name, sizeof name);
    name[sizeof name - 1] = '\0';
    if (!name[0] || get(&from->requests) == 0)
        return;
    struct tally_method *to = find_method(t, name);
    if (!to)
        return;
    to->requests += get(&from->requests);
    to->errors += get(&from->errors);
    to->refused += get(&from->refused);
    to->total_us += get(&from->total_us);
    get_all(to->buckets, from->buckets, SCOREBOARD_BUCKETS);
    get_all(to->bounded, from->bounded, SCOREBOARD_BOUNDS);
    get_all(to->codes, from->codes, SCOREBOARD_CODES);
}

static void add_slot_script(struct tally *t, const struct scoreboard_script *from)
{
    char name[sizeof from->name];

    memcpy(name, from->name, sizeof name);
    name[sizeof name - 1] = '\0';
    if (name[0])
        add_script(t, name, get(&from->calls), get(&from->total_us));
}

void tally_add_slot(struct tally *t, const struct scoreboard_slot *slot)
{
    t->requests += get(&slot->requests);
    t->duplicates += get(&slot->duplicates);
    t->commits += get(&slot->commits);
    t->reconnects += get(&slot->reconnects);
    for (size_t i = 0; i < SCOREBOARD_METHODS; i++)
        add_slot_method(t, &slot->methods[i]);
    for (size_t i = 0; i < SCOREBOARD_SCRIPTS; i++)
        add_slot_script(t, &slot->scripts[i]);
    get_all(t->nameless, slot->nameless, SCOREBOARD_CODES);
    get_all(t->claims, slot->claims, SCOREBOARD_CLAIMS);
    for (size_t i = 0; i < SCOREBOARD_HOOK_EVENTS; i++)
        get_all(t->hook_events[i], slot->hook_events[i], SCOREBOARD_DECISIONS);
    t->fallbacks += get(&slot->decisions[DECISION_FALLBACK]);
}
