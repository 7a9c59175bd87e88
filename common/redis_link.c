/*
 * redis_link.c: the life of a connection to Redis: open, shake hands, lose, free (redis_link.h).
 *
 * Called by workers, client and supervisor. Owns the socket and both buffers. Bytes and waiting are
 * in redis_link_io.c, sockets in redis_connect.c, parsing in redis_link_reader.c. A link that is lost
 * keeps its first reason and gives it to every later call.
 */
#include "common/compat.h"
#include "common/redis_link_int.h"

#include "common/clock.h"
#include "common/mem.h"

enum { START_RESOLVE_MS = 100 };

/* Moves on when an address fails, so that the next link begins with another one. */
static unsigned address_turn;

static const struct redis_node *node_of(const struct redis_link *link)
{
    return link->is_seed ? NULL : &link->node;
}

/* In a cluster others may serve us while this node cannot be reached, or will not do. One that refuses us is no
 * worse than the others; where a slot is being moved there is nobody else. A sentinel whose master is not there may be cut
 * off from the others, and behind a failover: another one is asked first. */
static void note_failure(struct redis_link *link, enum redis_fault fault)
{
    const struct redis_target *t = link->target;
    bool is_here = fault == REDIS_AUTH || fault == REDIS_MOVED || fault == REDIS_MIGRATING;
    bool is_found = link->node.port != 0;

    if (link->state == LINK_READY || link->addresses_left > 0)
        return;
    if (t->cluster && !is_here)
        redis_cluster_failed(t->cluster, node_of(link));
    if (t->sentinels && is_found && !redis_fault_passes(fault))
        redis_sentinels_doubt(t->sentinels);
}

int link_lose(struct redis_link *link, enum redis_fault fault, struct cb_error *err,
              const char *fmt, ...)
{
    if (link->state != LINK_LOST) {
        note_failure(link, fault);
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(link->error.text, sizeof link->error.text, fmt, ap);
        va_end(ap);
        link->error.code = fault;
        link->state = LINK_LOST;
    }
    return link_check(link, err);
}

int link_check(const struct redis_link *link, struct cb_error *err)
{
    if (link->state != LINK_LOST)
        return 0;
    if (err)
        *err = link->error;
    return -1;
}

/* ---- the handshake: one round trip ---- */

static void handshake_append(struct redis_link *link, enum handshake_step step, int argc,
                             const char *const *argv)
{
    link_encode(link, argc, argv, NULL);
    link->steps[link->nsteps++] = step;
}

/* PING last: the others are answered by a Redis that is still loading its data, PING is not. */
static void handshake_queue(struct redis_link *link, const char *client_name)
{
    const struct redis_target *t = link->target;
    char db[12];
    if (t->password && t->password[0]) {
        const char *with_user[] = {"AUTH", t->user, t->password};
        const char *without[] = {"AUTH", t->password};
        bool has_user = t->user && t->user[0];
        handshake_append(link, STEP_AUTH, has_user ? 3 : 2, has_user ? with_user : without);
    }
    if (t->db != 0) {
        snprintf(db, sizeof db, "%d", t->db);
        handshake_append(link, STEP_SELECT, 2, (const char *[]){"SELECT", db});
    }
    if (client_name)
        handshake_append(link, STEP_NAME, 3, (const char *[]){"CLIENT", "SETNAME", client_name});
    handshake_append(link, STEP_ID, 2, (const char *[]){"CLIENT", "ID"});
    if (t->sentinels)
        handshake_append(link, STEP_ROLE, 1, (const char *[]){"ROLE"});
    handshake_append(link, STEP_PING, 1, (const char *[]){"PING"});
    if (t->cluster) {
        handshake_append(link, STEP_OWNER, 2,
                         (const char *[]){"XLEN", redis_cluster_canary(t->cluster)});
        handshake_append(link, STEP_NODES, 2, (const char *[]){"CLUSTER", "SLOTS"});
    }
}

/* Whom we are talking to, for nodes that do not know their own names. */
static const char *peer_name(const struct redis_link *link)
{
    return link->node.port ? link->node.host : "127.0.0.1";
}

