/*
 * check_child_fsm.c: supervisor/child_fsm: the two tables are consistent, nothing that can happen to a
 * process is missing, and the lives that matter end where they should.
 */
#include "common/compat.h"
#include "supervisor/child_fsm.h"

#include "tests/unit/unit.h"

/* Walks a life; every step must be one that can happen. */
static enum child_state walk(enum child_state state, const enum child_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(child_fsm_action(state, events[i]) != CHILD_NEVER, "%s in %s",
                      child_event_name(events[i]), child_state_name(state));
        state = child_fsm_next(state, events[i]);
    }
    return state;
}
#define WALK(from, ...)                                                                            \
    walk(from, (const enum child_event[]){__VA_ARGS__},                                            \
         CB_ARRAY_LEN(((const enum child_event[]){__VA_ARGS__})))

#define TO_UP CHILD_EV_WANT, CHILD_EV_HELLO, CHILD_EV_READY, CHILD_EV_OPEN

START_TEST(lives)
{
    ck_assert_int_eq(WALK(CHILD_DOWN, TO_UP), CHILD_UP);
    ck_assert_int_eq(WALK(CHILD_DOWN, TO_UP, CHILD_EV_DRAIN, CHILD_EV_BYE, CHILD_EV_DIED),
                     CHILD_DOWN);
    ck_assert_int_eq(WALK(CHILD_DOWN, TO_UP, CHILD_EV_DIED), CHILD_WAITING);
    ck_assert_int_eq(WALK(CHILD_DOWN, TO_UP, CHILD_EV_DIED, CHILD_EV_TIMER), CHILD_STARTING);
    ck_assert_int_eq(WALK(CHILD_DOWN, TO_UP, CHILD_EV_HUNG, CHILD_EV_DIED), CHILD_WAITING);
    ck_assert_int_eq(WALK(CHILD_DOWN, TO_UP, CHILD_EV_DIED_CONFIG), CHILD_GAVE_UP);
    ck_assert_int_eq(WALK(CHILD_DOWN, CHILD_EV_WANT, CHILD_EV_LATE, CHILD_EV_DIED), CHILD_WAITING);
    ck_assert_int_eq(WALK(CHILD_DOWN, CHILD_EV_WANT, CHILD_EV_START_FAILED), CHILD_WAITING);
    ck_assert_int_eq(WALK(CHILD_DOWN, TO_UP, CHILD_EV_DRAIN, CHILD_EV_KILL, CHILD_EV_DIED),
                     CHILD_DOWN);
    ck_assert_int_eq(WALK(CHILD_DOWN, TO_UP, CHILD_EV_DIED, CHILD_EV_DRAIN), CHILD_DOWN);
    ck_assert_int_eq(WALK(CHILD_DOWN, TO_UP, CHILD_EV_HUNG, CHILD_EV_DRAIN, CHILD_EV_DIED),
                     CHILD_DOWN);
}
END_TEST

START_TEST(ready_before_open_waits)
{
    ck_assert_int_eq(WALK(CHILD_DOWN, CHILD_EV_WANT, CHILD_EV_OPEN), CHILD_STARTING);
    ck_assert_int_eq(WALK(CHILD_DOWN, CHILD_EV_WANT, CHILD_EV_HELLO, CHILD_EV_READY), CHILD_READY);
    ck_assert_int_eq(child_fsm_action(CHILD_READY, CHILD_EV_OPEN), CHILD_DO_GO);
    ck_assert_int_eq(child_fsm_action(CHILD_UP, CHILD_EV_OPEN), CHILD_DO_NOTHING);
}
END_TEST

START_TEST(frames_out_of_turn_are_refused)
{
    static const struct {
        enum child_state state;
        enum child_event event;
    } wrong[] = {
        {CHILD_STARTING, CHILD_EV_READY},  {CHILD_GREETED, CHILD_EV_HELLO},
        {CHILD_READY, CHILD_EV_HELLO},     {CHILD_READY, CHILD_EV_READY},
        {CHILD_UP, CHILD_EV_HELLO},        {CHILD_UP, CHILD_EV_READY},
        {CHILD_STARTING, CHILD_EV_BROKEN}, {CHILD_UP, CHILD_EV_BROKEN},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(wrong); i++) {
        ck_assert_int_eq(child_fsm_action(wrong[i].state, wrong[i].event), CHILD_DO_REFUSE);
        ck_assert_int_eq(child_fsm_next(wrong[i].state, wrong[i].event), CHILD_KILLED);
    }
}
END_TEST

