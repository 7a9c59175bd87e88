/*
 * policy.h: the rules that a hook worker decides by: those of the system (hooks.rules_dir), and behind them the chain of
 * rule files that were registered for an event (hook.register). Owned by the process; only workers of domain `hook` have
 * one.
 *
 * Files are looked at again, and the chain is read again from Redis, at most POLICY_LOOK_MS after they have changed; what is
 * decided then is decided by the new ones. What cannot be read denies (hooks.on_error). Files that were
 * written a moment ago are given one more look first, because editors do not all write in one piece.
 */
#ifndef CB_WORKER_POLICY_H
#define CB_WORKER_POLICY_H

#include "common/options.h"
#include "common/redis_link.h"
#include "common/rules/rules.h"
#include "common/scoreboard.h"

enum {
    POLICY_LOOK_MS = 200,
    POLICY_EVENTS = 3,
    POLICY_MEMBERS_MAX = 32, /* of one event (lua/hook_register.lua) */
    POLICY_NOTES_MAX = 32,
};

struct policy;

/* `link` is where the worker keeps its connection, which may change; nothing may be due on it when policy_look() or
 * policy_decide() is called. */
struct policy *policy_new(const struct options *opts, struct scoreboard_slot *slot,
                          struct redis_link *const *link);
void policy_free(struct policy *p); /* accepts NULL */

/* Before a batch: looks at the files, and with `with_chain` also at the chain, if that is due. */
void policy_look(struct policy *p, bool with_chain);
/* Looks at the chain at the next policy_look(), however short ago the last one was. */
void policy_chain_changed(struct policy *p);

/* ---- deciding ---- */

struct policy_call {
    enum rules_event event;
    const char *tool;       /* "" for prompts */
    struct json_span input; /* one JSON object */
    const char *cwd;        /* NULL: not known */
    const char *home;       /* NULL: not known */
};

/* Texts are in the arena. */
struct policy_decision {
    enum rules_action action;
    enum rules_severity severity;
    const char *rule;       /* group/name; NULL: none */
    const char *message;    /* NULL when nobody has an opinion */
    const char *field;      /* NULL: not one */
    const char *matched;    /* NULL: nothing */
    struct json_span input; /* rewritten; at NULL: as it came */
    struct rules_note notes[POLICY_NOTES_MAX];
    size_t nnotes;
    bool is_late; /* out of time */
    bool is_cacheable;
};

/* One call against all sets, within budget_us (0: what a decision may take). Never fails: in doubt it is hooks.on_error. */
void policy_decide(struct policy *p, const struct policy_call *call, int64_t budget_us,
                   struct arena *arena, struct policy_decision *ret);
/* SHA-256 in hex of all that policy_decide() goes by. */
const char *policy_version(const struct policy *p);
/* What a decision is cached under. */
void policy_cache_key(const struct policy *p, const struct policy_call *call,
                      char out[RULES_KEY_SIZE]);
/* The text of a key of Redis, or NULL: not there, or not to be had at once. */
const char *policy_fetch(struct policy *p, const char *key, struct arena *arena);

/* ---- the chain ---- */

struct policy_member {
    const char *name;
    const char *file;
    const char *scope; /* NULL: every folder */
    int64_t priority;
    const char *problem; /* NULL: it can be used */
    size_t rules;
};
/* The members of an event in order; false behind the last. */
bool policy_member(const struct policy *p, enum rules_event event, size_t i,
                   struct policy_member *ret);
/* What is wrong with the system's rules; NULL: nothing. */
const char *policy_problem(const struct policy *p);
size_t policy_rules(const struct policy *p);
/* True when a file of the chain's folder can be used; else what is wrong, in the arena, beginning with the file's name. */
bool policy_try_file(const struct policy *p, const char *file, struct arena *arena,
                     const char **ret_problem);

#endif
