/*
 * row.h: what is measured: one row, both sides.
 */
#ifndef CB_BENCH_ROW_H
#define CB_BENCH_ROW_H

#include "bench/rows/step.h"

/* What must be there before the first request. */
enum row_stock {
    STOCK_NONE,
    STOCK_PENDING,   /* tasks on the queue, as many as will be claimed */
    STOCK_IDS,       /* tasks on the queue whose ids are known; used again and again */
    STOCK_HELD_ONCE, /* tasks with their leases; each request uses up its own */
    STOCK_HELD,      /* tasks with their leases; used again and again */
};

enum { ROW_STEPS_MAX = 5 };

struct row_kind {
    /* One method; or two: a client that knows too few tasks for the second one sends the first, which takes some. */
    const struct step *steps[ROW_STEPS_MAX]; /* more: only for bare servers (peers/claudebench.c) */
    enum row_stock stock;
    bool has_instances; /* agents are registered */
    const char *domain; /* whose workers serve it; NULL: task */
    bool has_gate;      /* the daemon has limits and breakers for all methods, the bare loop none */
};
extern const struct row_kind row_kind_create_batch, row_kind_claim, row_kind_register;

struct row {
    const char *name;
    const struct row_kind *kind;
    unsigned clients;
    unsigned in_flight; /* of each client */
    unsigned workers;
    unsigned bytes; /* payload of a task */
    unsigned items; /* tasks in one request */
    unsigned total; /* requests of a full run */
    unsigned batch; /* requests that a worker reads at once; 0 = 64, the default */
    bool has_idem;  /* an idempotency key with each */
};

enum { ROW_CLIENTS_MAX = 500, ROW_STOCK_REUSED = 1000 };

extern const struct row rows[]; /* ends with name NULL */

unsigned row_batch(const struct row *row);
/* "task", "system", "hook". */
const char *row_domain(const struct row *row);
/* Workers of a domain that the row's daemon needs: its own ones, and of task and system one. */
unsigned row_workers(const struct row *row, const char *domain);
/* The step whose tasks and requests are meant: the last one. */
const struct step *row_main_step(const struct row *row);
/* Requests before the measured ones. */
unsigned row_warm_up(const struct row *row, unsigned total);
/* The payload as a JSON literal; the caller frees it. */
char *row_literal(const struct row *row);

#endif
