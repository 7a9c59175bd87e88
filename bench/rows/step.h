/*
 * step.h: the methods that rows are made of: for each the params of a request, and with them the arguments of its
 * script (shape.h), with the defaults that its handler in worker/handlers/ would put.
 */
#ifndef CB_BENCH_STEP_H
#define CB_BENCH_STEP_H

#include "bench/rows/shape.h"
#include "common/methods.h"
#include "common/options.h"
#include "common/scripts.h"

enum { STEP_INSTANCES = 64, STEP_TASKS_MAX = 100 };
#define STEP_WORKER "worker-%03u" /* who claims: shapes count on its length */

/* A task that somebody knows: its id, and the token of its lease ("" = not held). Both have one length each. */
struct task_ref {
    char id[19];
    char token[29];
};

/* What a request is about. */
struct step_input {
    unsigned number;              /* of the request */
    const char *worker;           /* who claims */
    const char *literal;          /* the payload as a JSON literal */
    unsigned items;               /* tasks in a request that has several */
    const struct task_ref *tasks; /* `items` of them, or one; what step->about says */
};

enum step_about {
    STEP_ABOUT_NOTHING, /* it knows no task */
    STEP_ABOUT_ONE,
    STEP_ABOUT_ITEMS,
};

struct step {
    enum method_id method;
    enum script_id script;
    enum step_about about;
    bool takes; /* the reply gives tasks with their tokens: `items` of them, or one that is next */
    void (*put)(struct shape_writer *w, const struct step_input *in);
    void (*operation)(struct shape_writer *w, const struct options *opts); /* NULL = none */
    bool has_audit; /* its operation has a key: the audit trail */
};

extern const struct step step_create, step_create_batch, step_claim, step_claim_wait, step_complete,
    step_complete_next, step_complete_batch, step_fail, step_release, step_renew, step_progress,
    step_update, step_get, step_list, step_register, step_heartbeat, step_heartbeat_renew,
    step_pre_tool;

/* How many tasks a request of it is about. */
unsigned step_about(const struct step *step, unsigned items);
/* The shape of its requests, and of its operation's arguments; the caller frees both. */
void step_shapes(const struct step *step, const struct options *opts, const char *literal,
                 unsigned items, struct shape *ret_shape, struct shape *ret_operation);

#endif
