/*
 * check_scoreboard.c: common/scoreboard: the memfd, entry ids under a writer that is killed half-way or
 * races with the reader, and the histogram's arithmetic.
 */
#include "common/compat.h"
#include "common/scoreboard.h"

#include "common/clock.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

START_TEST(created_and_attached_are_one)
{
    struct scoreboard *a = NULL;
    struct scoreboard *b = NULL;
    int fd = scoreboard_create(&a, NULL);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(scoreboard_attach(fd, &b, NULL), 0);
    atomic_store(&a->slots[SCOREBOARD_SLOTS - 1].requests, 42);
    ck_assert_uint_eq(atomic_load(&b->slots[SCOREBOARD_SLOTS - 1].requests), 42);
    scoreboard_detach(a);
    scoreboard_detach(b);
    scoreboard_detach(NULL);
    close(fd);
}
END_TEST

START_TEST(the_size_is_sealed)
{
    struct scoreboard *sb = NULL;
    int fd = scoreboard_create(&sb, NULL);

    ck_assert_int_eq(ftruncate(fd, 1), -1);
    ck_assert_int_eq(ftruncate(fd, (off_t)sizeof *sb * 2), -1);
    scoreboard_detach(sb);
    close(fd);
}
END_TEST

START_TEST(strangers_are_refused)
{
    struct scoreboard *sb = NULL;
    struct scoreboard *other = NULL;
    struct cb_error err = {0};
    int fd = memfd_create("x", MFD_CLOEXEC);

    ck_assert_int_eq(scoreboard_attach(-1, &other, &err), -1);
    ck_assert_int_eq(scoreboard_attach(fd, &other, &err), -1); /* empty */
    ck_assert_int_eq(ftruncate(fd, sizeof *sb), 0);
    ck_assert_int_eq(scoreboard_attach(fd, &other, &err), -1); /* no magic */
    close(fd);

    fd = scoreboard_create(&sb, NULL);
    sb->global.version++;
    ck_assert_int_eq(scoreboard_attach(fd, &other, &err), -1);
    ck_assert_ptr_null(other);
    scoreboard_detach(sb);
    close(fd);
}
END_TEST

START_TEST(reset_keeps_nothing)
{
    static struct scoreboard_slot slot;

    snprintf(slot.methods[3].name, sizeof slot.methods[3].name, "task.create");
    atomic_store(&slot.requests, 9);
    char entry[STREAM_ID_SIZE];
    atomic_store(&slot.entry_seq, 5); /* died while writing */
    scoreboard_get_entry(&slot, entry);
    ck_assert_str_eq(entry, "");
    scoreboard_set_entry(&slot, "1-1");
    scoreboard_get_entry(&slot, entry);
    ck_assert_str_eq(entry, "1-1");
    scoreboard_slot_reset(&slot, "system", 17);
    ck_assert_str_eq(slot.domain, "system");
    ck_assert_uint_eq(atomic_load(&slot.generation), 17);
    ck_assert_uint_eq(atomic_load(&slot.requests), 0);
    ck_assert_uint_eq(atomic_load(&slot.entry_seq), 0);
    ck_assert_int_eq(atomic_load(&slot.method), -1);
    ck_assert_str_eq(slot.methods[3].name, "");
    ck_assert_str_eq(slot.entry_id, "");
}
END_TEST

