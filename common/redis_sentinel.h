/*
 * redis_sentinel.h: where the master is, asked of Redis Sentinel.
 *
 * A link whose target has sentinels begins with a search (redis_link.c) and goes on to the master that it finds, so that
 * nobody else needs to know: each new connection asks anew, and so follows a failover. A search never blocks (but for
 * names of hosts, as redis_link_start says, and one of them in a step): it has one descriptor that is readable whenever there is something to do.
 *
 * Sentinels are asked in order, the next one REDIS_SENTINEL_NEXT_MS after the last without giving that up; the first
 * answer counts, and who gave it is asked first the next time. One that is away so costs a process 100 ms, once.
 */
#ifndef CB_REDIS_SENTINEL_H
#define CB_REDIS_SENTINEL_H

#include "common/redis_link.h"

enum {
    REDIS_SENTINELS_MAX = 16,
    REDIS_SENTINEL_PORT = 26379,
    REDIS_SENTINEL_NEXT_MS = 100,
    REDIS_MASTER_HOST_SIZE = 256
};

struct redis_sentinels {
    char *master; /* its name */
    struct redis_target nodes[REDIS_SENTINELS_MAX];
    size_t len;
    size_t first;                      /* who is asked first */
    char host[REDIS_MASTER_HOST_SIZE]; /* what the last search has found; "" = nothing yet */
    int port;
};

/* `nodes`: 1 to 16 of host:port, host or [ipv6]:port, separated by spaces. `user` and `password` are the sentinels' own, ""
 * = none. Returns 0 with *ret the caller's, or -1 with err->code EXITCODE_CONFIG. */
int redis_sentinels_new(const char *master, const char *nodes, const char *user,
                        const char *password, struct redis_sentinels **ret, struct cb_error *err);
void redis_sentinels_free(struct redis_sentinels *s); /* accepts NULL */
/* Another password for all of them. Returns whether it was another. */
bool redis_sentinels_set_password(struct redis_sentinels *s, const char *password);
/* What was found is no master, or not there: another one is asked first the next time. */
void redis_sentinels_doubt(struct redis_sentinels *s);

struct redis_sentinel_search;

/* Begins to ask; at most timeout_ms. `s` is borrowed. Returns NULL (err) when the system has no descriptors left. */
struct redis_sentinel_search *redis_sentinel_search_new(struct redis_sentinels *s, int timeout_ms,
                                                        struct cb_error *err);
void redis_sentinel_search_free(struct redis_sentinel_search *search); /* accepts NULL */
/* The search's until it is freed. Readable: call _step. */
int redis_sentinel_search_fd(const struct redis_sentinel_search *search);
/* Does what can be done. 1: found, host and port are in `s`; 0: not yet; -1: nobody knows it, and the text has the reason of
 * each sentinel (REDIS_AUTH when all of them refuse us, else REDIS_LOST). */
int redis_sentinel_search_step(struct redis_sentinel_search *search, struct cb_error *err);

#endif
