/*
 * request.h: one entry of a request stream, as a worker sees it (claudebench-methods(7)).
 */
#ifndef CB_WORKER_REQUEST_H
#define CB_WORKER_REQUEST_H

#include "common/redis_link.h"
#include "worker/handler.h"

/* A borrowed field of the entry; at is NULL when the field is absent or empty. */
struct request_field {
    const char *at;
    size_t len;
};

enum { REQUEST_IDEM_BYTES = 20 };

struct request {
    const char *entry_id;
    const reply_t *raw; /* the flat list of names and values, for the dead stream */

    struct request_field id, method, params, reply, actor, session, agent, ttl_ms, idem, trace,
        origin, ack;
    int64_t redelivered;
    const char *repeated; /* name of a field that came twice, or NULL */

    /* Made by the gate. */
    const struct handler *handler; /* NULL: refused before it was known */
    const char *id_json;
    bool can_reply;
    int64_t ttl;         /* ms from its arrival, of its own or the method's; 0 = none */
    int64_t deadline_ms; /* wall; 0 = none */
    /* Its deadline leaves the method's time: past it, the method has failed. */
    bool is_late_counted;
    bool is_admitted;     /* by gate_enter.lua, before its work */
    char idem_scope[28];  /* of REQUEST_IDEM_BYTES, base64; "" = no outcome is kept */
    char params_hash[12]; /* of 8 bytes, base64 */
    struct prepare prep;
    size_t bytes; /* of its arguments */

    /* A refusal by the gate: code 0 = none. */
    int refused;
    const char *message;
    const char *data;        /* JSON */
    const char *dead_reason; /* NULL: the caller gets the answer, and that is all */

    int64_t read_us; /* monotonic, when it was read */
};

/* Fills the fields from an element of XREADGROUP's reply ([id, [name, value, …]]). False when the
 * entry has no fields (it was deleted while pending). */
bool request_parse(const reply_t *entry, struct request *ret);
/* Wall ms of its first arrival: `origin` if it was handed on, else its own id; never later than that, and
 * never so large that a ttl could not be added. */
int64_t request_arrival_ms(const struct request *r);

#endif