int link_cluster_error(struct redis_link *link, const reply_t *reply, struct cb_error *err)
{
    struct redis_cluster *cluster = link->target->cluster;
    enum redis_fault fault = reply_fault(reply);

    if (!cluster && fault == REDIS_MOVED)
        fault = REDIS_CROSSSLOT;
    if (fault == REDIS_CROSSSLOT)
        return link_lose(link, fault, err,
                         "this Redis is a Cluster: redis.prefix needs a hash tag, such as \"{cb}\" "
                         "(%.80s)",
                         reply_str(reply));
    if (cluster && fault == REDIS_MOVED)
        redis_cluster_moved(cluster, reply_str(reply), peer_name(link));
    if (cluster && fault == REDIS_CLUSTERDOWN)
        redis_cluster_failed(cluster, node_of(link));
    return 0;
}

static int handshake_error(struct redis_link *link, enum handshake_step step, const reply_t *reply,
                           struct cb_error *err)
{
    static const char *const names[STEP_COUNT] = {
        [STEP_AUTH] = "AUTH",    [STEP_SELECT] = "SELECT",      [STEP_NAME] = "CLIENT SETNAME",
        [STEP_ID] = "CLIENT ID", [STEP_ROLE] = "ROLE",          [STEP_PING] = "PING",
        [STEP_OWNER] = "XLEN",   [STEP_NODES] = "CLUSTER SLOTS"};
    struct cb_error why = {0};
    if (step == STEP_NODES) /* no cluster, or we may not know: then there is nobody else to try */
        return 0;
    if (step == STEP_OWNER && strncmp(reply_str(reply), "NOPERM", 6) == 0)
        return 0; /* the first command will tell */
    if (link_cluster_error(link, reply, err) < 0)
        return -1;
    reply_error(reply, &why);
    if (redis_fault_is_elsewhere((enum redis_fault)why.code))
        return link_lose(link, (enum redis_fault)why.code, err, "%s", why.text);
    if (why.code == REDIS_MAXCLIENTS) /* not an answer to this step */
        return link_lose(link, REDIS_MAXCLIENTS, err, "%s", why.text);
    if (step == STEP_AUTH && why.code == REDIS_ERROR)
        why.code = REDIS_AUTH; /* "AUTH called without any password configured" */
    return link_lose(link, (enum redis_fault)why.code, err, "%s: %s", names[step], why.text);
}

/* A user who may not ask finds out at his first write. */
static bool may_not_ask_role(enum handshake_step step, const reply_t *reply)
{
    return step == STEP_ROLE && strncmp(reply_str(reply), "NOPERM", 6) == 0;
}

/* What a sentinel sends us to may have been demoted since, or the sentinel be behind. */
static int check_role(struct redis_link *link, const reply_t *reply, struct cb_error *err)
{
    if (strcmp(reply_str(reply_at(reply, 0)), "master") == 0)
        return 0;
    return link_lose(link, REDIS_READONLY, err,
                     "ROLE: it is no master, although a sentinel says so");
}

int link_handshake_reply(struct redis_link *link, reply_t *reply, struct cb_error *err)
{
    enum handshake_step step = link->steps[link->step++];
    static const enum reply_type wanted[STEP_COUNT] = {
        [STEP_AUTH] = REPLY_STATUS, [STEP_SELECT] = REPLY_STATUS, [STEP_NAME] = REPLY_STATUS,
        [STEP_ID] = REPLY_INT,      [STEP_ROLE] = REPLY_ARRAY,    [STEP_PING] = REPLY_STATUS,
        [STEP_OWNER] = REPLY_INT,   [STEP_NODES] = REPLY_ARRAY};
    int rc = 0;
    if (may_not_ask_role(step, reply))
        rc = 0;
    else if (reply_is_error(reply))
        rc = handshake_error(link, step, reply, err);
    else if (reply_type(reply) != wanted[step])
        rc = link_lose(link, REDIS_PROTOCOL, err, "protocol error: not an answer to a handshake");
    else if (step == STEP_ID)
        link->id = reply_int(reply);
    else if (step == STEP_NODES)
        redis_cluster_learn(link->target->cluster, reply, peer_name(link));
    else if (step == STEP_ROLE)
        rc = check_role(link, reply, err);
    reply_free(reply);
    if (rc == 0 && link->step == link->nsteps)
        link->state = LINK_READY;
    return rc;
}

