/*
 * check_reading_turn.c: worker/reading_turn: one of a domain's workers at a time, in processes of their own; and nobody is relied
 * upon.
 */
#include "common/compat.h"
#include "worker/reading_turn.h"

#include "common/clock.h"
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct scoreboard *board;
static struct reading_turn first, second;

static void begin(void)
{
    int fd = scoreboard_create(&board, NULL);
    close(fd);
    reading_turn_init(&first, board, 0, 0);
    reading_turn_init(&second, board, 0, 1);
}

static void end(void)
{
    scoreboard_detach(board);
}

/* For longer than any test takes, however slow the machine is. */
static void be_busy(void)
{
    atomic_store(&board->global.turns[0].busy_until_us, INT64_MAX);
}

START_TEST(single_requests_need_no_turns)
{
    begin();
    reading_turn_note(&first, 0);
    reading_turn_note(&first, 1);
    ck_assert(!reading_turn_is_busy(&first));
    ck_assert(reading_turn_take(&first));
    ck_assert(reading_turn_take(&second));
    ck_assert_uint_eq(atomic_load(&first.shared->holder), 0);
    end();
}
END_TEST

START_TEST(several_requests_do_and_only_for_a_while)
{
    begin();
    clock_fake_set(1000000, 0);
    reading_turn_note(&first, 2);
    ck_assert(reading_turn_is_busy(&second));
    ck_assert(reading_turn_take(&first));
    ck_assert(reading_turn_take(&first)); /* it is ours still */
    clock_fake_advance_us(READING_TURN_US - 1);
    ck_assert(!reading_turn_take(&second));
    clock_fake_advance_us(1);
    ck_assert(!reading_turn_is_busy(&second));
    ck_assert(reading_turn_take(&second));
    ck_assert_uint_eq(atomic_load(&first.shared->holder), first.self);
    clock_fake_stop();
    end();
}
END_TEST

START_TEST(domains_have_turns_of_their_own)
{
    struct reading_turn other;

    begin();
    reading_turn_init(&other, board, 1, 1);
    be_busy();
    ck_assert(reading_turn_take(&first));
    ck_assert(!reading_turn_is_busy(&other));
    atomic_store(&board->global.turns[1].busy_until_us, INT64_MAX);
    ck_assert(reading_turn_take(&other));
    ck_assert_uint_eq(atomic_load(&first.shared->holder), first.self);
    end();
}
END_TEST

START_TEST(who_gives_it_without_having_it_changes_nothing)
{
    begin();
    be_busy();
    ck_assert(reading_turn_take(&first));
    reading_turn_give(&second);
    ck_assert_uint_eq(atomic_load(&first.shared->holder), first.self);
    reading_turn_give(&first);
    ck_assert_uint_eq(atomic_load(&first.shared->holder), 0);
    ck_assert(reading_turn_take(&second));
    end();
}
END_TEST

/* A holder that never gives it: killed, stopped, or waiting for a request for long. */
START_TEST(it_is_taken_from_who_keeps_it)
{
    begin();
    be_busy();
    ck_assert(reading_turn_take(&first));
    int64_t began_us = clock_mono_us();
    reading_turn_wait(&second);
    ck_assert_int_ge(clock_mono_us() - began_us, READING_TURN_US);
    ck_assert_uint_eq(atomic_load(&first.shared->holder), second.self);
    reading_turn_give(&first); /* it is back, and has nothing to give */
    ck_assert_uint_eq(atomic_load(&first.shared->holder), second.self);
    end();
}
END_TEST

static void on_signal(int signo)
{
    (void)signo;
}

/* Several wait; who has had it gives it, and another one is awake long before it would take it by force. */
START_TEST(giving_it_wakes_one_of_those_that_wait)
{
    enum { WAITING = 3 };
    pid_t pids[WAITING];

    begin();
    be_busy();
    ck_assert(reading_turn_take(&first));
    for (unsigned i = 0; i < WAITING; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct reading_turn t;
            reading_turn_init(&t, board, 0, i + 1);
            for (int n = 0; n < 1000; n++) {
                reading_turn_wait(&t);
                if (atomic_load(&t.shared->holder) == t.self)
                    atomic_fetch_add(&board->global.restarts, 1); /* any counter that all share */
                reading_turn_give(&t);
            }
            _exit(0);
        }
    }
    int64_t began_us = clock_mono_us();
    reading_turn_give(&first);
    for (int i = 0; i < WAITING; i++) {
        int status;
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    /* By force it would be 150 s. */
    ck_assert_int_lt(clock_mono_us() - began_us, 3000 * READING_TURN_US / 4);
    ck_assert_uint_gt(atomic_load(&board->global.restarts), 2000);
    ck_assert_uint_eq(atomic_load(&first.shared->holder), 0);
    end();
}
END_TEST

/* A signal may come before the wait, or after it: tried until one comes meanwhile. */
START_TEST(a_signal_ends_the_wait)
{
    struct sigaction sa = {.sa_handler = on_signal};
    bool was_early = false;

    if (!unit_forks())
        return;
    begin();
    be_busy();
    sigaction(SIGUSR1, &sa, NULL);
    pid_t pid = fork();
    if (pid == 0) { /* signals until it is taken for heard */
        while (atomic_load(&board->global.restarts) == 0) {
            kill(getppid(), SIGUSR1);
            usleep(1000);
        }
        _exit(0);
    }
    for (int i = 0; i < 500 && !was_early; i++) {
        atomic_store(&first.shared->holder, first.self);
        reading_turn_wait(&second);
        was_early = atomic_load(&first.shared->holder) == first.self;
    }
    atomic_store(&board->global.restarts, 1);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert(was_early);
    end();
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, single_requests_need_no_turns);
    tcase_add_test(tc, several_requests_do_and_only_for_a_while);
    tcase_add_test(tc, domains_have_turns_of_their_own);
    tcase_add_test(tc, who_gives_it_without_having_it_changes_nothing);
    tcase_add_test(tc, it_is_taken_from_who_keeps_it);
    tcase_add_test(tc, giving_it_wakes_one_of_those_that_wait);
    tcase_add_test(tc, a_signal_ends_the_wait);
}

UNIT_MAIN("reading_turn", add_tests)
