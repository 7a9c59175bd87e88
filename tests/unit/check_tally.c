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

START_TEST(all_kinds_of_counters)
{
    static struct scoreboard_slot slot;
    struct tally one = TALLY_INIT;
    struct tally two = TALLY_INIT;

    count(&slot, 0, "task.claim", 3, 100); /* a bound belongs to its bucket */
    count(&slot, 0, "task.claim", 1, 6000000);
    atomic_store(&slot.methods[0].codes[scoreboard_code(-32005)], 2);
    atomic_store(&slot.nameless[scoreboard_code(-32601)], 3);
    atomic_store(&slot.claims[CLAIM_EMPTY], 4);
    atomic_store(&slot.hook_events[HOOK_EVENT_USER_PROMPT][DECISION_DENY], 5);
    atomic_store(&slot.decisions[DECISION_FALLBACK], 6);
    snprintf(slot.scripts[9].name, sizeof slot.scripts[9].name, "task_claim");
    scoreboard_observe_script(&slot.scripts[9], 3, 700);
    tally_add_slot(&one, &slot);
    tally_add_slot(&two, &slot);
    tally_add(&two, &one);
    const struct tally_method *m = find(&two, "task.claim");
    ck_assert_uint_eq(m->bounded[1], 6);
    for (size_t i = 0; i < SCOREBOARD_BOUNDS; i++) /* what is slower than all of them is in none */
        ck_assert_uint_eq(m->bounded[i], i == 1 ? 6 : 0);
    ck_assert_uint_eq(m->codes[scoreboard_code(-32005)], 4);
    ck_assert_uint_eq(two.nameless[scoreboard_code(-32601)], 6);
    ck_assert_uint_eq(two.claims[CLAIM_EMPTY], 8);
    ck_assert_uint_eq(two.hook_events[HOOK_EVENT_USER_PROMPT][DECISION_DENY], 10);
    ck_assert_uint_eq(two.fallbacks, 12);
    ck_assert_uint_eq(two.nscripts, 1);
    ck_assert_str_eq(two.scripts[0].name, "task_claim");
    ck_assert_uint_eq(two.scripts[0].calls, 2);
    ck_assert_uint_eq(two.scripts[0].total_us, 1400);
    tally_done(&one);
    tally_done(&two);
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
    tcase_add_test(tc, all_kinds_of_counters);
    tcase_add_test(tc, hostile_names);
}

UNIT_MAIN("tally", add_tests)
