/*
 * rules.h: the policy for tool calls: rules from YAML files, and what they say to one call.
 *
 * Used by the hook workers and, when the daemon is away, by the hook client itself; it needs nothing but this library,
 * libyaml, PCRE2 and libmd. The files are described in claudebench-rules(5).
 *
 *   struct rules *rules;
 *   struct options_errors errs = OPTIONS_ERRORS_INIT;
 *   struct rules_load_options options = {.dir = "/etc/claudebench/rules.d"};
 *   if (rules_load(&options, &rules, &errs)) …                  // all that is wrong, with file:line:col
 *
 *   struct rules_call call = {.event = RULES_PRE_TOOL, .tool = "Bash", .input = …, .cwd = …, .home = …};
 *   struct rules_decision decision;
 *   rules_decide(rules, &call, &arena, &decision);              // never fails; in doubt it denies
 *
 * Deny is stronger than ask, ask than modify, modify than allow; among equals the rule with the highest priority
 * gives its name. Warnings never decide. RULES_NONE means: no opinion.
 *
 * A struct rules has scratch memory for one match: one per thread.
 */
#ifndef CB_RULES_H
#define CB_RULES_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rules;

enum {
    RULES_FILE_MAX = 1 << 20, /* bytes */
    RULES_FILES_MAX = 256,
    RULES_MAX = 2000,
    RULES_SUBJECT_MAX = 1 << 20, /* bytes of one string that a pattern is matched against */
    RULES_TIME_MS = 100,         /* for one decision; then it is a deny */
    RULES_KEY_SIZE = 65,         /* SHA-256 in hex, and a NUL */
};

/* From weakest to strongest. */
enum rules_action {
    RULES_NONE,
    RULES_WARN, /* of rules only, never of a decision */
    RULES_ALLOW,
    RULES_MODIFY,
    RULES_ASK,
    RULES_DENY,
};

enum rules_severity { RULES_LOW, RULES_MEDIUM, RULES_HIGH, RULES_CRITICAL };

enum rules_event {
    RULES_PRE_TOOL = 1u << 0,
    RULES_POST_TOOL = 1u << 1,
    RULES_USER_PROMPT = 1u << 2,
};

/* "deny", "high", "pre_tool". */
const char *rules_action_name(enum rules_action action);
const char *rules_severity_name(enum rules_severity severity);
const char *rules_event_name(enum rules_event event);
/* 0 when there is no such event. */
enum rules_event rules_event_by_name(const char *name);

/* ---- load ---- */

struct rules_load_options {
    const char *dir;                  /* system rules: its *.yaml in sorted order; NULL: none */
    const char *const *project_files; /* may deny, ask and warn only */
    size_t nproject_files;
    bool are_system_files; /* these files are no project's, but to be read like the folder's */
    bool want_examples;    /* keep them, for rules_test() */
    bool want_jit;         /* for a process that decides more than a few calls */
    bool is_for_one;       /* for a process that decides one call: rules_version() is "" */
};

/* A file's text, for those that have it already. */
struct rules_text {
    const char *name; /* stands for the file in errors */
    const char *text;
    size_t len;
    bool is_project;
};

/*
 * Builds a complete rule set, or says everything that is wrong. A folder or file that is missing, cannot be read or may be
 * written by everybody is an error, and so is a system folder without a rule. Returns 0 or -1.
 */
int rules_load(const struct rules_load_options *options, struct rules **ret,
               struct options_errors *errs);
int rules_load_texts(const struct rules_text *texts, size_t ntexts,
                     const struct rules_load_options *options, struct rules **ret,
                     struct options_errors *errs);
void rules_free(struct rules *rules); /* accepts NULL */

/* SHA-256 of all files and of the program's version, in hex: the part of the rules in a cache key. */
const char *rules_version(const struct rules *rules);
size_t rules_count(const struct rules *rules);
/* True when a file that the rules came from has changed, come or gone since. Costs one stat() a file. */
bool rules_have_changed(const struct rules *rules);
/* Wall ms at which one of these files or the folder was written last, by their times now; 0: there are none. */
int64_t rules_written_ms(const struct rules *rules);

/* ---- decide ---- */

struct rules_call {
    enum rules_event event;
    const char *tool;       /* "Bash"; "" or NULL for prompts */
    struct json_span input; /* one JSON object */
    const char *cwd;        /* of the agent, absolute; NULL: not known */
    const char *home;       /* of its user; NULL: not known */
    int64_t time_us;        /* for this decision, at most what RULES_TIME_MS allows; 0: that */
    /* What becomes of a command that cannot be read: RULES_DENY, RULES_ASK, RULES_NONE. */
    enum rules_action on_unparsable;
    bool resolve_links; /* look paths up here, to see through symbolic links */
};

enum rules_reason {
    RULES_BY_RULE,
    RULES_BY_UNPARSABLE, /* a command could not be read */
    RULES_BY_LIMIT,      /* a limit was hit while a rule was looked at */
    RULES_BY_INPUT,      /* the input is no JSON object */
};

struct rules_note {
    const char *rule; /* group/name */
    const char *message;
};

/* All texts are in the arena or the rule set. */
struct rules_decision {
    enum rules_action action;
    enum rules_reason reason;
    enum rules_severity severity;
    const char *rule;    /* group/name; NULL when no rule decided */
    const char *message; /* for the agent and its user */
    const char *field;   /* JSON pointer of what matched; NULL: not one field */
    const char *matched; /* the text that matched, at most 200 bytes, escaped; NULL: none */
    const char *
        input; /* the rewritten input (a whole JSON object); NULL: as it came. With RULES_ASK, too */
    size_t input_len;
    const struct rules_note *notes; /* warnings, and who rewrote */
    size_t nnotes;
    bool is_late;      /* the time was up: another time it may be decided otherwise */
    bool is_cacheable; /* false when it depends on more than rules_cache_key() has in it */
};

/* Decides one call. Everything is in the arena, which the caller owns. */
void rules_decide(struct rules *rules, const struct rules_call *call, struct arena *arena,
                  struct rules_decision *ret);

/* What a cache of decisions is keyed by: SHA-256 of the version and of everything in the call. */
void rules_cache_key(const struct rules *rules, const struct rules_call *call,
                     char out[RULES_KEY_SIZE]);

/* ---- explain ---- */

/* One line: the message, and which rule, field and text it was. Nothing for RULES_NONE. */
void rules_explain(const struct rules_decision *decision, struct buf *out);

/* Calls fn for every rule that matches, in order of priority, whatever its action. */
typedef void rules_match_fn(void *arg, const char *rule, enum rules_action action,
                            const char *field, const char *matched);
void rules_trace(struct rules *rules, const struct rules_call *call, rules_match_fn *fn, void *arg);

/* What is known of one rule, by its place in order of priority; false behind the last. */
struct rules_info {
    const char *id; /* group/name */
    const char *file;
    int line;
    enum rules_action action;
    enum rules_severity severity;
    unsigned events;
    int priority;
    bool is_project;
    size_t nmatches; /* examples, if they were kept */
    size_t npasses;
    const char *message;
};
bool rules_get(const struct rules *rules, size_t i, struct rules_info *ret);

/* ---- examples ---- */

struct rules_test_totals {
    size_t rules;
    size_t examples;
    size_t failed;
};
/* Called for each example that does not do as the file says, and each rule without examples. */
typedef void rules_test_fn(void *arg, const char *file, int line, const char *rule,
                           const char *text);
/* Runs the examples of a rule set that was loaded with want_examples. Returns the number that failed. */
size_t rules_test(struct rules *rules, rules_test_fn *fn, void *arg, struct rules_test_totals *ret);

#endif