/* ---- connecting ---- */

static void drop_addresses(struct redis_link *link)
{
    if (link->addresses)
        freeaddrinfo(link->addresses);
    link->addresses = link->address = NULL;
    link->addresses_left = 0;
}

/* Takes over how an attempt to connect has come out. */
static int connect_outcome(struct redis_link *link, enum redis_connect outcome,
                           const struct cb_error *why, struct cb_error *err)
{
    switch (outcome) {
    case REDIS_CONNECT_DONE:
        link->state = LINK_HANDSHAKE;
        drop_addresses(link);
        return 0;
    case REDIS_CONNECT_PENDING:
        link->state = LINK_CONNECTING;
        return 0;
    case REDIS_CONNECT_RETRY:
        link->state = LINK_RETRY;
        return 0;
    default:
        if (link->addresses && link->addresses->ai_next)
            address_turn++;
        return link_lose(link, REDIS_LOST, err, "%s", why->text);
    }
}

int link_connected(struct redis_link *link, struct cb_error *err)
{
    struct cb_error why = {0};
    return connect_outcome(link, redis_connect_result(link->fd, &why), &why, err);
}

int link_retry(struct redis_link *link, struct cb_error *err)
{
    struct cb_error why = {0};
    enum redis_connect outcome = redis_connect_unix_again(link->fd, link->target->unix_path, &why);
    return connect_outcome(link, outcome, &why, err);
}

/* Gives up on the address in hand and begins with the next that can be tried. False: none left. */
static bool connect_next(struct redis_link *link)
{
    while (link->addresses_left > 0) {
        struct cb_error why = {0};
        link->addresses_left--;
        link->address = link->address->ai_next ? link->address->ai_next : link->addresses;
        if (link->fd >= 0)
            close(link->fd);
        link->state = LINK_CONNECTING;
        enum redis_connect outcome = redis_connect_tcp(link->address, &link->fd, &why);
        if (connect_outcome(link, outcome, &why, NULL) == 0)
            return true;
    }
    return false;
}

static int connect_tcp(struct redis_link *link, int patience_ms, struct cb_error *err)
{
    const struct redis_node *n = &link->node;
    struct cb_error why = {0};
    if (redis_connect_resolve(n->host, n->port, patience_ms, &link->addresses, &why) < 0)
        return link_lose(link, REDIS_LOST, err, "%s", why.text);
    unsigned count = 0;
    for (struct addrinfo *a = link->addresses; a; a = a->ai_next)
        count++;
    cb_assert(count > 0);
    link->address = link->addresses;
    for (unsigned skip = address_turn % count; skip > 0; skip--)
        link->address = link->address->ai_next;
    link->addresses_left = count - 1;
    enum redis_connect outcome = redis_connect_tcp(link->address, &link->fd, &why);
    if (connect_outcome(link, outcome, &why, err) < 0 && !connect_next(link))
        return link_check(link, err);
    return 0;
}

static int connect_unix(struct redis_link *link, struct cb_error *err)
{
    struct cb_error why = {0};
    enum redis_connect outcome = redis_connect_unix(link->target->unix_path, &link->fd, &why);
    return connect_outcome(link, outcome, &why, err);
}

/* The whole attempt has a time-out; the master is to have a part of it. */
static int begin_search(struct redis_link *link, struct cb_error *err)
{
    struct cb_error why = {0};
    link->search = redis_sentinel_search_new(link->target->sentinels, link->target->timeout_ms / 2,
                                             &why);
    if (!link->search)
        return link_lose(link, REDIS_LOST, err, "%s", why.text);
    link->fd = redis_sentinel_search_fd(link->search);
    link->state = LINK_SEARCHING;
    return link_search(link, err);
}

int link_search(struct redis_link *link, struct cb_error *err)
{
    struct redis_sentinels *s = link->target->sentinels;
    struct cb_error why = {0};
    int found = redis_sentinel_search_step(link->search, &why);
    int rc;
    if (found == 0)
        return 0;
    /* The socket is made before the search's descriptor is closed, so that its number is another. */
    link->fd = -1;
    if (found < 0) {
        rc = link_lose(link, (enum redis_fault)why.code, err, "%s", why.text);
    } else {
        snprintf(link->node.host, sizeof link->node.host, "%s", s->host);
        link->node.port = s->port;
        rc = connect_tcp(link, START_RESOLVE_MS, err);
    }
    redis_sentinel_search_free(link->search);
    link->search = NULL;
    return rc;
}

