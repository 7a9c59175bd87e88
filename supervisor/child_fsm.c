/*
 * child_fsm.c: see child_fsm.h. The two tables are laid out alike; a cell that says NEVER in the second
 * keeps its state in the first.
 */
#include "common/compat.h"
#include "supervisor/child_fsm.h"

/* clang-format off */
#define DOWN CHILD_DOWN
#define STRT CHILD_STARTING
#define GRTD CHILD_GREETED
#define RDY  CHILD_READY
#define UP   CHILD_UP
#define DRNG CHILD_DRAINING
#define KLLD CHILD_KILLED
#define DISM CHILD_DISMISSED
#define WAIT CHILD_WAITING
#define GVUP CHILD_GAVE_UP

static const unsigned char next_state[CHILD_STATES][CHILD_EVENTS] = {
/*            WANT  START_F HELLO READY BYE   BROKEN OPEN  TIMER LATE  HUNG  DRAIN KILL  DIED  DIED_CFG */
    [DOWN] = {STRT, DOWN,   DOWN, DOWN, DOWN, DOWN,  DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN},
    [STRT] = {STRT, WAIT,   GRTD, KLLD, STRT, KLLD,  STRT, STRT, KLLD, KLLD, DRNG, DISM, WAIT, GVUP},
    [GRTD] = {GRTD, GRTD,   KLLD, RDY,  GRTD, KLLD,  GRTD, GRTD, KLLD, KLLD, DRNG, DISM, WAIT, GVUP},
    [RDY]  = {RDY,  RDY,    KLLD, KLLD, RDY,  KLLD,  UP,   RDY,  KLLD, KLLD, DRNG, DISM, WAIT, GVUP},
    [UP]   = {UP,   UP,     KLLD, KLLD, UP,   KLLD,  UP,   UP,   KLLD, KLLD, DRNG, DISM, WAIT, GVUP},
    [DRNG] = {DRNG, DRNG,   DRNG, DRNG, DRNG, DISM,  DRNG, DRNG, DISM, DISM, DRNG, DISM, DOWN, DOWN},
    [KLLD] = {KLLD, KLLD,   KLLD, KLLD, KLLD, KLLD,  KLLD, KLLD, KLLD, KLLD, DISM, DISM, WAIT, GVUP},
    [DISM] = {DISM, DISM,   DISM, DISM, DISM, DISM,  DISM, DISM, DISM, DISM, DISM, DISM, DOWN, DOWN},
    [WAIT] = {WAIT, WAIT,   WAIT, WAIT, WAIT, WAIT,  WAIT, STRT, WAIT, WAIT, DOWN, DOWN, WAIT, WAIT},
    [GVUP] = {STRT, GVUP,   GVUP, GVUP, GVUP, GVUP,  GVUP, GVUP, GVUP, GVUP, DOWN, DOWN, GVUP, GVUP},
};

#define NONE CHILD_DO_NOTHING
#define STAR CHILD_DO_START
#define GREE CHILD_DO_GREET
#define WELC CHILD_DO_WELCOME
#define GO   CHILD_DO_GO
#define EXIT CHILD_DO_EXPECT_EXIT
#define TELL CHILD_DO_TELL_DRAIN
#define REFU CHILD_DO_REFUSE
#define KILL CHILD_DO_KILL
#define BRAK CHILD_DO_BRAKE
#define BURY CHILD_DO_BURY
#define REPL CHILD_DO_REPLACE
#define GIVE CHILD_DO_GIVE_UP
#define CANC CHILD_DO_CANCEL
#define XXXX CHILD_NEVER

