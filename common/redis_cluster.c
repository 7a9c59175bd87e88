/*
 * redis_cluster.c: see redis_cluster.h. Belongs to the thread that owns the target. Never fails: a word that it does not
 * understand changes nothing.
 */
#include "common/compat.h"
#include "common/redis_cluster.h"

#include "common/arena.h"
#include "common/keys.h"
#include "common/mem.h"

enum { NODES_MAX = 64 }; /* any node that answers knows the others */

struct redis_cluster {
    char *canary;
    struct redis_node nodes[NODES_MAX];
    unsigned len;
    unsigned at; /* == len: the address of redis.url */
};

struct redis_cluster *redis_cluster_new(const char *prefix)
{
    struct arena arena = ARENA_INIT;

    if (!strchr(prefix, '{'))
        return NULL;
    struct redis_cluster *c = mem_alloc(sizeof *c);
    c->canary = mem_strdup(keys_make(&arena, prefix, KEY_CANARY));
    arena_done(&arena);
    return c;
}

void redis_cluster_free(struct redis_cluster *c)
{
    if (!c)
        return;
    free(c->canary);
    free(c);
}

const char *redis_cluster_canary(const struct redis_cluster *c)
{
    return c->canary;
}

bool redis_cluster_where(const struct redis_cluster *c, struct redis_node *ret_node)
{
    if (c->at == c->len)
        return false;
    *ret_node = c->nodes[c->at];
    return true;
}

unsigned redis_cluster_count(const struct redis_cluster *c)
{
    return c->len + 1;
}

/* A node that does not know its own name, or that will not tell it, means the one that was asked. */
static bool make_node(const char *host, size_t len, int64_t port, const char *from,
                      struct redis_node *ret)
{
    bool is_unnamed = len == 0 || (len == 1 && *host == '?');

    if (is_unnamed) {
        host = from;
        len = strlen(from);
    }
    if (len == 0 || len >= sizeof ret->host || port < 1 || port > 65535)
        return false;
    memcpy(ret->host, host, len);
    ret->host[len] = '\0';
    ret->port = (int)port;
    return true;
}

static bool is_same(const struct redis_node *a, const struct redis_node *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* The number of the node, which is added when it is new; the last one's when there is no room for it. */
static unsigned find_or_add(struct redis_cluster *c, const struct redis_node *node)
{
    for (unsigned i = 0; i < c->len; i++)
        if (is_same(&c->nodes[i], node))
            return i;
    if (c->len < NODES_MAX)
        c->nodes[c->len++] = *node;
    return c->len - 1;
}

void redis_cluster_add(struct redis_cluster *c, const char *host, int port)
{
    bool is_seed = c->at == c->len;
    struct redis_node node;

    if (!make_node(host, strlen(host), port, "", &node))
        return;
    find_or_add(c, &node);
    if (is_seed)
        c->at = c->len;
}

void redis_cluster_moved(struct redis_cluster *c, const char *text, const char *from)
{
    const char *address = strrchr(text, ' ');
    const char *colon = strrchr(text, ':');
    struct redis_node node;

    if (!address || !colon || colon < address)
        return;
    address++;
    if (!make_node(address, (size_t)(colon - address), strtoll(colon + 1, NULL, 10), from, &node))
        return;
    unsigned i = find_or_add(c, &node);
    c->nodes[i] = node; /* when the table is full, the last one makes room */
    c->at = i;
}

/* The nodes of one range of slots: [first, last, [host, port, …], …]. */
static void learn_range(struct redis_cluster *c, const reply_t *range, const char *from)
{
    for (size_t i = 2; i < reply_count(range); i++) {
        const reply_t *host = reply_at(reply_at(range, i), 0);
        struct redis_node node;
        if (make_node(reply_str(host), reply_bytes(host),
                      reply_int(reply_at(reply_at(range, i), 1)), from, &node))
            find_or_add(c, &node);
    }
}

void redis_cluster_learn(struct redis_cluster *c, const reply_t *slots, const char *from)
{
    struct redis_node here;
    bool has_here = redis_cluster_where(c, &here);

    if (reply_type(slots) != REPLY_ARRAY || reply_count(slots) == 0)
        return;
    /* Those that are not named any more have left. */
    c->len = 0;
    if (has_here)
        find_or_add(c, &here);
    for (size_t i = 0; i < reply_count(slots) && c->len < NODES_MAX; i++)
        learn_range(c, reply_at(slots, i), from);
    c->at = has_here ? 0 : c->len;
}

void redis_cluster_failed(struct redis_cluster *c, const struct redis_node *node)
{
    bool is_seed = c->at == c->len;

    /* Another link may have gone on already. */
    if (is_seed != !node || (node && !is_same(&c->nodes[c->at], node)))
        return;
    c->at = is_seed ? 0 : c->at + 1;
}