static struct redis_link *link_new(const struct redis_target *target, const char *client_name)
{
    struct redis_link *link = mem_alloc(sizeof *link);
    link->target = target;
    link->client_name = client_name;
    link->fd = -1;
    link->wake_fd = -1;
    link->idle_at_ms = clock_mono_ms();
    redis_link_reader_init(&link->reader);
    return link;
}

/* Where it failed belongs before why. */
static int open_failed(struct redis_link *link, struct cb_error *err)
{
    char where[320];
    struct redis_target at = *link->target;
    at.cluster = NULL;
    if (link->node.port) {
        at.unix_path = NULL;
        at.host = link->node.host;
        at.port = link->node.port;
    }
    redis_target_describe(&at, where, sizeof where);
    return cb_error_prefix(err, "%s", where);
}

static void choose_node(struct redis_link *link)
{
    const struct redis_target *t = link->target;

    link->node = (struct redis_node){0};
    link->is_seed = !t->cluster || !redis_cluster_where(t->cluster, &link->node);
    if (!link->is_seed || t->unix_path || t->sentinels)
        return;
    snprintf(link->node.host, sizeof link->node.host, "%s", t->host);
    link->node.port = t->port;
}

static int link_begin(struct redis_link *link, int patience_ms, struct cb_error *err)
{
    choose_node(link);
    handshake_queue(link, link->client_name);
    if (link->target->sentinels)
        return begin_search(link, err);
    return link->node.port ? connect_tcp(link, patience_ms, err) : connect_unix(link, err);
}

/* ---- the next node of the cluster ---- */

/* How often another node is tried at once: redirections, and each node that there is. */
static unsigned hops_of(const struct redis_target *target)
{
    return target->cluster ? REDIS_CLUSTER_HOPS + redis_cluster_count(target->cluster) : 0;
}

/* A slot that is being moved, or a login that is refused, is no better anywhere else. */
static bool can_hop(const struct redis_link *link)
{
    int fault = link->error.code;
    return link->state == LINK_LOST && link->nawaited == 0 && fault != REDIS_AUTH &&
           fault != REDIS_MIGRATING && fault != REDIS_CROSSSLOT && fault != REDIS_PROTOCOL;
}

/* Begins again, at the node that is the next by now. */
static int link_hop(struct redis_link *link, int patience_ms, struct cb_error *err)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    drop_addresses(link);
    reply_free(link->ready);
    link->ready = NULL;
    redis_link_reader_done(&link->reader);
    redis_link_reader_init(&link->reader);
    buf_reset(&link->out);
    link->out_at = 0;
    link->is_out_closed = false;
    link->step = link->nsteps = 0;
    link->state = LINK_CONNECTING;
    return link_begin(link, patience_ms, err);
}

/* Until when this attempt may take: the addresses left share the time left. */
static int64_t attempt_deadline(const struct redis_link *link, int64_t deadline_ms)
{
    int64_t now = clock_mono_ms();
    if (link->state != LINK_CONNECTING || link->addresses_left == 0 || deadline_ms <= now)
        return deadline_ms;
    return now + (deadline_ms - now) / (link->addresses_left + 1);
}

/* Waits for the answers to the handshake. */
static int await_handshake(struct redis_link *link, int64_t deadline_ms, struct cb_error *err)
{
    while (link->state == LINK_HANDSHAKE) {
        if (link_write(link, err) < 0 || link_next(link, &link->ready, err) < 0)
            return -1;
        if (link->state == LINK_HANDSHAKE && link_wait(link, deadline_ms, err) < 0)
            return -1;
    }
    return link_check(link, err);
}

/* Waits for one address. */
static int await_connect(struct redis_link *link, int64_t deadline_ms, struct cb_error *err)
{
    while (link->state == LINK_SEARCHING || link->state == LINK_CONNECTING ||
           link->state == LINK_RETRY) {
        if (link_wait(link, deadline_ms, err) < 0)
            return -1;
    }
    return link_check(link, err);
}

