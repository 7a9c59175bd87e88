/*
 * handler.h: what a method's handler is, and what it may use.
 *
 * A handler declares its parameters and results as field tables, names its script, and prepares the
 * script's keys and arguments. It never acks, replies, counts or spells a key: that is the door's work
 * (gate.c) and the envelope's (lua/include/).
 */
#ifndef CB_WORKER_HANDLER_H
#define CB_WORKER_HANDLER_H

#include "common/arena.h"
#include "common/fields.h"
#include "common/keys.h"
#include "common/methods.h"
#include "common/options.h"
#include "common/scoreboard.h"
#include "common/scripts.h"

/* Byte strings for a script, in arena memory or borrowed for as long as the batch lives. */
struct arg {
    const char *data;
    size_t len;
};
struct arg_list {
    struct arg *items;
    size_t len;
    size_t cap;
};

struct policy;

/* What all handlers of a worker share; lives as long as the process. */
struct handler_context {
    const struct options *opts;
    const char *prefix;
    const char *domain;
    const struct scoreboard *board;
    struct policy *policy; /* domain hook only, else NULL */
};

/* One request on its way to its script. */
struct prepare {
    const struct handler_context *ctx;
    struct arena *arena;
    const struct handler *handler;
    struct field_value *values; /* parallel to handler->params, all checked */
    struct arg_list keys;
    struct arg_list args;
    bool is_repeatable;  /* a repeat is right by itself: no outcome is kept for it */
    int64_t arrival_ms;  /* wall time of Redis at which the request first arrived */
    unsigned counts;     /* bits: what to count when it is done, 1u << enum scoreboard_decision */
    unsigned counted;    /* how often the first of them; 0 = once */
    unsigned operations; /* task operations in it, for the group's bound; at least 1 */
    struct field_problem *problem; /* for checks that a field table cannot say: fill, return -1 */
};

/* What work outside of Redis may use. */
struct work {
    void (*wait)(void *arg,
                 int64_t ms); /* up to `ms`; may return early; the process goes on beating */
    void *arg;
    int64_t limit_ms; /* no longer than this: then its deadline has passed */
};

struct handler {
    enum method_id method;
    const char *summary;
    const struct field *params;
    const struct field *result;
    enum script_id script;
    /* Fills p->keys and p->args for one request. 0, or -1 with *p->problem filled. */
    int (*prepare)(struct prepare *p);
    /* The operation's own keys and arguments, the same for a whole group; may be NULL. */
    void (*operation)(const struct handler_context *ctx, struct arena *arena, struct arg_list *keys,
                      struct arg_list *args);
    /* Work outside of Redis, after the request was admitted and before its commit; NULL: none. What it does
     * may happen again when the process dies before the commit. */
    void (*work)(struct prepare *p, const struct work *w);
};

/* The row of a parameter by name; asserts that the table has it. */
struct field_value *prepare_value(const struct prepare *p, const char *name);
/* One more key or argument. Nothing is copied; the number's digits are in the arena. */
void arg_list_add(struct arena *arena, struct arg_list *list, const char *data, size_t len);
void arg_list_add_str(struct arena *arena, struct arg_list *list, const char *s);
void arg_list_add_int(struct arena *arena, struct arg_list *list, int64_t n);

void prepare_key(struct prepare *p, const char *key);
void prepare_arg(struct prepare *p, const char *data, size_t len);
void prepare_arg_str(struct prepare *p, const char *s);
void prepare_arg_int(struct prepare *p, int64_t n);
/* The decoded text of a field, "" when it is absent. */
void prepare_arg_text(struct prepare *p, const struct field_value *v);
/* The literal of a field, verbatim, "" when it is absent. */
void prepare_arg_raw(struct prepare *p, const struct field_value *v);
/* A text field as our own canonical JSON string literal. */
void prepare_arg_literal(struct prepare *p, const struct field_value *v);
/* An integer field, "" when it is absent. */
void prepare_arg_number(struct prepare *p, const struct field_value *v);
/* A number as a JSON literal of our own, "" when it is absent. */
void prepare_arg_real(struct prepare *p, const struct field_value *v);
/* A list of names, joined by spaces. */
void prepare_arg_names(struct prepare *p, const struct field_value *v);
/* The secret part of a lease's token (RND_LEASE_SECRET). */
void prepare_arg_secret(struct prepare *p);
/* Fills p->problem; returns -1. */
int prepare_refuse(struct prepare *p, const char *path, const char *expected, const char *got);

#endif
