/*
 * health.h: how the daemon is, in a word and with reasons: for `status`, the log, the service manager and
 * the process that waits for the daemon to be ready.
 */
#ifndef CB_HEALTH_H
#define CB_HEALTH_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

struct supervisor;

enum health_status {
    HEALTH_HEALTHY,
    HEALTH_DEGRADED,  /* something is missing */
    HEALTH_UNHEALTHY, /* nobody serves some domain */
};

enum { HEALTH_REASONS_MAX = 16, HEALTH_REASON_SIZE = 512 };

struct health {
    struct supervisor *supervisor;
    enum health_status status;
    int64_t since_ms; /* wall time of the last change of the status */
    char reasons[HEALTH_REASONS_MAX][HEALTH_REASON_SIZE];
    unsigned len;
    char told[HEALTH_REASON_SIZE + 64]; /* what the service manager was told last */
    struct event *timer;
    struct event *watchdog;
    struct event *settle; /* trouble that lasts that long is logged */
    bool was_ready; /* Redis and a worker of every domain have been there at the same time, once */
    bool is_logged; /* the trouble at hand is in the log */
};

void health_init(struct health *h, struct supervisor *s);
void health_done(struct health *h); /* accepts a struct of zeroes */
/* Something has changed: looks anew. */
void health_update(struct health *h);
const char *health_status_name(enum health_status status);

#endif
