/*
 * supervisor.h: the parts of claudebenchd put together. Beside main only those know this struct whose matter is the
 * whole: control (with control_commands), health, measure, reload, status, stop, textfile and upgrade; the others know
 * nothing of each other but what they are handed.
 */
#ifndef CB_SUPERVISOR_H
#define CB_SUPERVISOR_H

#include "common/log.h"
#include "supervisor/assign.h"
#include "supervisor/audit.h"
#include "supervisor/embedded_redis.h"
#include "supervisor/handon.h"
#include "supervisor/health.h"
#include "supervisor/instance.h"
#include "supervisor/leftover.h"
#include "supervisor/publish.h"
#include "supervisor/redis_conn.h"
#include "supervisor/reload.h"
#include "supervisor/service.h"
#include "supervisor/stop.h"
#include "supervisor/tally.h"
#include "supervisor/upgrade.h"
#include "supervisor/watch.h"

struct config;
struct control;
struct durable;
struct lineage;
struct event_care;
struct figures;
struct inherit;
struct pidfile;
struct scheduler;
struct signals;
struct textfile;
struct todo_sweep;
struct unserved;

struct supervisor {
    struct options *opts; /* in force; the parts share it, only reload.c writes into it */
    struct config *config;
    struct event_base *base;
    struct signals *signals;
    struct scoreboard *scoreboard;
    int scoreboard_fd;
    int options_fd; /* what the workers read */
    int state_fd;   /* the locked state folder */
    int null_fd;
    char *worker_path;
    struct services services;
    struct tally tally; /* of dead workers */
    struct watch *watch;
    struct embedded_redis *embedded; /* NULL: external Redis */
    struct redis_target target;
    char *client_name;
    struct redis_conn *redis;
    struct handon *handon;
    struct leftover *leftover;
    struct leftover *orphan; /* the last instance that we looked after; NULL: none so far */
    struct instance *instance;
    struct assign *assign;
    struct audit *audit; /* NULL: no audit file */
    struct publish *publish;
    struct scheduler *scheduler;
    struct event_care *event_care;
    struct figures *figures;
    struct figures *metrics_figures;
    struct textfile *textfile;
    struct todo_sweep *todo_sweep;
    struct unserved *unserved;
    struct durable *durable;
    struct lineage *lineage;
    struct control *control;
    struct health health;
    struct stop stop;
    struct reload reload;
    struct upgrade upgrade;
    int64_t started_ms; /* monotonic */
    bool had_redis;     /* there was a connection */
    bool had_id;        /* a tick has said that the instance id is ours */
    bool is_advised;    /* what should be changed in Redis has been said */
    struct log_repeat unsuitable_said;
    int exit_code;
};

/*
 * Makes everything that can fail at the start: folders, locks, sockets. `opts` were loaded by `config`; both
 * belong to the caller, as does the pid file. `in`: goes on where an earlier program in our place was; NULL: from the
 * beginning. Returns 0, or -1 with err->code an exit code. In either case supervisor_done() follows.
 */
int supervisor_init(struct supervisor *s, struct options *opts, struct config *config,
                    const struct pidfile *pidfile, struct inherit *in, struct cb_error *err);
/* Runs until stopped; returns the exit code. */
int supervisor_run(struct supervisor *s);
void supervisor_done(struct supervisor *s);

/* What TERM, HUP and WINCH do. */
void supervisor_stop(struct supervisor *s);
void supervisor_reload(struct supervisor *s);
void supervisor_drain(struct supervisor *s);
/* What we and the workers log of a subsystem, until a reload; -1: the general level. */
void supervisor_set_log_level(struct supervisor *s, enum log_subsystem subsystem, int level);

/* It cannot go on: logs why, kills the workers, and exits with that code. */
void supervisor_fail(struct supervisor *s, int code, const char *why);

#endif
