/*
 * child.h: one worker process over all its lives: its place (domain and slot), its state, its brake.
 *
 * Owned by a service (service.h). Events come in from the control socket, the timer, the watchdog,
 * the reaper and the stop sequence; child_fsm.h says what each of them means, child.c does it.
 */
#ifndef CB_CHILD_H
#define CB_CHILD_H

#include "supervisor/child_fsm.h"

#include "common/backoff.h"
#include "common/options.h"
#include "common/scoreboard.h"

#include <event2/event.h>

enum {
    CHILD_HELLO_TIMEOUT_MS = 5000, /* from the exec to HELLO */
    CHILD_EXIT_TIMEOUT_MS =
        5000,                /* from BYE, or from the end of its control socket, to its death */
    CHILD_HEALTHY_MS = 5000, /* a life of that length resets the brake */
    CHILD_LOOP_DEATHS = 3,   /* so many short lives in a row are a crash loop */
    CHILD_NAME_SIZE = 160,   /* <instance>/<domain>/<slot>.<generation> */
};

/* What is known about a worker that died. Strings are valid during the call only. */
struct child_death {
    const char *domain;
    const char *consumer; /* its name in the group, and of its connection */
    int64_t redis_id;     /* its last connection, 0 = it had none */
    const char *entry;    /* the entry to charge with the crash, "" = none */
    const char *how;      /* "signal 11", "exit 1", "hung" */
};

struct tally;

/* What all children share. The pointers are borrowed. */
struct child_env {
    struct event_base *base;
    const struct options *opts;
    struct scoreboard *scoreboard;
    int scoreboard_fd;
    int options_fd;
    uint64_t options_serial; /* of what is behind options_fd */
    const char *worker_path;
    int null_fd; /* /dev/null: the workers' stdin */
    /* Their stdout and stderr too: what we have belongs to whoever started us. */
    bool is_background;
    uint64_t first_generation; /* of this supervisor; unique over restarts */
    uint64_t next_generation;
    bool is_open;        /* workers may read requests */
    struct tally *tally; /* the counters of dead workers are added here */
    void *arg;           /* of the calls below */
    bool (*redis_is_up)(void *arg);
    void (*on_dead)(void *arg, const struct child_death *death);
    void (*on_change)(void *arg);  /* some child has changed its state */
    void (*on_settled)(void *arg); /* the children were looked at (settle.c) */
};

struct child {
    struct child_env *env;
    const char *domain;
    int slot;
    enum child_state state;
    pid_t pid; /* 0 = none */
    int fd;    /* control socket, -1 = none */
    uint64_t generation;
    uint64_t options_serial; /* of the options that its process has read */
    struct event *control;
    struct event *timer; /* deadline of the state, or end of the pause */
    struct backoff brake;
    int64_t started_ms;    /* monotonic */
    int64_t ready_ms;      /* monotonic, 0 = not in this life */
    int64_t next_start_ms; /* monotonic, 0 = no pause */
    unsigned restarts;
    unsigned short_lives; /* in a row */
    bool is_hung;
    enum scoreboard_restart end; /* why its process ended, if nobody asked it to */
    bool is_blameless;           /* killed by a stop: what it had in hand is not charged */
    bool is_retiring;            /* it leaves for good, and its place is not its own any more */
    /* Its process died, and no request is to blame: the next one reads them one by one. */
    bool is_careful;
};

void child_init(struct child *c, struct child_env *env, const char *domain, int slot);
void child_done(struct child *c); /* the process must be gone */
void child_event(struct child *c, enum child_event event);
/* The process was reaped with this wait status. */
void child_reaped(struct child *c, int status);

/* A process that an earlier program in our place has started. */
struct child_life {
    enum child_state state;
    pid_t pid;
    int fd; /* control socket; taken over */
    uint64_t generation;
    int64_t started_ms;
    int64_t ready_ms;
    unsigned restarts;
    bool is_retiring;
};
/* `c` has just been initialized. Goes on where that program was. */
void child_adopt(struct child *c, const struct child_life *life);

/* The options in force have changed: takes what concerns the restarts, and ends a pause before one. */
void child_options_changed(struct child *c);
/* Its process runs with older options than those in force, and was not told to leave. */
bool child_is_stale(const struct child *c);

struct scoreboard_slot *child_slot(const struct child *c);
/* True when its last lives were short and it has not lived well since. */
bool child_is_crash_looping(const struct child *c);
/* It runs, but Redis refuses its user, password or rights. */
bool child_is_refused(const struct child *c);
/* "<instance>/<domain>/<slot>.<generation>"; "" when it has never run. */
void child_consumer(const struct child *c, char out[CHILD_NAME_SIZE]);
/* Sets the timer to fire after `ms`; a negative value takes it back. */
void child_set_timer(struct child *c, int64_t ms);

/* start.c: makes the process. Returns 0, or -1 with the reason in err. */
int child_spawn(struct child *c, struct cb_error *err);

#endif
