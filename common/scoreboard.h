/*
 * scoreboard.h: what the workers tell the supervisor without a system call.
 *
 * A memfd mapped by the supervisor and every worker; one slot a worker, written by that worker only
 * (the supervisor resets a slot before it starts one). Plain counters are relaxed atomics: a reader
 * may see them a moment apart. The entry id is guarded by a sequence count so that a reader never sees
 * half of one. Best effort over a kill -9 of the supervisor; exact state counts live in Redis.
 */
#ifndef CB_SCOREBOARD_H
#define CB_SCOREBOARD_H

#include "common/err.h"
#include "common/log_ring.h"
#include "common/stream_id.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    SCOREBOARD_VERSION = 12,    /* of the layout: to be raised when it changes */
    SCOREBOARD_TEXT_SIZE = 160, /* of what says what is wrong, its NUL included */
    SCOREBOARD_SLOTS = 256,
    SCOREBOARD_LOG_LEVELS = 16,
    SCOREBOARD_METHODS = 64,
    SCOREBOARD_SCRIPTS = 96,
    /* Latency histogram: quarter octaves from 1 µs: bucket i holds values < 2^((i+1)/4) µs. */
    SCOREBOARD_BUCKETS = 112,
    SCOREBOARD_BOUNDS = 16, /* of the buckets that metrics show: scoreboard_bounds_us */
    SCOREBOARD_DOMAINS = 8,
};

/* What metrics tell requests' outcomes apart by: the codes of error replies. */
enum scoreboard_code {
    CODE_OK,
    CODE_OTHER, /* an error that is none of the following */
    CODE_FIRST_ERROR,
    SCOREBOARD_CODES = CODE_FIRST_ERROR + 12,
};
enum scoreboard_code scoreboard_code(int64_t code); /* any code that is not negative is CODE_OK */
const char *scoreboard_code_name(enum scoreboard_code code); /* "ok", "other", "-32602" */

/* What came of claims for tasks. */
enum scoreboard_claim {
    CLAIM_CLAIMED, /* there was something, or more */
    CLAIM_EMPTY,
    CLAIM_WAITING,  /* parked until there is something, or its time is over */
    CLAIM_REPEATED, /* had been claimed before, under the same idempotency key */
    CLAIM_REFUSED,
    SCOREBOARD_CLAIMS,
};
const char *scoreboard_claim_name(enum scoreboard_claim claim);

/* What rules decide about. */
enum scoreboard_hook_event { HOOK_EVENT_PRE_TOOL, HOOK_EVENT_USER_PROMPT, SCOREBOARD_HOOK_EVENTS };
const char *scoreboard_hook_event_name(enum scoreboard_hook_event event);

/* Why a worker was replaced. */
enum scoreboard_restart {
    RESTART_SIGNAL,    /* it died of one */
    RESTART_EXIT,      /* it ended with an exit code, or without a word */
    RESTART_HUNG,      /* it had not beaten for supervisor.watchdog_ms, and was killed */
    RESTART_NOT_READY, /* it was not ready in time, or spoke another language, and was killed */
    SCOREBOARD_RESTARTS,
};
const char *scoreboard_restart_name(enum scoreboard_restart reason);

/* What hook workers count: decisions, by what they were; and calls that a client decided while no daemon answered, as it
 * told later. */
enum scoreboard_decision {
    DECISION_NONE,
    DECISION_ALLOW,
    DECISION_MODIFY,
    DECISION_ASK,
    DECISION_DENY,
    DECISION_FALLBACK,
    DECISION_CACHED, /* of the first five: taken from the cache */
    SCOREBOARD_DECISIONS,
};
/* "none", "allow", …, "fallbacks", "cached". */
const char *scoreboard_decision_name(enum scoreboard_decision decision);

enum worker_state {
    WORKER_EMPTY = 0, /* no process */
    WORKER_STARTING,
    WORKER_READY,     /* READY said, GO not yet */
    WORKER_IDLE,      /* waits for requests */
    WORKER_HANDLING,  /* prepares a request: entry id is set */
    WORKER_COMMIT,    /* waits for Redis to commit */
    WORKER_RECONNECT, /* Redis is away */
    WORKER_REFUSED,   /* Redis refuses our user, password or rights; tried again */
    WORKER_DRAINING,
};
const char *worker_state_name(enum worker_state state);

