/*
 * work.h: what the parts of `claudebench work` share. One process, one poll loop, at most
 * WORK_JOBS_MAX jobs.
 *
 *   cmd_work.c     options, the loop, signals, the end
 *   work_job.c     a job's process: start, output, TERM and KILL, reaping
 *   work_report.c  claims, completions, failures, releases: requests and their replies
 *   work_lease.c   registration, beats, leases that are lost
 *   work_tell.c    what jobs tell about themselves: progress, and how they end
 *   work_keeper.c  a small process that ends the jobs when `work` itself was killed
 */
#ifndef CB_WORK_H
#define CB_WORK_H

#include "client/progress.h"
#include "client/session.h"
#include "common/backoff.h"

#include <signal.h>
#include <sys/types.h>

enum {
    WORK_JOBS_MAX = 64,
    WORK_TELLS_MAX = 16,      /* connections of jobs at one time */
    WORK_ERROR_BYTES = 2000,  /* limit of task.fail's error */
    WORK_ERR_TAIL = 4096,     /* of a job's stderr, kept */
    WORK_STOP_KILL_MS = 1000, /* between TERM and KILL, at the end of the grace period */
};

enum job_state {
    JOB_FREE,
    JOB_RUNNING,
    JOB_REPORTING, /* its process has ended, its outcome is on the way */
};

/* Why a job's outcome is not that of its command. */
enum job_fate { FATE_NONE, FATE_CANCELLED, FATE_LOST, FATE_RELEASED };

/* What its command said of how it ends (work_tell.c). */
enum job_told { TOLD_NOTHING, TOLD_COMPLETION, TOLD_FAILURE, TOLD_RELEASE };

/* What a reply is for; the tag carries it with a slot and the registration it was sent under. */
enum work_tag {
    TAG_REGISTER,
    TAG_CLAIM,
    TAG_COMPLETE,
    TAG_FAIL,
    TAG_RELEASE,
    TAG_BEAT,
    TAG_RENEW,
    TAG_PROGRESS,
    TAG_UNREGISTER
};

struct job {
    char id[40];
    char token[136];
    char queue[72];
    char why[128]; /* a failure that is ours: could not start, result too large */
    struct buf out;
    struct buf err; /* the tail */
    struct buf
        told_text;       /* TOLD_FAILURE: why; TOLD_COMPLETION: the result's JSON, empty = stdout */
    struct buf progress; /* members of task.progress that are to be told; empty = nothing is */
    enum job_told told;
    int64_t next_tell_ms; /* when the next progress may be told */
    int64_t attempt;
    int64_t lease_ms;
    int64_t renewed_ms; /* monotonic: when the last successful claim or renewal was sent */
    int64_t started_ms;
    int64_t kill_ms;  /* when TERM becomes KILL; 0 = no TERM was sent */
    int64_t retry_ms; /* REPORTING: when to tell it again; 0 = it is on the way */
    enum job_state state;
    enum job_fate fate;
    enum work_tag retry_kind;
    unsigned index;
    unsigned promised;  /* free slots that this completion's `next` asks for beside its own */
    uint32_t serial;    /* of the claim: a late renewal is not the next task's */
    pid_t pid;          /* 0 = none */
    int status;         /* of waitpid */
    int out_fd, err_fd; /* -1 = closed */
    bool is_out_too_large;
    bool is_final; /* another attempt would meet the same failure */
    bool is_killed;
    bool is_renewing;
    bool is_telling;
    bool has_next;        /* its completion asks for the next tasks … */
    bool is_next_refused; /* … or may not: we are not registered as it says */
};

/* A connection of a job. */
struct tell {
    int fd; /* -1 = free */
    struct buf in;
    int64_t until_ms;
};

enum stop_level { STOP_NO, STOP_DRAIN, STOP_NOW };

struct work {
    struct session s;
    const struct cli *cli;
    char *id;
    struct buf roles; /* JSON array, "[]" = none */
    const char *queue;
    int64_t lease_ms; /* --lease; 0 = not given */
    int64_t grace_ms;
    /* Between TERM and KILL of a job whose outcome does not count any more. */
    int64_t kill_after_ms;
    bool is_once, is_drain;
    char **command; /* argv of the jobs */
    char *path;     /* of command[0] */
    char *config;   /* path given by -c; NULL = none */

    struct job *jobs;
    unsigned njobs;
    unsigned promised; /* free slots that claims on the way ask for */

    char incarnation[136];
    unsigned registration; /* counts them; 0 = never */
    bool is_registered, is_registering;
    bool is_unregistering, is_unregistered;

    uint32_t claims; /* tasks that came */
    bool is_claiming;
    int64_t next_claim_ms;
    struct backoff claim_backoff;
    struct backoff release_backoff; /* while one job after the other gives its task back */

