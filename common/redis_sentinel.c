/*
 * redis_sentinel.c: see redis_sentinel.h.
 *
 * Each sentinel that is being asked has a link of its own; all of them and a timer are in one epoll descriptor, which is what
 * whoever waits for the search polls. An answer is somebody else's text: it is looked at before it is used.
 */
#include "common/compat.h"
#include "common/redis_sentinel.h"

#include "common/clock.h"
#include "common/exitcode.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

enum { TIMER = REDIS_SENTINELS_MAX }; /* its number among the descriptors */

struct redis_sentinel_search {
    struct redis_sentinels *sentinels;
    int epoll_fd;
    int timer_fd;
    /* By number of the node; NULL: not asked, or over. */
    struct redis_link *links[REDIS_SENTINELS_MAX];
    size_t first; /* other searches may move the sentinels' own */
    size_t asked; /* so many were begun, from `first` on */
    size_t open;
    size_t refused;
    int64_t next_ms; /* monotonic: when the next one is asked */
    int64_t deadline_ms;
    char why[200]; /* of those that are over */
};

/* ---- who they are ---- */

static int refuse_node(const char *node, const char *why, struct cb_error *err)
{
    return cb_error_set(err, EXITCODE_CONFIG, "\"%.100s\" is no address of a sentinel: %s", node,
                        why);
}

static bool has_port(const char *node)
{
    const char *colon = strrchr(node, ':');
    const char *bracket = strrchr(node, ']');
    return colon && (!bracket || colon > bracket);
}

static int add_node(struct redis_sentinels *s, const char *node, const char *user,
                    const char *password, struct cb_error *err)
{
    struct cb_error why = {0};
    struct redis_target *t = &s->nodes[s->len];

    if (s->len == REDIS_SENTINELS_MAX)
        return cb_error_set(err, EXITCODE_CONFIG, "there are more than %d sentinels",
                            REDIS_SENTINELS_MAX);
    if (strpbrk(node, "/@?#"))
        return refuse_node(node, "expected host:port", err);
    char *url CB_CLEANUP(mem_free_ptr) = mem_printf("redis://%s", node);
    if (redis_target_parse(url, t, &why) < 0)
        return refuse_node(node, why.text, err);
    s->len++;
    if (!has_port(node))
        t->port = REDIS_SENTINEL_PORT;
    free(t->user);
    free(t->password);
    t->user = mem_strdup(user);
    t->password = mem_strdup(password);
    return 0;
}

int redis_sentinels_new(const char *master, const char *nodes, const char *user,
                        const char *password, struct redis_sentinels **ret, struct cb_error *err)
{
    struct redis_sentinels *s = mem_alloc(sizeof *s);
    int status = 0;

    s->master = mem_strdup(master);
    for (const char *at = nodes + strspn(nodes, " "); *at && status == 0; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");
        char *node CB_CLEANUP(mem_free_ptr) = mem_strndup(at, len);
        status = add_node(s, node, user, password, err);
        at += len;
    }
    if (status == 0 && s->len == 0)
        status = cb_error_set(err, EXITCODE_CONFIG, "no sentinel is named (expected host:port)");
    if (status != 0) {
        redis_sentinels_free(s);
        return -1;
    }
    *ret = s;
    return 0;
}

void redis_sentinels_free(struct redis_sentinels *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->len; i++)
        redis_target_done(&s->nodes[i]);
    free(s->master);
    free(s);
}

bool redis_sentinels_set_password(struct redis_sentinels *s, const char *password)
{
    bool is_other = false;

    for (size_t i = 0; i < s->len; i++) {
        struct redis_target *t = &s->nodes[i];
        is_other |= strcmp(t->password, password) != 0;
        explicit_bzero(t->password, strlen(t->password));
        free(t->password);
        t->password = mem_strdup(password);
    }
    return is_other;
}

void redis_sentinels_doubt(struct redis_sentinels *s)
{
    s->first = (s->first + 1) % s->len;
}

/* ---- life of a search ---- */

int redis_sentinel_search_fd(const struct redis_sentinel_search *search)
{
    return search->epoll_fd;
}