struct scoreboard_method {
    char name[48]; /* written once by the worker at its start */
    _Atomic uint64_t requests;
    _Atomic uint64_t errors;  /* error replies of the effect */
    _Atomic uint64_t refused; /* by the gate or by validation */
    _Atomic uint64_t total_us;
    _Atomic uint64_t buckets[SCOREBOARD_BUCKETS];
    _Atomic uint64_t
        bounded[SCOREBOARD_BOUNDS];           /* by scoreboard_bounds_us; slower ones are in none */
    _Atomic uint64_t codes[SCOREBOARD_CODES]; /* by enum scoreboard_code */
};

/* Calls of a script that commit requests. Times are round trips: from the write of the call to the taking of its reply. */
struct scoreboard_script {
    char name[32]; /* written once by the worker at its start */
    _Atomic uint64_t calls;
    _Atomic uint64_t requests; /* in these calls */
    _Atomic uint64_t total_us;
    _Atomic uint64_t max_us;
};

struct scoreboard_slot {
    char domain[16];
    _Atomic uint64_t generation;
    _Atomic int pid;
    _Atomic int state;       /* enum worker_state */
    _Atomic int64_t beat_us; /* CLOCK_MONOTONIC of the last beat */
    _Atomic int64_t redis_id;
    _Atomic uint64_t requests;
    _Atomic uint64_t duplicates; /* commits that changed nothing (XACK 0) */
    _Atomic uint64_t commits;    /* script calls */
    _Atomic uint64_t reconnects;
    _Atomic int method;                       /* index of the one being handled, -1 */
    _Atomic uint32_t entry_seq;               /* odd while the next is being written */
    char entry_id[STREAM_ID_SIZE];            /* stream id being handled; "" = none */
    _Atomic uint32_t rules_seq;               /* as entry_seq, for the next four */
    char rules_version[17];                   /* the first digits; "" = this worker has no rules */
    char rules_problem[SCOREBOARD_TEXT_SIZE]; /* why calls are refused; "" = nothing is wrong */
    _Atomic uint32_t rules;
    _Atomic uint64_t decisions[SCOREBOARD_DECISIONS]; /* by enum scoreboard_decision */
    /* The same by event. */
    _Atomic uint64_t hook_events[SCOREBOARD_HOOK_EVENTS][SCOREBOARD_DECISIONS];
    _Atomic uint64_t claims[SCOREBOARD_CLAIMS];  /* by enum scoreboard_claim */
    _Atomic uint64_t nameless[SCOREBOARD_CODES]; /* requests without a method that there is */
    _Atomic int archive_state;                   /* enum scoreboard_archive */
    _Atomic uint64_t archive_events;             /* that are in PostgreSQL */
    _Atomic uint64_t archive_rows;               /* that were written for them */
    _Atomic uint64_t archive_refused;            /* records that PostgreSQL would not take */
    _Atomic uint64_t archive_gaps; /* events were gone before they were read: all was read again */
    _Atomic uint64_t archive_waiting;           /* events that are not in PostgreSQL yet */
    _Atomic int64_t archive_lag_ms;             /* age of the oldest of these */
    _Atomic uint32_t archive_seq;               /* as entry_seq, for the next */
    char archive_problem[SCOREBOARD_TEXT_SIZE]; /* why it waits; "" = nothing is wrong */
    struct scoreboard_method methods[SCOREBOARD_METHODS];
    struct scoreboard_script scripts[SCOREBOARD_SCRIPTS];
};

/* What an archive worker does. */
enum scoreboard_archive {
    ARCHIVE_NONE, /* this is no archive worker, or it has not begun */
    ARCHIVE_OK,
    ARCHIVE_DOWN, /* it waits for PostgreSQL */
};

enum redis_state { REDIS_STATE_UNKNOWN = 0, REDIS_STATE_UP, REDIS_STATE_DOWN, REDIS_STATE_LOADING };

