/*
 * show.h: results for people: members of an object, and JSON.
 */
#ifndef CB_SHOW_H
#define CB_SHOW_H

#include "common/buf.h"
#include "common/json.h"

/* Appends a member: a string decoded, anything else as it is, nothing when it is absent or null. */
void show_put_member(struct buf *out, struct json_span object, const char *name);

/* Print to stdout, escaped for a terminal; return the exit code. */
int show_json(struct json_span value);
/* One member of the object on a line that ends there. */
int show_member(struct json_span object, const char *name);
/* All members, a line each; the other one leaves one out. */
int show_members(struct json_span object);
int show_members_but(struct json_span object, const char *name);

#endif
