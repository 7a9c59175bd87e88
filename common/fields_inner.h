/*
 * fields_inner.h: what fields.c, fields_problem.c and fields_schema.c share. Not for others.
 */
#ifndef CB_FIELDS_INNER_H
#define CB_FIELDS_INNER_H

#include "common/buf.h"
#include "common/fields.h"

enum {
    FIELDS_ID_BYTES = 128,
    FIELDS_NAME_BYTES = 64,
    FIELDS_TOKEN_BYTES = 128,
    FIELDS_TASK_DIGITS = 20
};

/* Where we are in the document: a chain of stack frames up to the whole, which is NULL. */
struct fields_path {
    const struct fields_path *up;
    const char *name; /* of a member; NULL: an element */
    size_t index;     /* of an element */
};

/* Names that we use ourselves in key families (keys.def); NULL-terminated. */
extern const char *const fields_own_names[];

/* True when min and max say anything (see enum field_type). */
bool fields_has_range(const struct field *field);

/* Appends "string of 1 to 500 bytes" and the like. */
void fields_put_expected(const struct field *field, struct buf *out);

/* These fill *problem (if not NULL) and return -1. `raw` with at NULL: the member is missing. */
int fields_refuse(struct field_problem *problem, const struct fields_path *path,
                  const struct field *field, struct json_span raw);
int fields_refuse_unknown(struct field_problem *problem, const struct fields_path *path,
                          const struct field *table, struct json_span key);
int fields_refuse_own_name(struct field_problem *problem, const struct fields_path *path,
                           const char *name);
int fields_refuse_repeated(struct field_problem *problem, const struct fields_path *path,
                           size_t first);
int fields_refuse_whole(struct field_problem *problem, struct json_span raw);

#endif
