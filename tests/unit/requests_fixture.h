/*
 * requests_fixture.h: a caller of the stream protocol against a real Redis, where a second connection plays the worker: it reads the
 * request stream and pushes replies.
 */
#ifndef CB_REQUESTS_FIXTURE_H
#define CB_REQUESTS_FIXTURE_H

#include "unit.h"

#include "common/requests_client.h"
#include "redis_fixture.h"

#define PREFIX "cb"

struct world {
    struct redis_fixture *f;
    struct redis_link *worker;
    struct requests_client *rc;
    const char *stream;
    size_t wanted; /* entries that are waited for */
};

extern const struct requests_config base_config;

void world_open(struct world *w, const struct requests_config *config);
void world_close(struct world *w);
/* One turn of an event loop. */
void turn(struct requests_client *rc, int most_ms);
/* Every connection to that Redis is closed. */
void kill_clients(struct world *w);

/* ---- the caller ---- */

void submit(struct world *w, const char *method, const char *params, uint64_t tag,
            int64_t timeout_ms);
/* The reply that comes next. */
struct requests_reply next(struct world *w);
bool span_is(struct json_span span, const char *text);

/* ---- the worker ---- */

reply_t *worker_call(struct world *w, const char *command, const char *a, const char *b,
                     const char *c);
/* The entries of the stream once there are `n`. */
reply_t *entries(struct world *w, size_t n);
const char *field(const reply_t *all, size_t i, const char *name);
void push(struct world *w, const char *token, const char *text);
/* Replies to entry i, by what `body` says beside the id. */
void answer(struct world *w, const reply_t *all, size_t i, const char *body);
/* Replies {} to it, and the caller has that as its result. */
void serve(struct world *w, const reply_t *all, size_t i);

#endif