/* Shared by the workers of a domain: who of them waits for requests (worker/reading_turn.h). */
struct scoreboard_turn {
    _Atomic uint32_t holder;       /* the slot's number and one; 0: nobody. A futex */
    _Atomic int64_t busy_until_us; /* monotonic: turns are taken until then */
};

/* What only the supervisor sees, and system.health tells too. */
enum scoreboard_trouble {
    TROUBLE_AUDIT,    /* the audit file is not written */
    TROUBLE_UNSERVED, /* requests wait that no host serves */
    TROUBLE_SOCKET,   /* the control socket, or the embedded server's, is gone */
    SCOREBOARD_TROUBLES,
};
struct scoreboard_text {
    _Atomic uint32_t seq;            /* odd while the text is being written */
    char text[SCOREBOARD_TEXT_SIZE]; /* "" = nothing is wrong */
};

/* Written by the supervisor, read by workers (system.health, memory gate) and by `status`; turns are the workers' own. */
struct scoreboard_global {
    uint32_t magic;
    uint32_t version;
    _Atomic int64_t supervisor_beat_us;
    _Atomic int redis_state;        /* enum redis_state */
    _Atomic int64_t redis_since_ms; /* wall */
    _Atomic uint64_t used_memory;
    _Atomic uint64_t max_memory; /* 0 = no limit */
    _Atomic int is_leader;
    _Atomic int workers_wanted;
    _Atomic int workers_ready;
    _Atomic int64_t started_ms; /* wall */
    _Atomic uint64_t restarts;
    _Atomic uint64_t
        restarts_by[SCOREBOARD_DOMAINS]
                   [SCOREBOARD_RESTARTS]; /* domains as options_domain_names() has them */
    _Atomic uint64_t redis_reconnects;    /* the supervisor's own */
    _Atomic uint64_t leases_expired;      /* that our ticks have ended */
    _Atomic uint64_t tasks_moved;         /* that our ticks took from instances that were silent */
    _Atomic uint64_t reloads;             /* of the configuration */
    _Atomic uint64_t reloads_refused;
    _Atomic int64_t
        outage_said_us;     /* monotonic: when a worker last logged that Redis does not serve it */
    _Atomic int hosts_seen; /* daemons on this Redis, ours included; 0 and 0: not known yet */
    _Atomic int hosts_known;
    _Atomic int64_t partition_since_ms; /* wall; 0: at least half are seen */
    _Atomic int64_t health_since_ms;    /* wall: of the supervisor's last change of status */
    _Atomic int is_fsynced;             /* Redis has each write on its disk before it answers */
    /* Levels of subsystems of the log (log.h): the level and one, 0 = the general one. */
    _Atomic uint32_t log_levels_serial; /* raised when they have changed */
    _Atomic int log_levels[SCOREBOARD_LOG_LEVELS];
    _Atomic uint64_t audit_records; /* of the audit file, since the supervisor's start */
    _Atomic uint64_t audit_waiting; /* …not in it yet */
    _Atomic uint64_t audit_lost;    /* …that were gone before they were read */
    _Atomic uint64_t audit_local;   /* calls that clients decided alone in the last hour */
    struct scoreboard_turn turns[SCOREBOARD_DOMAINS];     /* as restarts_by */
    struct scoreboard_text troubles[SCOREBOARD_TROUBLES]; /* by enum scoreboard_trouble */
    char instance_id[132];
    char incarnation[36];
};

struct scoreboard {
    struct scoreboard_global global;
    struct scoreboard_slot retired; /* what workers that are gone had counted */
    struct scoreboard_slot slots[SCOREBOARD_SLOTS];
    struct log_ring log; /* the last lines of supervisor and workers */
};

/* Makes a sealed-size memfd (CLOEXEC) and maps it. Returns the fd or -1. */
int scoreboard_create(struct scoreboard **ret, struct cb_error *err);
/* Maps an inherited memfd; checks magic, version and size. Returns 0 or -1. */
int scoreboard_attach(int fd, struct scoreboard **ret, struct cb_error *err);
void scoreboard_detach(struct scoreboard *sb); /* accepts NULL */