static int await_node(struct redis_link *link, int64_t deadline_ms, struct cb_error *err)
{
    link->is_late = false;
    while (await_connect(link, attempt_deadline(link, deadline_ms), err) < 0) {
        bool is_stopped = link->state != LINK_LOST;
        if (is_stopped || !connect_next(link))
            return -1;
    }
    return await_handshake(link, deadline_ms, err);
}

/* Waits until the link is open; `is_begun` is false when its beginning has failed already. */
static int link_await(struct redis_link *link, bool is_begun, int64_t deadline_ms,
                      struct cb_error *err)
{
    unsigned hops = hops_of(link->target);
    int rc = is_begun ? await_node(link, deadline_ms, err) : -1;

    while (rc < 0 && hops-- > 0 && can_hop(link) && clock_mono_ms() < deadline_ms) {
        int64_t left = deadline_ms - clock_mono_ms();
        /* No idle hook is called while a name is looked up. */
        rc = link_hop(link, left < START_RESOLVE_MS ? (int)left : START_RESOLVE_MS, err);
        if (rc == 0)
            rc = await_node(link, deadline_ms, err);
    }
    return rc;
}

int redis_link_await(struct redis_link *link, struct cb_error *err)
{
    int64_t deadline_ms = clock_mono_ms() + link->target->timeout_ms;
    if (link_await(link, true, deadline_ms, err) < 0)
        return open_failed(link, err);
    return 0;
}

int redis_link_open(const struct redis_target *target, const char *client_name,
                    struct redis_link **ret_link, struct cb_error *err)
{
    int64_t deadline_ms = clock_mono_ms() + target->timeout_ms;
    struct redis_link *link = link_new(target, client_name);
    bool is_begun = link_begin(link, target->timeout_ms, err) == 0;
    if (link_await(link, is_begun, deadline_ms, err) < 0) {
        open_failed(link, err);
        redis_link_free(link);
        return -1;
    }
    *ret_link = link;
    return 0;
}

int redis_link_start(const struct redis_target *target, const char *client_name,
                     struct redis_link **ret_link, struct cb_error *err)
{
    struct redis_link *link = link_new(target, client_name);
    int rc = link_begin(link, START_RESOLVE_MS, err);
    if (rc == 0 && link->state == LINK_RETRY)
        rc = link_lose(link, REDIS_LOST, err, "cannot connect: the server's queue is full");
    if (rc < 0) {
        open_failed(link, err);
        redis_link_free(link);
        return -1;
    }
    *ret_link = link;
    return 0;
}

void redis_link_free(struct redis_link *link)
{
    if (!link)
        return;
    if (link->state != LINK_READY && link->state != LINK_LOST) { /* somebody's patience is over */
        link->addresses_left = 0;
        note_failure(link, REDIS_LOST);
    }
    if (link->search)
        redis_sentinel_search_free(link->search); /* with its fd */
    else if (link->fd >= 0)
        close(link->fd);
    drop_addresses(link);
    reply_free(link->ready);
    redis_link_reader_done(&link->reader);
    buf_done(&link->out);
    free(link);
}

/* ---- what is known about it ---- */

int64_t redis_link_id(const struct redis_link *link)
{
    return link->id;
}

int redis_link_fd(const struct redis_link *link)
{
    return link->fd;
}

bool redis_link_is_lost(const struct redis_link *link)
{
    return link->state == LINK_LOST;
}

bool redis_link_is_open(const struct redis_link *link)
{
    return link->state == LINK_READY;
}

size_t redis_link_awaited(const struct redis_link *link)
{
    return link->nawaited;
}

const char *redis_link_canary(const struct redis_link *link)
{
    return link->target->cluster ? redis_cluster_canary(link->target->cluster) : NULL;
}

void redis_link_set_idle(struct redis_link *link, redis_idle_fn *fn, void *arg)
{
    link->idle = fn;
    link->idle_arg = arg;
}

void redis_link_set_listening(struct redis_link *link)
{
    link->is_listening = true;
}

void redis_link_set_wake_fd(struct redis_link *link, int fd)
{
    link->wake_fd = fd;
}