START_TEST(scripts_are_added_up_when_a_worker_goes)
{
    struct scoreboard *sb = NULL;
    int fd = scoreboard_create(&sb, NULL);
    struct scoreboard_slot *slot = &sb->slots[1];

    snprintf(slot->scripts[2].name, sizeof slot->scripts[2].name, "task_get");
    scoreboard_observe_script(&slot->scripts[2], 64, 500);
    scoreboard_observe_script(&slot->scripts[2], 1, 300);
    scoreboard_observe_script(&slot->scripts[2], 1, -1); /* a clock that is not ours */
    for (int i = 0; i < 2; i++)
        scoreboard_retire(sb, slot);
    const struct scoreboard_script *sum = &sb->retired.scripts[2];
    ck_assert_str_eq(sum->name, "task_get");
    ck_assert_uint_eq(atomic_load(&sum->calls), 6);
    ck_assert_uint_eq(atomic_load(&sum->requests), 132);
    ck_assert_uint_eq(atomic_load(&sum->total_us), 1600);
    ck_assert_uint_eq(atomic_load(&sum->max_us), 500);
    /* A place without a name, or with another one's, is left alone. */
    ck_assert_str_eq(sb->retired.scripts[3].name, "");
    snprintf(slot->scripts[2].name, sizeof slot->scripts[2].name, "task_list");
    scoreboard_retire(sb, slot);
    ck_assert_uint_eq(atomic_load(&sum->calls), 6);
    scoreboard_detach(sb);
    close(fd);
}
END_TEST

START_TEST(methods_are_added_up_by_name)
{
    struct scoreboard *sb = NULL;
    int fd = scoreboard_create(&sb, NULL);
    struct scoreboard_slot *old = &sb->slots[1], *new = &sb->slots[2];

    snprintf(old->methods[0].name, sizeof old->methods[0].name, "task.create");
    atomic_store(&old->methods[0].requests, 1);
    atomic_store(&old->methods[0].codes[CODE_OK], 1);
    scoreboard_retire(sb, old);
    /* After an upgrade in place a method is in front of it. */
    snprintf(new->methods[0].name, sizeof new->methods[0].name, "task.before");
    snprintf(new->methods[1].name, sizeof new->methods[1].name, "task.create");
    atomic_store(&new->methods[0].requests, 10);
    atomic_store(&new->methods[1].requests, 100);
    atomic_store(&new->methods[1].codes[CODE_OK], 100);
    scoreboard_retire(sb, new);
    scoreboard_retire(sb, new);
    uint64_t before = 0, create = 0, ok = 0;
    for (size_t i = 0; i < SCOREBOARD_METHODS; i++) {
        const struct scoreboard_method *m = &sb->retired.methods[i];
        if (strcmp(m->name, "task.before") == 0)
            before += atomic_load(&m->requests);
        if (strcmp(m->name, "task.create") == 0) {
            create += atomic_load(&m->requests);
            ok += atomic_load(&m->codes[CODE_OK]);
        }
    }
    ck_assert_uint_eq(before, 20);
    ck_assert_uint_eq(create, 201);
    ck_assert_uint_eq(ok, 201);
    scoreboard_detach(sb);
    close(fd);
}
END_TEST

START_TEST(codes)
{
    ck_assert_int_eq(scoreboard_code(0), CODE_OK);
    ck_assert_int_eq(scoreboard_code(4), CODE_OK);
    ck_assert_int_eq(scoreboard_code(-1), CODE_OTHER);
    ck_assert_int_eq(scoreboard_code(INT64_MIN), CODE_OTHER);
    ck_assert_str_eq(scoreboard_code_name(CODE_OTHER), "other");
    for (int i = CODE_FIRST_ERROR; i < SCOREBOARD_CODES; i++) {
        const char *name = scoreboard_code_name((enum scoreboard_code)i);
        ck_assert_int_eq(scoreboard_code(strtoll(name, NULL, 10)), i);
    }
}
END_TEST

START_TEST(entries)
{
    static struct scoreboard_slot slot;
    char got[STREAM_ID_SIZE];

    scoreboard_get_entry(&slot, got);
    ck_assert_str_eq(got, "");
    scoreboard_set_entry(&slot, "1795288088889-0");
    scoreboard_get_entry(&slot, got);
    ck_assert_str_eq(got, "1795288088889-0");
    scoreboard_set_entry(&slot, "18446744073709551615-18446744073709551615");
    scoreboard_get_entry(&slot, got);
    ck_assert_str_eq(got, "18446744073709551615-18446744073709551615");
    scoreboard_set_entry(&slot, NULL);
    scoreboard_get_entry(&slot, got);
    ck_assert_str_eq(got, "");
    scoreboard_set_entry(&slot, "x");
    scoreboard_set_entry(&slot, "");
    scoreboard_get_entry(&slot, got);
    ck_assert_str_eq(got, "");
}
END_TEST

