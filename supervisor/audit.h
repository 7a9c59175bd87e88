/*
 * audit.h: writes the audit trail (cb:stream:audit) to the audit file (audit.file) of this host.
 *
 * Every daemon that has such a file writes the whole trail to it, whoever leads: each file is a copy of its own, and where it
 * goes on is in its last line, so that nothing has to be agreed upon, and neither a death, a change of the leader nor an outage
 * of Redis loses or doubles a record. What left the stream before it could be read (audit.gap) is a record itself. The tick says
 * when there is something new; nothing here waits.
 */
#ifndef CB_AUDIT_H
#define CB_AUDIT_H

#include "common/options.h"
#include "supervisor/redis_conn.h"

struct audit;

/* How it is, for `status` and health. */
struct audit_status {
    const char *file;
    const char *error; /* "" = none */
    int64_t seq;       /* of the last line; 0: none yet */
    const char *id, *hash;
    int64_t records; /* entries written since the start */
    int64_t gaps;    /* entries that were missed since the start */
    /* Calls that clients decided without a daemon in the last hour, as far as they have told. */
    int64_t local;
    int64_t waiting; /* entries of the stream that are not in the file yet, when it was last read */
};

/* All arguments are borrowed. NULL when there is to be no file; every function accepts that. */
struct audit *audit_new(struct event_base *base, const struct options *opts,
                        struct redis_conn *conn);
void audit_free(struct audit *a);
/* What an earlier program in our place had counted, so that counters do not go back. Accepts NULL. */
void audit_go_on(struct audit *a, int64_t records, int64_t gaps);

/* Id of the trail's last entry, "" = none, as the tick found it. */
void audit_wake(struct audit *a, const char *last_id);
/* The file may have been moved (logrotate): goes on in a new one. */
void audit_reopen(struct audit *a);
/* False: there is no file. */
bool audit_status(const struct audit *a, struct audit_status *ret);

#endif
