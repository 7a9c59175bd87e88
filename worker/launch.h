/*
 * launch.h: what a worker process begins with: its command line, and the descriptors that the supervisor gave it. For claudebench-worker and for
 * claudebench-archive, which it executes for the domain `archive`.
 */
#ifndef CB_WORKER_LAUNCH_H
#define CB_WORKER_LAUNCH_H

#include "common/options.h"
#include "worker/supervised.h"

struct launch {
    const char *domain;
    const char *instance;
    unsigned slot;
    uint64_t generation;
    bool is_careful; /* the worker before this one died, and no request is to blame */
    char *consumer;  /* <instance>/<domain>/<slot>.<generation> */
    struct options *opts;
    struct supervised sup;
};

/* -d DOMAIN -s SLOT -g GENERATION -i INSTANCE [-c]. Returns 0, or -1: it was not started by the supervisor. */
int launch_parse(struct launch *l, int argc, char **argv);
/* Reads the configuration, opens the log, greets the supervisor. Returns -1 to go on, or the exit code, with the reason logged. */
int launch_begin(struct launch *l, const char *program);
void launch_done(struct launch *l);

#endif
