/*
 * audit.h: the parts of `claudebench audit`: what it is asked for, how records are shown, and how files are checked.
 */
#ifndef CB_CLIENT_AUDIT_H
#define CB_CLIENT_AUDIT_H

#include "client/session.h"
#include "common/audit_chain.h"

/* ---- files (audit_lines.c) ---- */

/* Whole lines of a file, one after the other; what has no newline yet is not handed out. */
struct audit_lines {
    int fd;
    struct buf data;
    size_t at;      /* in data: behind the last line */
    int64_t number; /* of the last line */
    int error;      /* errno of a read that failed */
};
/* 0, or -1 with errno. */
int audit_lines_open(struct audit_lines *l, const char *path);
void audit_lines_close(struct audit_lines *l);
/* False at the end of what is there, or when reading failed; later there may be more. */
bool audit_lines_next(struct audit_lines *l, const char **ret, size_t *ret_len);
/* Bytes behind the last line. */
size_t audit_lines_rest(const struct audit_lines *l);

/* Files of one trail: `path` and what logrotate has made of it. */
struct audit_files {
    char **paths;
    int64_t *seqs; /* of their first lines */
    size_t len;
    size_t packed; /* compressed ones, which are not read */
};
/* Those beside `path`; or, with `paths`, these. In the order of their first lines. */
void audit_files_find(struct audit_files *f, const char *path, char *const *paths);
void audit_files_done(struct audit_files *f);

/* ---- showing (audit_show.c) ---- */

struct audit_show {
    const char *type, *decision, *session; /* NULL: any */
    int64_t since_ms;                      /* -1: from the start */
    char since_id[STREAM_ID_SIZE];         /* "" = none */
    int64_t most;                          /* the last so many; 0: all */
    bool is_json, is_following;
    struct term term;
    char **kept; /* a ring of `most` */
    size_t nkept, first;
    struct buf out;
};
void audit_show_done(struct audit_show *s);
/* Takes a record (JSON); shows it at once when following, else keeps it. Returns -1, or an exit code when stdout is gone. */
int audit_show_record(struct audit_show *s, const char *line, size_t len);
/* Shows what was kept. */
int audit_show_end(struct audit_show *s);

/* ---- checking (audit_verify.c) ---- */

/* `head`: the last line that the daemon says it has written, or NULL. Returns the exit code. */
int audit_verify(const struct audit_files *files, const struct audit_position *head, bool is_json);

#endif
