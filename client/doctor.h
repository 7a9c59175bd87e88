/*
 * doctor.h: the parts of `claudebench doctor`.
 *   cmd_doctor.c     what is looked at, in which order, and what is repaired
 *   doctor_tasks.c   counts and indexes against the tasks (task.audit, task.repair)
 *   doctor_shared.c  keys, consumers, instances, Redis itself (system.audit, system.repair, the daemon's status)
 *   doctor_host.c    files of this host: permissions, room, spools
 *   doctor_show.c    what is shown
 */
#ifndef CB_DOCTOR_H
#define CB_DOCTOR_H

#include "client/ask.h"
#include "client/session.h"

enum doctor_severity {
    DOCTOR_NOTE,    /* good to know: nothing is wrong */
    DOCTOR_WARNING, /* something is wrong, and nothing is in danger yet */
    DOCTOR_ERROR,   /* work or data are stuck, lost, or in danger */
};

struct doctor_finding {
    const char *check; /* static */
    enum doctor_severity severity;
    const char *problem; /* one word; static or in d->texts */
    char *where;
    char *text;
    char *advice;
    char *members; /* further members of the JSON object: ",\"name\":value…", or NULL */
    bool is_repairable;
};

struct doctor_tasks;

struct doctor {
    const struct cli *cli;
    struct session s;
    struct ask ask;
    struct term term;
    bool is_connected;       /* a worker answers */
    bool may_not_connect;    /* Redis' password is not ours to read */
    bool is_running;         /* the daemon of this host answers */
    struct cb_error why_not; /* if it does not */
    struct doctor_tasks *tasks;
    struct doctor_finding *findings;
    size_t nfindings;
    size_t findings_cap;
    char **unchecked; /* what could not be looked at, and why */
    size_t nunchecked;
    bool is_settling; /* a repair that the daemon carries out by itself is under way */
    int64_t checked;  /* things of this host that could be looked at */
    int64_t examined; /* entries, keys, consumers */
    int64_t not_compared;
    int64_t removed;
    int64_t recounted;
    int64_t repaired; /* keys, consumers, files */
    char **repairs;   /* what they were, for those who ask what was changed */
    size_t nrepairs;
};

/* A finding; `where` is copied, `advice` is what to do, or what --repair does. Returns it, until the next one is added. */
struct doctor_finding *doctor_find(struct doctor *d, const char *check,
                                   enum doctor_severity severity, const char *problem,
                                   const char *where, const char *advice, const char *fmt, ...)
    __attribute__((format(printf, 7, 8)));
/* What the daemon said of it goes into its JSON as it came, but for what every finding has. */
void doctor_keep_members(struct doctor_finding *f, struct json_span said);
void doctor_unchecked(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* `n` (1 or more) keys, consumers or files were put right: which, and what is so now. */
void doctor_repaired(struct doctor *d, int64_t n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Before the next look: findings and what could not be looked at are forgotten. */
void doctor_forget(struct doctor *d);

/* A member as an integer, 0 when there is none, and no larger than this: pages of them are added up. */
#define DOCTOR_NUMBER_MAX (INT64_C(1) << 42)
int64_t doctor_number(struct json_span object, const char *name);
/* A member as text, cut to `size`; "" when there is none. */
void doctor_text(struct json_span object, const char *name, char *text, size_t size);

/* ---- doctor_tasks.c: return -1 to go on, or the exit code after a message ---- */

int doctor_tasks_look(struct doctor *d);
void doctor_tasks_report(struct doctor *d);
int doctor_tasks_repair(struct doctor *d);
void doctor_tasks_free(struct doctor_tasks *t); /* accepts NULL */

/* ---- doctor_shared.c ---- */

/* What the daemon of this host says of itself, if it runs. */
void doctor_daemon_look(struct doctor *d);
int doctor_shared_look(struct doctor *d);
int doctor_shared_repair(struct doctor *d);

/* ---- doctor_host.c ---- */

void doctor_host_look(struct doctor *d);
void doctor_host_repair(struct doctor *d);

/* ---- doctor_show.c ---- */

/* Returns the exit code. */
int doctor_show(struct doctor *d);

#endif
