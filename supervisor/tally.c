/*
 * tally.c: see tally.h.
 */
#include "common/compat.h"
#include "supervisor/tally.h"

#include "common/mem.h"

enum { TALLY_METHODS_MAX = 256 };

void tally_done(struct tally *t)
{
    free(t->methods);
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
        for (size_t b = 0; b < SCOREBOARD_BUCKETS; b++)
            to->buckets[b] += from->buckets[b];
    }
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
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
    for (size_t b = 0; b < SCOREBOARD_BUCKETS; b++)
        to->buckets[b] += get(&from->buckets[b]);
}

void tally_add_slot(struct tally *t, const struct scoreboard_slot *slot)
{
    t->requests += get(&slot->requests);
    t->duplicates += get(&slot->duplicates);
    t->commits += get(&slot->commits);
    t->reconnects += get(&slot->reconnects);
    for (size_t i = 0; i < SCOREBOARD_METHODS; i++)
        add_slot_method(t, &slot->methods[i]);
}
