/*
 * redis_cluster.h: where in a Redis Cluster the one slot of our namespace is. For redis_link*.c, scripts.c and
 * connect.c.
 *
 * A prefix with a hash tag ("{cb}") puts all keys into one slot, so that one master serves the namespace at a time, and
 * a link is a connection to that master. Its handshake asks for the canary, a key that never exists: the master of the
 * slot says that it is not there; any other node says who is the master (MOVED); a master that is handing the slot over
 * says ASK. So a link that is open leads to where the scripts may run. Slots that are being moved are waited for, never
 * followed (ARCHITECTURE.md says why).
 *
 * The nodes that are known are kept beside the target, for all its links: where MOVED pointed last, and who else there
 * is, should that one die. A Redis that is no cluster is asked the same, and is always the right one.
 */
#ifndef CB_REDIS_CLUSTER_H
#define CB_REDIS_CLUSTER_H

#include "common/redis_link.h"

enum {
    /* Redirections that are followed at once; nodes that disagree need a pause. */
    REDIS_CLUSTER_HOPS = 5,
    REDIS_CLUSTER_WAIT_MS = 200, /* between two looks at a slot that is being moved */
    /* At most between two tries: not every node that is tried is the right one. */
    REDIS_CLUSTER_PAUSE_MS = 2000,
};

struct redis_node {
    char host[256];
    int port;
};

/* NULL when the prefix has no hash tag: then there is no cluster to follow. */
struct redis_cluster *redis_cluster_new(const char *prefix);
void redis_cluster_free(struct redis_cluster *c); /* accepts NULL */

/* The key that every script declares beside its own, and that never exists. */
const char *redis_cluster_canary(const struct redis_cluster *c);

/* Where the next link leads; false: to the address of redis.url. */
bool redis_cluster_where(const struct redis_cluster *c, struct redis_node *ret_node);
/* How many nodes there are to try, that of redis.url included. */
unsigned redis_cluster_count(const struct redis_cluster *c);

/* A node of which the configuration knows. */
void redis_cluster_add(struct redis_cluster *c, const char *host, int port);
/* An error reply "MOVED <slot> <host>:<port>" of the node `from`: the next link leads there. */
void redis_cluster_moved(struct redis_cluster *c, const char *text, const char *from);
/* The reply to CLUSTER SLOTS of the node `from`; an error reply means that it is no cluster, or that we may not ask. */
void redis_cluster_learn(struct redis_cluster *c, const reply_t *slots, const char *from);
/* That node (NULL: the address of redis.url) is not there, or nobody serves the slot for all that it knows: the next link tries
 * the next one. */
void redis_cluster_failed(struct redis_cluster *c, const struct redis_node *node);

#endif