static const unsigned char actions[CHILD_STATES][CHILD_EVENTS] = {
/*            WANT  START_F HELLO READY BYE   BROKEN OPEN  TIMER LATE  HUNG  DRAIN KILL  DIED  DIED_CFG */
    [DOWN] = {STAR, XXXX,   XXXX, XXXX, XXXX, XXXX,  NONE, XXXX, XXXX, XXXX, NONE, NONE, XXXX, XXXX},
    [STRT] = {NONE, BRAK,   GREE, REFU, EXIT, REFU,  NONE, XXXX, KILL, KILL, TELL, KILL, REPL, GIVE},
    [GRTD] = {NONE, XXXX,   REFU, WELC, EXIT, REFU,  NONE, XXXX, KILL, KILL, TELL, KILL, REPL, GIVE},
    [RDY]  = {NONE, XXXX,   REFU, REFU, EXIT, REFU,  GO,   XXXX, KILL, KILL, TELL, KILL, REPL, GIVE},
    [UP]   = {NONE, XXXX,   REFU, REFU, EXIT, REFU,  NONE, XXXX, KILL, KILL, TELL, KILL, REPL, GIVE},
    [DRNG] = {NONE, XXXX,   NONE, NONE, NONE, REFU,  NONE, XXXX, KILL, KILL, NONE, KILL, BURY, BURY},
    [KLLD] = {NONE, XXXX,   NONE, NONE, NONE, NONE,  NONE, XXXX, NONE, NONE, NONE, NONE, REPL, GIVE},
    [DISM] = {NONE, XXXX,   NONE, NONE, NONE, NONE,  NONE, XXXX, NONE, NONE, NONE, NONE, BURY, BURY},
    [WAIT] = {NONE, XXXX,   XXXX, XXXX, XXXX, XXXX,  NONE, STAR, XXXX, XXXX, CANC, CANC, XXXX, XXXX},
    [GVUP] = {STAR, XXXX,   XXXX, XXXX, XXXX, XXXX,  NONE, XXXX, XXXX, XXXX, NONE, NONE, XXXX, XXXX},
};
/* clang-format on */

enum child_state child_fsm_next(enum child_state state, enum child_event event)
{
    cb_assert(state < CHILD_STATES && event < CHILD_EVENTS);
    return (enum child_state)next_state[state][event];
}

enum child_action child_fsm_action(enum child_state state, enum child_event event)
{
    cb_assert(state < CHILD_STATES && event < CHILD_EVENTS);
    return (enum child_action)actions[state][event];
}

const char *child_state_name(enum child_state state)
{
    static const char *const names[CHILD_STATES] = {
        [CHILD_DOWN] = "down",       [CHILD_STARTING] = "starting",
        [CHILD_GREETED] = "greeted", [CHILD_READY] = "ready",
        [CHILD_UP] = "up",           [CHILD_DRAINING] = "draining",
        [CHILD_KILLED] = "killed",   [CHILD_DISMISSED] = "dismissed",
        [CHILD_WAITING] = "waiting", [CHILD_GAVE_UP] = "gave_up",
    };
    cb_assert(state < CHILD_STATES);
    return names[state];
}

const char *child_event_name(enum child_event event)
{
    static const char *const names[CHILD_EVENTS] = {
        [CHILD_EV_WANT] = "want",   [CHILD_EV_START_FAILED] = "start_failed",
        [CHILD_EV_HELLO] = "hello", [CHILD_EV_READY] = "ready",
        [CHILD_EV_BYE] = "bye",     [CHILD_EV_BROKEN] = "broken",
        [CHILD_EV_OPEN] = "open",   [CHILD_EV_TIMER] = "timer",
        [CHILD_EV_LATE] = "late",   [CHILD_EV_HUNG] = "hung",
        [CHILD_EV_DRAIN] = "drain", [CHILD_EV_KILL] = "kill",
        [CHILD_EV_DIED] = "died",   [CHILD_EV_DIED_CONFIG] = "died_config",
    };
    cb_assert(event < CHILD_EVENTS);
    return names[event];
}

int child_state_has_process(enum child_state state)
{
    return state >= CHILD_STARTING && state <= CHILD_DISMISSED;
}