/* Redis has so little room left (90 % of its limit and more are used) that creating methods are refused. */
bool scoreboard_is_memory_short(const struct scoreboard_global *g);
/* The same rule, for who has the figures from elsewhere; `max_bytes` 0: there is no limit. */
bool scoreboard_memory_is_short(uint64_t used_bytes, uint64_t max_bytes);

/* For the supervisor alone: what is wrong; NULL: nothing. What is too long is cut. */
void scoreboard_set_trouble(struct scoreboard_global *g, enum scoreboard_trouble which,
                            const char *what);
/* A consistent copy; false and "" when nothing is wrong, or the supervisor died while it wrote. */
bool scoreboard_get_trouble(const struct scoreboard_global *g, enum scoreboard_trouble which,
                            char out[SCOREBOARD_TEXT_SIZE]);

/* Adds the counters of a worker that is gone to `retired`. */
void scoreboard_retire(struct scoreboard *sb, const struct scoreboard_slot *slot);

/* Zeroes a slot before a new worker gets it (keeps nothing of the old one). */
void scoreboard_slot_reset(struct scoreboard_slot *slot, const char *domain, uint64_t generation);
void scoreboard_beat(struct scoreboard_slot *slot);
/* NULL or "" clears. */
void scoreboard_set_entry(struct scoreboard_slot *slot, const char *entry_id);
/* A consistent copy; gives "" when none is set or the writer died while writing. */
void scoreboard_get_entry(const struct scoreboard_slot *slot, char out[STREAM_ID_SIZE]);

/* The rules that a worker decides by, and what is wrong with them (NULL: nothing; what is too long is cut). */
void scoreboard_set_rules(struct scoreboard_slot *slot, const char *version, size_t rules,
                          const char *problem);
/* A consistent copy; false when this worker has none, or died while it wrote. */
bool scoreboard_get_rules(const struct scoreboard_slot *slot, char version[17],
                          char problem[SCOREBOARD_TEXT_SIZE]);
/* How many hook workers there are, and what the first of them that has trouble says (else ""); `version` and the number of
 * rules are those of the one that was looked at last. */
struct scoreboard_rules {
    int workers;
    int troubled;
    uint32_t rules;
    char version[17];
    char problem[SCOREBOARD_TEXT_SIZE];
};
void scoreboard_sum_rules(const struct scoreboard *sb, struct scoreboard_rules *ret);
/* Why an archive worker waits (NULL: it does not; what is too long is cut). */
void scoreboard_set_archive(struct scoreboard_slot *slot, enum scoreboard_archive state,
                            const char *problem);
/* All archive workers of this host; counters with those that are gone. */
struct scoreboard_archives {
    int workers;
    int down; /* of these: wait for PostgreSQL */
    uint64_t events, rows, refused, gaps;
    uint64_t waiting; /* as the one that is least behind has it: all have one place */
    int64_t lag_ms;
    char problem[SCOREBOARD_TEXT_SIZE];
};
void scoreboard_sum_archives(const struct scoreboard *sb, struct scoreboard_archives *ret);
/* Of all workers, those that are gone included. */
uint64_t scoreboard_decisions(const struct scoreboard *sb, enum scoreboard_decision decision);

/* The bounds of the histogram that metrics show, in µs, inclusive; and as Prometheus has them, in seconds. */
extern const int64_t scoreboard_bounds_us[SCOREBOARD_BOUNDS];
extern const char *const scoreboard_bounds_s[SCOREBOARD_BOUNDS];
unsigned scoreboard_bucket(int64_t us); /* index for a latency */
/* Adds one latency to total_us and the histograms; the counters are the caller's. */
void scoreboard_observe(struct scoreboard_method *m, int64_t us);
/* Adds one call with so many requests; for the slot's own worker alone. */
void scoreboard_observe_script(struct scoreboard_script *s, size_t requests, int64_t us);
/* Adds the counters of `s` to `sum`, when both are of one script or `sum` has no name yet. */
void scoreboard_add_script(struct scoreboard_script *sum, const struct scoreboard_script *s);
/* Percentile (0..1) in µs of a histogram that the caller has summed up; 0 when empty. */
int64_t scoreboard_percentile_us(const uint64_t buckets[SCOREBOARD_BUCKETS], double p);

#endif
