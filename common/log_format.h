/*
 * log_format.h: how a log line looks. Private to log.c; see log.h.
 */
#ifndef CB_LOG_FORMAT_H
#define CB_LOG_FORMAT_H

#include "common/buf.h"
#include "common/log.h"

/* A value longer than this is cut, and the cut is marked. */
enum { LOG_VALUE_MAX = 2048 };

struct log_line {
    int64_t wall_ms; /* -1: leave time, program and pid out (the journal and syslog add them) */
    const char *program;
    const char *context; /* "" = none */
    int pid;
    enum log_event event;
    uint64_t suppressed;
    const struct log_field *fields;
};

/* Append one line without its line feed. */
void log_format_text(const struct log_line *line, struct buf *out);
void log_format_json(const struct log_line *line, struct buf *out);

#endif