START_TEST(a_writer_that_died_half_way_names_nothing)
{
    static struct scoreboard_slot slot;
    char got[STREAM_ID_SIZE];

    scoreboard_set_entry(&slot, "1-1");
    atomic_fetch_add(&slot.entry_seq, 1);
    memcpy(slot.entry_id, "2-", 2);
    scoreboard_get_entry(&slot, got);
    ck_assert_str_eq(got, "");
}
END_TEST

/* Two long ids without a common byte: a torn read would show. */
START_TEST(entries_are_never_torn)
{
    static const char one[] = "1111111111111111111-1111111111111111111";
    static const char two[] = "2222222222222222222+2222222222222222222";
    struct scoreboard *sb = NULL;
    int fd = scoreboard_create(&sb, NULL);
    struct scoreboard_slot *slot = &sb->slots[0];

    pid_t writer = fork();
    if (writer == 0)
        for (;;) {
            scoreboard_set_entry(slot, one);
            scoreboard_set_entry(slot, two);
        }
    int seen = 0;
    for (int i = 0; i < 200000; i++) {
        char got[STREAM_ID_SIZE];
        scoreboard_get_entry(slot, got);
        ck_assert(got[0] == '\0' || strcmp(got, one) == 0 || strcmp(got, two) == 0);
        seen += got[0] != '\0';
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    ck_assert_int_gt(seen, 0);
    scoreboard_detach(sb);
    close(fd);
}
END_TEST

START_TEST(beats)
{
    static struct scoreboard_slot slot;

    clock_fake_set(123456, 0);
    scoreboard_beat(&slot);
    clock_fake_stop();
    ck_assert_int_eq(atomic_load(&slot.beat_us), 123456);
}
END_TEST

/* Where the next bucket begins: four to an octave. */
static int64_t bucket_limit_us(unsigned bucket)
{
    return (int64_t)(exp2((bucket + 1) / 4.0) + 0.5);
}

START_TEST(buckets_hold_what_they_say)
{
    ck_assert_uint_eq(scoreboard_bucket(-5), 0);
    ck_assert_uint_eq(scoreboard_bucket(0), 0);
    ck_assert_uint_eq(scoreboard_bucket(1), 0);
    ck_assert_uint_eq(scoreboard_bucket(2), 4);
    ck_assert_uint_eq(scoreboard_bucket(1024), 40);
    ck_assert_uint_eq(scoreboard_bucket(INT64_MAX), SCOREBOARD_BUCKETS - 1);
    unsigned last = 0;
    for (int64_t us = 1; us < 1000000; us += 1 + us / 97) {
        unsigned b = scoreboard_bucket(us);
        ck_assert_uint_ge(b, last);
        ck_assert_uint_lt(b, SCOREBOARD_BUCKETS);
        ck_assert_int_le(us, bucket_limit_us(b));
        last = b;
    }
}
END_TEST

/* A bucket is a quarter octave wide, so a percentile is within 19 % of the truth. */
START_TEST(percentiles)
{
    static struct scoreboard_method m;
    uint64_t sum[SCOREBOARD_BUCKETS] = {0};

    ck_assert_int_eq(scoreboard_percentile_us(sum, 0.5), 0);
    for (int us = 1; us <= 10000; us++)
        scoreboard_observe(&m, us);
    for (size_t i = 0; i < SCOREBOARD_BUCKETS; i++)
        sum[i] = atomic_load(&m.buckets[i]);
    static const double ps[] = {0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 1.0};
    int64_t last = 0;
    for (size_t i = 0; i < CB_ARRAY_LEN(ps); i++) {
        int64_t got = scoreboard_percentile_us(sum, ps[i]);
        ck_assert_double_ge((double)got, ps[i] * 10000 * 0.84);
        ck_assert_double_le((double)got, ps[i] * 10000 * 1.19);
        ck_assert_int_ge(got, last);
        last = got;
    }
    ck_assert_uint_eq(atomic_load(&m.total_us), 10000 * 10001 / 2);
    scoreboard_observe(&m, -7);
    ck_assert_uint_eq(atomic_load(&m.total_us), 10000 * 10001 / 2);
}
END_TEST

START_TEST(short_of_memory)
{
    struct scoreboard_global g = {0};

    atomic_store(&g.used_memory, 1000);
    ck_assert(!scoreboard_is_memory_short(&g)); /* no limit */
    atomic_store(&g.max_memory, 1000);
    atomic_store(&g.used_memory, 899);
    ck_assert(!scoreboard_is_memory_short(&g));
    atomic_store(&g.used_memory, 900);
    ck_assert(scoreboard_is_memory_short(&g));
    atomic_store(&g.used_memory, UINT64_MAX);
    atomic_store(&g.max_memory, UINT64_MAX);
    ck_assert(scoreboard_is_memory_short(&g));
}
END_TEST

START_TEST(troubles)
{
    struct scoreboard_global g = {0};
    char out[160], longer[200];

    ck_assert(!scoreboard_get_trouble(&g, TROUBLE_AUDIT, out));
    ck_assert_str_eq(out, "");
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    scoreboard_set_trouble(&g, TROUBLE_AUDIT, longer);
    ck_assert(scoreboard_get_trouble(&g, TROUBLE_AUDIT, out));
    ck_assert_uint_eq(strlen(out), sizeof out - 1);
    atomic_fetch_add(&g.troubles[TROUBLE_AUDIT].seq, 1); /* the supervisor died while it wrote */
    ck_assert(!scoreboard_get_trouble(&g, TROUBLE_AUDIT, out));
    scoreboard_set_trouble(&g, TROUBLE_AUDIT, "full");
    ck_assert(scoreboard_get_trouble(&g, TROUBLE_AUDIT, out));
    ck_assert_str_eq(out, "full");
    scoreboard_set_trouble(&g, TROUBLE_AUDIT, NULL);
    ck_assert(!scoreboard_get_trouble(&g, TROUBLE_AUDIT, out));
}
END_TEST

START_TEST(state_names)
{
    for (int s = WORKER_EMPTY; s <= WORKER_DRAINING; s++)
        ck_assert_str_ne(worker_state_name((enum worker_state)s), "unknown");
    ck_assert_str_eq(worker_state_name((enum worker_state)99), "unknown");
    ck_assert_str_eq(worker_state_name((enum worker_state) - 1), "unknown");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, created_and_attached_are_one);
    tcase_add_test(tc, the_size_is_sealed);
    tcase_add_test(tc, strangers_are_refused);
    tcase_add_test(tc, reset_keeps_nothing);
    tcase_add_test(tc, scripts_are_added_up_when_a_worker_goes);
    tcase_add_test(tc, methods_are_added_up_by_name);
    tcase_add_test(tc, codes);
    tcase_add_test(tc, entries);
    tcase_add_test(tc, a_writer_that_died_half_way_names_nothing);
    tcase_add_test(tc, entries_are_never_torn);
    tcase_add_test(tc, beats);
    tcase_add_test(tc, buckets_hold_what_they_say);
    tcase_add_test(tc, percentiles);
    tcase_add_test(tc, short_of_memory);
    tcase_add_test(tc, troubles);
    tcase_add_test(tc, state_names);
}

UNIT_MAIN("scoreboard", add_tests)