void redis_sentinel_search_free(struct redis_sentinel_search *search)
{
    if (!search)
        return;
    for (size_t i = 0; i < search->sentinels->len; i++)
        redis_link_free(search->links[i]);
    if (search->timer_fd >= 0)
        close(search->timer_fd);
    if (search->epoll_fd >= 0)
        close(search->epoll_fd);
    free(search);
}

static int watch(struct redis_sentinel_search *search, int op, int fd, uint32_t number,
                 uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = number};
    return epoll_ctl(search->epoll_fd, op, fd, &event);
}

/* Readable at once: the first step is to begin. */
static void arm_timer(struct redis_sentinel_search *search)
{
    bool is_more = search->asked < search->sentinels->len;
    int64_t at = is_more && search->next_ms < search->deadline_ms ? search->next_ms
                                                                  : search->deadline_ms;
    int64_t left = at - clock_mono_ms();
    struct itimerspec when = {0};

    if (left <= 0)
        when.it_value.tv_nsec = 1;
    else
        when.it_value = (struct timespec){.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
    timerfd_settime(search->timer_fd, 0, &when, NULL);
}

struct redis_sentinel_search *redis_sentinel_search_new(struct redis_sentinels *s, int timeout_ms,
                                                        struct cb_error *err)
{
    struct redis_sentinel_search *search = mem_alloc(sizeof *search);

    search->sentinels = s;
    search->first = s->first;
    search->timer_fd = -1;
    search->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (search->epoll_fd >= 0)
        search->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (search->timer_fd < 0 ||
        watch(search, EPOLL_CTL_ADD, search->timer_fd, TIMER, EPOLLIN) < 0) {
        cb_error_set(err, REDIS_LOST, "cannot ask the sentinels: %s", strerror(errno));
        redis_sentinel_search_free(search);
        return NULL;
    }
    search->next_ms = clock_mono_ms();
    search->deadline_ms = search->next_ms + timeout_ms;
    arm_timer(search);
    return search;
}

/* ---- asking ---- */

static void name_of(const struct redis_target *node, char *out, size_t size)
{
    snprintf(out, size, strchr(node->host, ':') ? "[%s]:%d" : "%s:%d", node->host, node->port);
}

/* This one is of no use. */
static void give_up(struct redis_sentinel_search *search, size_t number, int fault, const char *why)
{
    const struct redis_target *node = &search->sentinels->nodes[number];
    size_t used = strlen(search->why);
    char name[96], where[160];

    name_of(node, name, sizeof name);
    redis_target_describe(node, where, sizeof where);
    if (strncmp(why, where, strlen(where)) == 0 && strncmp(why + strlen(where), ": ", 2) == 0)
        why += strlen(where) + 2;
    snprintf(search->why + used, sizeof search->why - used, "%ssentinel %s: %s", used ? "; " : "",
             name, why);
    search->refused += fault == REDIS_AUTH;
    if (search->links[number])
        search->open--;
    redis_link_free(search->links[number]);
    search->links[number] = NULL;
}

static bool is_name(const char *host)
{
    struct in_addr address;
    return !strchr(host, ':') && inet_pton(AF_INET, host, &address) != 1;
}

/* Returns whether a name was looked up, which may have taken a while. */
static bool ask_next(struct redis_sentinel_search *search)
{
    struct redis_sentinels *s = search->sentinels;
    size_t number = (search->first + search->asked++) % s->len;
    bool is_slow = is_name(s->nodes[number].host);
    struct cb_error err = {0};
    struct redis_link *link = NULL;

    search->next_ms = clock_mono_ms() + REDIS_SENTINEL_NEXT_MS;
    if (redis_link_start(&s->nodes[number], "claudebench", &link, &err) < 0) {
        give_up(search, number, err.code, err.text);
        return is_slow;
    }
    search->links[number] = link;
    search->open++;
    redis_link_appendv(link, "SENTINEL", "get-master-addr-by-name", s->master, NULL);
    if (watch(search, EPOLL_CTL_ADD, redis_link_fd(link), (uint32_t)number, EPOLLIN | EPOLLOUT) < 0)
        give_up(search, number, REDIS_LOST, strerror(errno));
    return is_slow;
}

/* Asks whom it is time to ask. One name at most: whoever runs this must go on with other things between two of them. */
static void ask_more(struct redis_sentinel_search *search, int64_t now)
{
    bool was_slow = false;

    while (!was_slow && search->asked < search->sentinels->len && now < search->deadline_ms &&
           (search->open == 0 || now >= search->next_ms))
        was_slow = ask_next(search);
    if (search->open == 0)
        search->next_ms = now;
}

/* ---- answers ---- */

static bool is_host(const char *text, size_t len)
{
    if (len == 0 || len >= REDIS_MASTER_HOST_SIZE)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 127)
            return false;
    return true;
}

