/*
 * audit_writer.h: the thread that writes the audit file, so that a slow disk never keeps the supervisor from reaping,
 * signalling and answering. One job at a time: it is handed over, and its callback is called on the event loop when it is
 * done. The thread touches nothing but the job and the file, logs nothing, and takes no signals.
 */
#ifndef CB_AUDIT_WRITER_H
#define CB_AUDIT_WRITER_H

#include "supervisor/audit_file.h"

#include <event2/event.h>

struct audit_writer;

enum audit_job { AUDIT_JOB_OPEN, AUDIT_JOB_APPEND, AUDIT_JOB_SYNC };

struct audit_done {
    enum audit_job job;
    int status; /* as the functions of audit_file.h return it */
    struct audit_found found;
    bool is_dirty; /* there is something that is not on disk */
    bool is_open;
    struct cb_error err;
};

typedef void audit_writer_fn(void *arg, const struct audit_done *done);

/* `path` is borrowed. NULL when there is no pipe to be had, with *err. While there is no thread to be had, jobs fail. */
struct audit_writer *audit_writer_new(struct event_base *base, const char *path,
                                      audit_writer_fn *fn, void *arg, struct cb_error *err);
/* Waits for the job that is under way, but not for ever: one that hangs is left behind. Accepts NULL. */
void audit_writer_free(struct audit_writer *w);

bool audit_writer_is_busy(const struct audit_writer *w);
/* Only when it is not busy. */
void audit_writer_open(struct audit_writer *w);
/* Takes the lines over. */
void audit_writer_append(struct audit_writer *w, struct buf *lines, bool is_start,
                         enum audit_fsync when);
void audit_writer_sync(struct audit_writer *w);

#endif
