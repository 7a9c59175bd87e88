/*
 * audit_chain.h: the lines of the audit file: one JSON object each, chained by SHA-256.
 *
 *   {"seq":7,"n":12,"id":"1795309243791-0","kind":"pre_tool","at":"2026-11-22T01:02:03.004Z","data":{…},
 *    "prev":"<hash of line 6>","hash":"<SHA-256 of this line as far as the byte before ,"hash">"}
 *
 * seq counts lines, over all files of a chain; id and n are those of the stream entry: its id, and how many entries the stream
 * had had with it. A line that tells of the file itself (kind audit.…) has those of the entry before. So the last line says
 * where to go on reading, and the same entries always make the same lines. Used by the daemon, which writes them, and by
 * `claudebench audit`, which checks them.
 */
#ifndef CB_AUDIT_CHAIN_H
#define CB_AUDIT_CHAIN_H

#include "common/json.h"
#include "common/stream_id.h"

enum { AUDIT_HASH_SIZE = 65 };

/* The lines that tell of the file itself. */
#define AUDIT_STARTED "audit.started" /* the first one of a chain */
#define AUDIT_OPENED  "audit.opened"  /* the first one of a later file: the chain goes on */
#define AUDIT_GAP     "audit.gap"     /* entries left the stream before they were read */
#define AUDIT_REWOUND "audit.rewound" /* the stream has lost entries that are in the file */

/* A line, as the next one needs it. */
struct audit_position {
    int64_t seq;
    int64_t n;
    char id[STREAM_ID_SIZE];
    char hash[AUDIT_HASH_SIZE];
};
/* Before the first line of a chain. */
void audit_position_init(struct audit_position *p);
/* "seq n id hash", and back: 0 or -1. */
void audit_position_put(const struct audit_position *p, struct buf *out);
int audit_position_parse(const char *text, struct audit_position *ret);

/* What a line says. */
struct audit_entry {
    const char *id; /* may be that of the position */
    int64_t n;
    struct json_span kind; /* bytes, not JSON */
    int64_t at_ms;
    struct json_span data; /* JSON; what is none becomes a JSON string of its bytes */
    const char *more;      /* further members, `,"fields":{…}`, or NULL */
};
/* Appends the line with its newline, and moves *p on to it. */
void audit_chain_put(struct audit_position *p, const struct audit_entry *e, struct buf *out);

/* A line that was read; spans point into it and are JSON. */
struct audit_line {
    struct audit_position at;
    char prev[AUDIT_HASH_SIZE];
    struct json_span kind, time, data;
};
/* Checks a line by itself, without its newline: its form and its hash. Returns NULL, or what is wrong with it. */
const char *audit_chain_check(const char *line, size_t len, struct audit_line *ret);
/* Does the line follow that one? Returns NULL, or what is wrong. */
const char *audit_chain_follows(const struct audit_position *before, const struct audit_line *line);

/* Is it the id of a stream entry? Only such are written into lines as they are. */
bool audit_id_is_valid(const char *id);

#endif