/* What never happens changes nothing; what does nothing may still change what comes after. */
START_TEST(tables_agree)
{
    for (int s = 0; s < CHILD_STATES; s++)
        for (int e = 0; e < CHILD_EVENTS; e++) {
            enum child_state next = child_fsm_next((enum child_state)s, (enum child_event)e);
            enum child_action action = child_fsm_action((enum child_state)s, (enum child_event)e);
            ck_assert_int_lt(next, CHILD_STATES);
            if (action == CHILD_NEVER)
                ck_assert_int_eq(next, s);
            if (action == CHILD_DO_START)
                ck_assert_int_eq(next, CHILD_STARTING);
            if (action == CHILD_DO_KILL || action == CHILD_DO_REFUSE)
                ck_assert(next == CHILD_KILLED || next == CHILD_DISMISSED);
            if (action == CHILD_DO_REPLACE)
                ck_assert_int_eq(next, CHILD_WAITING);
            if (action == CHILD_DO_GIVE_UP)
                ck_assert_int_eq(next, CHILD_GAVE_UP);
        }
}
END_TEST

/* A process may die, say anything, hang or be late in any state that has one. */
START_TEST(whatever_a_process_does_has_an_answer)
{
    static const enum child_event any[] = {
        CHILD_EV_HELLO, CHILD_EV_READY, CHILD_EV_BYE,         CHILD_EV_BROKEN,
        CHILD_EV_OPEN,  CHILD_EV_LATE,  CHILD_EV_HUNG,        CHILD_EV_DRAIN,
        CHILD_EV_KILL,  CHILD_EV_DIED,  CHILD_EV_DIED_CONFIG, CHILD_EV_WANT,
    };
    for (int s = 0; s < CHILD_STATES; s++) {
        if (!child_state_has_process((enum child_state)s))
            continue;
        for (size_t e = 0; e < CB_ARRAY_LEN(any); e++)
            ck_assert_int_ne(child_fsm_action((enum child_state)s, any[e]), CHILD_NEVER);
        /* death leaves no state that has a process, and always hands on */
        for (size_t e = CHILD_EV_DIED; e <= CHILD_EV_DIED_CONFIG; e++) {
            enum child_action a = child_fsm_action((enum child_state)s, (enum child_event)e);
            ck_assert(a == CHILD_DO_BURY || a == CHILD_DO_REPLACE || a == CHILD_DO_GIVE_UP);
            ck_assert(
                !child_state_has_process(child_fsm_next((enum child_state)s, (enum child_event)e)));
        }
    }
}
END_TEST

/* From everywhere DRAIN then death, and KILL then death, end in DOWN: a stop always ends. */
START_TEST(a_stop_always_ends)
{
    static const enum child_event how[] = {CHILD_EV_DRAIN, CHILD_EV_KILL};
    for (int s = 0; s < CHILD_STATES; s++)
        for (size_t i = 0; i < CB_ARRAY_LEN(how); i++) {
            enum child_state state = child_fsm_next((enum child_state)s, how[i]);
            if (child_state_has_process(state))
                state = child_fsm_next(state, CHILD_EV_DIED);
            ck_assert_int_eq(state, CHILD_DOWN);
        }
}
END_TEST

START_TEST(names)
{
    for (int s = 0; s < CHILD_STATES; s++)
        ck_assert_ptr_nonnull(child_state_name((enum child_state)s));
    for (int e = 0; e < CHILD_EVENTS; e++)
        ck_assert_ptr_nonnull(child_event_name((enum child_event)e));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, lives);
    tcase_add_test(tc, ready_before_open_waits);
    tcase_add_test(tc, frames_out_of_turn_are_refused);
    tcase_add_test(tc, tables_agree);
    tcase_add_test(tc, whatever_a_process_does_has_an_answer);
    tcase_add_test(tc, a_stop_always_ends);
    tcase_add_test(tc, names);
}

UNIT_MAIN("child_fsm", add_tests)