/* True: it is the master's address. */
static bool take_answer(struct redis_sentinel_search *search, size_t number, const reply_t *reply)
{
    struct redis_sentinels *s = search->sentinels;
    const reply_t *host = reply_at(reply, 0);
    int64_t port = reply_int(reply_at(reply, 1));
    char why[160];

    if (reply_is_error(reply)) {
        give_up(search, number, reply_fault(reply), reply_str(reply));
    } else if (reply_type(reply) == REPLY_NIL) {
        snprintf(why, sizeof why, "knows no master named %.100s", s->master);
        give_up(search, number, REDIS_ERROR, why);
    } else if (reply_count(reply) != 2 || !is_host(reply_str(host), reply_bytes(host)) ||
               port < 1 || port > 65535) {
        give_up(search, number, REDIS_PROTOCOL, "its answer is no address");
    } else {
        s->first = number;
        snprintf(s->host, sizeof s->host, "%s", reply_str(host));
        s->port = (int)port;
        return true;
    }
    return false;
}

/* Moves the bytes of one that is being asked. True: found. */
static bool turn(struct redis_sentinel_search *search, size_t number, uint32_t events)
{
    struct redis_link *link = search->links[number];
    reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
    struct cb_error err = {0};
    int status = 0;

    if (events & EPOLLOUT)
        status = redis_link_on_writable(link, &err);
    if (status == 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        status = redis_link_on_readable(link, &err);
    /* What it said before it hung up counts. */
    if (status == 0)
        status = redis_link_take(link, &reply, &err);
    if (status < 0) {
        give_up(search, number, err.code, err.text);
        return false;
    }
    if (reply)
        return take_answer(search, number, reply);
    uint32_t wanted = redis_link_wants_write(link) ? EPOLLIN | EPOLLOUT : EPOLLIN;
    if (watch(search, EPOLL_CTL_MOD, redis_link_fd(link), (uint32_t)number, wanted) < 0)
        give_up(search, number, REDIS_LOST, strerror(errno));
    return false;
}

static int fail(struct redis_sentinel_search *search, struct cb_error *err)
{
    for (size_t i = 0; i < search->sentinels->len; i++)
        if (search->links[i])
            give_up(search, i, REDIS_LOST, "no answer in time");
    /* Names that are slow to fail have left no time for the others: it is their turn the next time. */
    if (search->asked < search->sentinels->len)
        search->sentinels->first = (search->first + search->asked) % search->sentinels->len;
    bool is_refused = search->refused == search->sentinels->len;
    return cb_error_set(err, is_refused ? REDIS_AUTH : REDIS_LOST, "%s", search->why);
}

int redis_sentinel_search_step(struct redis_sentinel_search *search, struct cb_error *err)
{
    struct epoll_event events[REDIS_SENTINELS_MAX + 1];
    int n = epoll_wait(search->epoll_fd, events, CB_ARRAY_LEN(events), 0);
    uint64_t ticks;

    for (int i = 0; i < n; i++) {
        size_t number = events[i].data.u32;
        if (number == TIMER)
            (void)!read(search->timer_fd, &ticks, sizeof ticks);
        else if (search->links[number] && turn(search, number, events[i].events))
            return 1;
    }
    int64_t now = clock_mono_ms();
    ask_more(search, now);
    bool is_over = search->open == 0 && search->asked == search->sentinels->len;
    if (now >= search->deadline_ms || is_over)
        return fail(search, err);
    arm_timer(search);
    return 0;
}
