/*
 * child_fsm.h: what a worker process is to its supervisor, as two tables: states × events → next state,
 * and states × events → action. Pure: child.c carries the actions out.
 */
#ifndef CB_CHILD_FSM_H
#define CB_CHILD_FSM_H

enum child_state {
    CHILD_DOWN,      /* no process, and none is wanted */
    CHILD_STARTING,  /* a process runs; HELLO is awaited */
    CHILD_GREETED,   /* HELLO said; READY is awaited */
    CHILD_READY,     /* READY said; GO not sent yet */
    CHILD_UP,        /* GO sent: it works */
    CHILD_DRAINING,  /* DRAIN sent: it finishes and leaves */
    CHILD_KILLED,    /* SIGKILL sent; it will be replaced */
    CHILD_DISMISSED, /* SIGKILL sent; it will not be replaced */
    CHILD_WAITING,   /* dead; waits for its restart */
    CHILD_GAVE_UP,   /* dead; it said that a restart is of no use */
    CHILD_STATES
};

enum child_event {
    CHILD_EV_WANT,         /* it shall run */
    CHILD_EV_START_FAILED, /* no process came into being */
    CHILD_EV_HELLO,        /* frames of the worker */
    CHILD_EV_READY,
    CHILD_EV_BYE,
    CHILD_EV_BROKEN,      /* it sent something that makes no sense */
    CHILD_EV_OPEN,        /* this instance is registered: workers may read requests */
    CHILD_EV_TIMER,       /* its pause before a restart is over */
    CHILD_EV_LATE,        /* a deadline has passed */
    CHILD_EV_HUNG,        /* it has not beaten for too long */
    CHILD_EV_DRAIN,       /* it shall finish and leave */
    CHILD_EV_KILL,        /* it shall leave at once */
    CHILD_EV_DIED,        /* the process was reaped */
    CHILD_EV_DIED_CONFIG, /* the same, with the exit code that means: never again */
    CHILD_EVENTS
};

enum child_action {
    CHILD_DO_NOTHING,
    CHILD_DO_START,       /* fork and exec */
    CHILD_DO_GREET,       /* check HELLO, set the deadline of READY */
    CHILD_DO_WELCOME,     /* note READY; OPEN follows when the instance is registered */
    CHILD_DO_GO,          /* send GO */
    CHILD_DO_EXPECT_EXIT, /* it says that it leaves: set a deadline */
    CHILD_DO_TELL_DRAIN,  /* send DRAIN */
    CHILD_DO_REFUSE,      /* log the protocol error, kill */
    CHILD_DO_KILL,        /* kill */
    CHILD_DO_BRAKE,       /* no process: set the pause before the next try */
    CHILD_DO_BURY,        /* dead: hand its requests on */
    CHILD_DO_REPLACE,     /* dead: hand its requests on, and restart with the brake */
    CHILD_DO_GIVE_UP,     /* dead: hand its requests on, log that it stays down */
    CHILD_DO_CANCEL,      /* take the pause's timer back */
    CHILD_NEVER,          /* cannot happen: a bug of ours */
};

enum child_state child_fsm_next(enum child_state state, enum child_event event);
enum child_action child_fsm_action(enum child_state state, enum child_event event);

const char *child_state_name(enum child_state state);
const char *child_event_name(enum child_event event);

/* True for the states that have a process. */
int child_state_has_process(enum child_state state);

#endif
