/*
 * hook_tables.h: what the handlers of the hook methods share.
 */
#ifndef CB_WORKER_HOOK_TABLES_H
#define CB_WORKER_HOOK_TABLES_H

#include "common/rules/rules.h"
#include "worker/handler.h"
#include "worker/policy.h"

/* Where a call is made. */
#define HOOK_PLACE_FIELDS                                                                          \
    FIELD_STR(                                                                                     \
        "cwd", OPTIONAL, 1, 4096,                                                                  \
        "The folder in which the agent works; one that is not absolute counts as not given. "      \
        "Without it, rules cannot know what relative paths mean."),                                \
        FIELD_STR("home", OPTIONAL, 1, 4096, "The home folder of its user, the same.")

extern const char *const hook_decisions[];  /* "none", "allow", "modify", "ask", "deny" */
extern const char *const hook_severities[]; /* "low" … "critical" */
extern const char *const hook_events[];     /* "pre_tool", "post_tool", "user_prompt" */
/* Element of a list of notes: {rule, message}. */
extern const struct field hook_note[];

/* An absolute path, or NULL: a relative one says nothing. */
const char *hook_path(const struct prepare *p, const char *name);

/* `operation` of a method whose script writes to the audit trail (lua/include/audit.lua): its last key and its last argument. A
 * method with keys or arguments of its own adds them first and calls this at the end. */
void hook_audit_operation(const struct handler_context *ctx, struct arena *arena,
                          struct arg_list *keys, struct arg_list *args);

/* Appends `"key":"text"`, nothing when text is NULL. */
void hook_put_text(struct buf *out, const char *key, const char *text);
/* SHA-256 in hex. */
void hook_put_hash(struct buf *out, const char *key, struct json_span value);
/* The buffer's text in the arena; empties it. */
char *hook_keep(struct arena *arena, struct buf *text);

#endif