    bool is_beating;
    int64_t next_beat_ms;
    int64_t beat_sent_ms;

    int signal_fd;
    int keeper_fd; /* write end; -1 = none */
    int tell_fd;   /* listens; -1 = none */
    char tell_name[64];
    struct tell tells[WORK_TELLS_MAX];
    enum stop_level stop;
    int64_t grace_until_ms; /* when running jobs are ended */
    int64_t give_up_ms;     /* when we leave although Redis has not answered */
    int exit_code;

    uint64_t completed, failed, released, dropped, started;
    unsigned told_losses;
    bool is_told_down;
    struct progress progress;
};

/* ---- work_job.c ---- */

/* Runs the command for a claimed task (its JSON without the token on stdin). A start that fails
 * ends the job with why. */
void job_start(struct work *w, struct job *job, struct json_span task);
/* Reads what its pipes hold. */
void job_read(struct job *job, int fd);
/* Reaps it if it has ended: true once; then status, out and err are complete. */
bool job_reap(struct work *w, struct job *job);
/* TERM now, KILL at the latest `kill_after_ms` later. Keeps the first fate that was given. */
void job_end(struct job *job, enum job_fate fate, int64_t kill_after_ms);
/* KILL when its time has come; returns when that is (0 = never). */
int64_t job_check_kill(struct job *job, int64_t now_ms);
/* "exit status 3", "signal 9 (Killed)", … and the last lines of stderr, as clean UTF-8 of ≤
 * WORK_ERROR_BYTES. */
void job_put_error(const struct job *job, struct buf *out);
/* Appends the member `signal` of task.fail, if a signal killed the command. */
void job_put_crash(const struct job *job, struct buf *params);
/* Frees what it holds; the slot is free again. */
void job_clear(struct job *job);
/* Absolute path of a command as execvp(3) would find it; NULL with errno. The caller frees. */
char *job_find_command(const char *name);

/* ---- work_report.c ---- */

/* Asks for tasks when there are free slots and it is time. */
void report_claim(struct work *w, int64_t now_ms);
/* The next claim waits: a growing pause with jitter. */
void report_claim_later(struct work *w);
/* Tells again what was refused for now; returns when that is due (0 = nothing is). */
int64_t report_again(struct work *w, struct job *job, int64_t now_ms);
/* Tells how a job that was reaped came out; frees the slot when there is nothing to tell. */
void report_job(struct work *w, struct job *job);
/* Takes any reply. */
void report_take(struct work *w, const struct requests_reply *reply);
unsigned work_count(const struct work *w, enum job_state state);
/* One line about a task, above the progress line. */
void work_say(struct work *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
uint64_t work_tag(const struct work *w, enum work_tag kind, const struct job *job);
/* Submits without a deadline: repeated until it is answered. `params` is freed. */
void work_submit(struct work *w, const char *method, struct buf *params, uint64_t tag);

/* ---- work_lease.c ---- */

void lease_register(struct work *w);
void lease_unregister(struct work *w);
/* Beats when it is time; gives up jobs whose lease has certainly ended. */
void lease_check(struct work *w, int64_t now_ms);
/* A job was claimed: the next beat may have to come sooner. */
void lease_added(struct work *w, const struct job *job);
void lease_take_register(struct work *w, const struct requests_reply *reply);
void lease_take_beat(struct work *w, const struct requests_reply *reply);
void lease_take_renewal(struct work *w, struct job *job, const struct requests_reply *reply);
/* Another process has our id: everything ends, exit 73. */
void lease_taken_over(struct work *w);
/* The instance is not known any more: its tasks are gone, it registers again. */
void lease_forgotten(struct work *w);
bool lease_is_stale_incarnation(const struct requests_reply *reply);

/* ---- work_tell.c ---- */

/* Listens for the jobs; says so when it cannot. */
void tell_open(struct work *w);
void tell_close(struct work *w);
/* What to poll: at most WORK_TELLS_MAX + 1; and what came of it. */
size_t tell_poll(struct work *w, struct pollfd *fds);
void tell_read(struct work *w, const struct pollfd *fds, size_t n);
/* Sends progress whose time has come, hangs up on who takes too long; returns when the next is due (0 = nothing is). */
int64_t tell_check(struct work *w, int64_t now_ms);
void tell_take_progress(struct job *job, const struct requests_reply *reply);

/* ---- work_keeper.c ---- */

/* Starts the keeper; returns the fd to tell it through, or -1. */
int keeper_start(void);
/* A job's process group has begun or ended. */
void keeper_tell(int fd, pid_t group, bool has_begun);

#endif
