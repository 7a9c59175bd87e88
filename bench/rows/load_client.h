/*
 * load_client.h: one client of load.c.
 */
#ifndef CB_BENCH_LOAD_CLIENT_H
#define CB_BENCH_LOAD_CLIENT_H

#include "bench/rows/load.h"

struct load_request {
    int64_t sent_us;
    int64_t latency_us;
    const struct step *step;
};

/* What all clients of a run share. */
struct load {
    struct env *env;
    const struct row *row;
    struct load_stock *stock, *collect;
    struct load_client *clients;
    int epoll;
    struct load_request *requests; /* of this run */
    unsigned first;                /* number of its first one: numbers go on from run to run */
    unsigned total, sent, answered, errors, short_replies, tasks;
    char stream[64];
    char *literal;
    struct shape_writer writer; /* its params are the request's that is being sent */
};

struct load_client {
    struct load *load;
    struct redis_link *link;
    char token[25];
    char reply_key[48];
    char worker[16];
    struct task_ref *held; /* for rows of two steps */
    unsigned nheld;
    unsigned in_flight;
    unsigned adds_due; /* replies to XADD */
    uint32_t watched;  /* epoll events; 0: not yet */
    bool is_popping;   /* a reply to the pop is due */
};

void load_client_init(struct load_client *c, struct load *load, unsigned number);
void load_client_done(struct load_client *c);
/* Sends as much as may be in flight, and writes. */
void load_client_fill(struct load_client *c);
/* Reads and takes what has come; then fill again. */
void load_client_read(struct load_client *c);

#endif
