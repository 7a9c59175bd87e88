/*
 * policy_int.h: what policy*.c share.
 *
 *   policy.c         the sets: loading, noticing changes, telling what is wrong
 *   policy_chain.c   the members that are registered in Redis
 *   policy_decide.c  one call against all of them
 */
#ifndef CB_WORKER_POLICY_INT_H
#define CB_WORKER_POLICY_INT_H

#include "worker/policy.h"

#include "common/log.h"

/* A rule set and where it is from. */
struct policy_set {
    char *path; /* a folder, or one file */
    bool is_file;
    struct rules *rules; /* in force; NULL: none can be used */
    struct rules *fresh; /* read from files that have changed, and not in force yet; NULL: none */
    unsigned looks;      /* at files that change and change */
    char *problem;       /* of the last load; NULL: none */
    unsigned failures;   /* loads in a row that failed */
    int64_t loaded_ms;   /* when it was last tried */
    struct log_repeat said;
};

struct policy_link {
    struct policy_set set;
    char *name;
    char *file;
    char *scope; /* NULL: every folder */
    int64_t priority;
};

struct policy {
    const struct options *opts;
    struct scoreboard_slot *slot;
    struct redis_link *const *link;
    struct policy_set system;
    struct policy_link chains[POLICY_EVENTS][POLICY_MEMBERS_MAX];
    size_t nchain[POLICY_EVENTS];
    char *chain_number;  /* of cb:meta when the chains were read; NULL: never */
    char *chain_problem; /* why they could not be; NULL: they were */
    bool is_chain_due;
    int64_t files_ms; /* monotonic, of the last look */
    int64_t chain_ms;
    char version[RULES_KEY_SIZE];
};

void policy_set_init(struct policy_set *s, const char *path, bool is_file);
void policy_set_done(struct policy_set *s);
/* Loads it if it has changed. True when something is different now. */
bool policy_set_look(struct policy_set *s);
/* Reads the chains if they have changed. True when something is different now. */
bool policy_chain_look(struct policy *p);
void policy_chain_done(struct policy *p);
char *policy_chain_path(const struct policy *p, const char *file);
unsigned policy_event_index(enum rules_event event);

#endif
