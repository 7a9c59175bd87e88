/*
 * check_tally.c: supervisor/tally: sums over slots and over workers that are gone.
 */
#include "common/compat.h"
#include "supervisor/tally.h"

#include "tests/unit/unit.h"

static void count(struct scoreboard_slot *slot, int index, const char *name, unsigned n, int64_t us)
{
    struct scoreboard_method *m = &slot->methods[index];

    snprintf(m->name, sizeof m->name, "%s", name);
    for (unsigned i = 0; i < n; i++)
        scoreboard_observe(m, us);
    atomic_fetch_add(&m->requests, n);
    atomic_fetch_add(&slot->requests, n);
}

static const struct tally_method *find(const struct tally *t, const char *name)
{
    for (size_t i = 0; i < t->len; i++)
        if (strcmp(t->methods[i].name, name) == 0)
            return &t->methods[i];
    return NULL;
}

START_TEST(sums)
{
    static struct scoreboard_slot a;
    static struct scoreboard_slot b;
    struct tally living = TALLY_INIT;
    struct tally dead = TALLY_INIT;

    count(&a, 0, "task.create", 90, 100);
    count(&a, 1, "task.claim", 5, 10);
    count(&a, 2, "task.unused", 0, 0);
    count(&b, 7, "task.create", 10, 10000); /* another index: names count */
    tally_add_slot(&dead, &a);
    tally_add_slot(&living, &b);
    tally_add(&living, &dead);
    ck_assert_uint_eq(living.requests, 105);
    ck_assert_uint_eq(living.len, 2);
    ck_assert_ptr_null(find(&living, "task.unused"));
    const struct tally_method *m = find(&living, "task.create");
    ck_assert_uint_eq(m->requests, 100);
    ck_assert_uint_eq(m->total_us, 90 * 100 + 10 * 10000);
    ck_assert_int_le(scoreboard_percentile_us(m->buckets, 0.5), 119);
    ck_assert_int_ge(scoreboard_percentile_us(m->buckets, 0.95), 8000);
    tally_done(&living);
    tally_done(&dead);
    tally_done(&dead);
}
END_TEST

/* A sick worker writes names without an end, and ever new ones: we neither overrun nor grow. */
START_TEST(hostile_names)
{
    static struct scoreboard_slot slot;
    struct tally t = TALLY_INIT;

    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < SCOREBOARD_METHODS; i++) {
            memset(slot.methods[i].name, 'a' + i % 26, sizeof slot.methods[i].name);
            snprintf(slot.methods[i].name, 20, "%d.%d", round, i);
            slot.methods[i].name[strlen(slot.methods[i].name)] = 'x';
            atomic_store(&slot.methods[i].requests, 1);
        }
        tally_add_slot(&t, &slot);
    }
    ck_assert_uint_le(t.len, 256);
    for (size_t i = 0; i < t.len; i++)
        ck_assert_uint_lt(strlen(t.methods[i].name), sizeof t.methods[i].name);
    tally_done(&t);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, sums);
    tcase_add_test(tc, hostile_names);
}

UNIT_MAIN("tally", add_tests)
