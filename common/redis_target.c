/*
 * redis_target.c: where Redis is, from its URL, and back into a line for the log (redis_link.h).
 *
 * Called by whoever reads the option redis.url. Owns nothing; error texts never repeat the URL,
 * because it may hold a password.
 */
#include "common/compat.h"
#include "common/redis_sentinel.h"

#include "common/exitcode.h"
#include "common/mem.h"
#include "common/redis_cluster.h"

#include <sys/un.h>

enum { PORT_DEFAULT = 6379, DB_MAX = 999999 };

static int refuse(struct cb_error *err, const char *what)
{
    return cb_error_set(err, EXITCODE_CONFIG, "Redis URL: %s", what);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The bytes from..end with %XX decoded, or NULL. A NUL would cut the string for everyone after us. */
static char *percent_decode(const char *from, const char *end)
{
    char *out = mem_alloc((size_t)(end - from) + 1);
    char *to = out;
    while (from < end) {
        if (*from != '%') {
            *to++ = *from++;
            continue;
        }
        int high = end - from > 2 ? hex_value(from[1]) : -1;
        int low = end - from > 2 ? hex_value(from[2]) : -1;
        if (high < 0 || low < 0 || high + low == 0) {
            free(out);
            return NULL;
        }
        *to++ = (char)(high * 16 + low);
        from += 3;
    }
    *to = '\0';
    return out;
}

/* The first `c` in from..end, or NULL. */
static const char *find(const char *from, const char *end, char c)
{
    for (; from < end; from++)
        if (*from == c)
            return from;
    return NULL;
}

/* Decimal digits only, the whole of from..end, at most `max`; -1 when it is anything else. */
static int parse_number(const char *from, const char *end, int max)
{
    int value = 0;
    if (from == end || end - from > 6)
        return -1;
    for (; from < end; from++) {
        if (*from < '0' || *from > '9')
            return -1;
        value = value * 10 + (*from - '0');
    }
    return value <= max ? value : -1;
}

static int parse_db(const char *digits, struct redis_target *t, struct cb_error *err)
{
    t->db = parse_number(digits, digits + strlen(digits), DB_MAX);
    return t->db < 0 ? refuse(err, "the database must be a number, such as 0") : 0;
}

static int check_unix_path(const struct redis_target *t, struct cb_error *err)
{
    struct sockaddr_un un;
    if (t->unix_path[0] != '/')
        return refuse(err, "the socket's path must be absolute (unix:///run/…)");
    if (strlen(t->unix_path) >= sizeof un.sun_path)
        return cb_error_set(err, EXITCODE_CONFIG,
                            "Redis URL: the socket's path is %zu bytes long, the system takes %zu",
                            strlen(t->unix_path), sizeof un.sun_path - 1);
    return 0;
}

/* What follows "unix://": a path, perhaps ?db=N. */
static int parse_unix(const char *rest, struct redis_target *t, struct cb_error *err)
{
    const char *query = strchr(rest, '?');
    t->unix_path = percent_decode(rest, query ? query : rest + strlen(rest));
    if (!t->unix_path)
        return refuse(err, "a bad %XX in the socket's path");
    if (check_unix_path(t, err) < 0)
        return -1;
    if (!query)
        return 0;
    if (strncmp(query, "?db=", 4) != 0)
        return refuse(err, "behind a socket's path only ?db=N is known");
    return parse_db(query + 4, t, err);
}

/* user, user:password or :password in from..end. */
static int parse_userinfo(const char *from, const char *end, struct redis_target *t,
                          struct cb_error *err)
{
    const char *colon = find(from, end, ':');
    char *user = percent_decode(from, colon ? colon : end);
    char *password = colon ? percent_decode(colon + 1, end) : mem_strdup("");
    if (!user || !password) {
        free(user);
        free(password);
        return refuse(err, "a bad %XX in user or password");
    }
    free(t->user);
    free(t->password);
    t->user = user;
    t->password = password;
    return 0;
}

/* host, host:port, [ipv6] or [ipv6]:port in from..end. */
static int parse_hostport(const char *from, const char *end, struct redis_target *t,
                          struct cb_error *err)
{
    const char *host_end, *port = NULL;
    if (from < end && *from == '[') {
        from++;
        host_end = find(from, end, ']');
        if (!host_end)
            return refuse(err, "']' is missing behind the IPv6 address");
        if (host_end + 1 < end && host_end[1] != ':')
            return refuse(err, "behind ']' only :PORT may follow");
        if (host_end + 1 < end)
            port = host_end + 2;
    } else {
        const char *colon = find(from, end, ':');
        host_end = colon ? colon : end;
        if (colon)
            port = colon + 1;
    }
    if (host_end == from)
        return refuse(err, "the host is missing (redis://host:port/db)");
    t->host = mem_strndup(from, (size_t)(host_end - from));
    if (!port)
        return 0;
    t->port = parse_number(port, end, 65535);
    return t->port <= 0 ? refuse(err, "the port must be a number from 1 to 65535") : 0;
}

/* host:port,host:port,… in from..end: further nodes of a cluster, which are kept as they are. */
static int parse_more(const char *from, const char *end, struct redis_target *t,
                      struct cb_error *err)
{
    for (const char *at = from; at <= end;) {
        const char *comma = find(at, end, ',');
        struct redis_target node = {.port = PORT_DEFAULT};
        int rc = parse_hostport(at, comma ? comma : end, &node, err);
        free(node.host);
        if (rc < 0)
            return -1;
        at = (comma ? comma : end) + 1;
    }
    t->more = mem_strndup(from, (size_t)(end - from));
    return 0;
}

void redis_target_use_cluster(struct redis_target *target, const char *prefix)
{
    target->cluster = redis_cluster_new(prefix);
    if (!target->cluster)
        return;
    for (const char *at = target->more; at && *at;) {
        size_t len = strcspn(at, ",");
        struct redis_target node = {.port = PORT_DEFAULT};
        if (parse_hostport(at, at + len, &node, NULL) == 0)
            redis_cluster_add(target->cluster, node.host, node.port);
        free(node.host);
        at += len + (at[len] == ',');
    }
}

/* What follows "redis://". */
static int parse_tcp(const char *rest, struct redis_target *t, struct cb_error *err)
{
    const char *end = rest + strcspn(rest, "/?#");
    const char *at = memrchr(rest, '@', (size_t)(end - rest));
    t->port = PORT_DEFAULT;
    if (at && parse_userinfo(rest, at, t, err) < 0)
        return -1;
    const char *first = at ? at + 1 : rest;
    const char *comma = find(first, end, ',');
    if (parse_hostport(first, comma ? comma : end, t, err) < 0)
        return -1;
    if (comma && parse_more(comma + 1, end, t, err) < 0)
        return -1;
    if (*end == '\0' || strcmp(end, "/") == 0)
        return 0;
    if (*end != '/')
        return refuse(err, "behind the host only /DB is known");
    return parse_db(end + 1, t, err);
}

static int parse_any(const char *url, struct redis_target *t, struct cb_error *err)
{
    if (strncmp(url, "unix://", 7) == 0)
        return parse_unix(url + 7, t, err);
    if (url[0] == '/') {
        t->unix_path = mem_strdup(url);
        return check_unix_path(t, err);
    }
    if (strncmp(url, "redis://", 8) == 0)
        return parse_tcp(url + 8, t, err);
    if (strncmp(url, "rediss://", 9) == 0)
        return refuse(err,
                      "no TLS (rediss://): use a unix socket, or the local end of a tunnel such "
                      "as stunnel, see claudebenchd(8)");
    return refuse(err, "expected unix:///path, /path or redis://host:port/db");
}

int redis_target_parse(const char *url, struct redis_target *ret_target, struct cb_error *err)
{
    struct redis_target t = {.timeout_ms = REDIS_LINK_TIMEOUT_MS};
    t.user = mem_strdup("");
    t.password = mem_strdup("");
    if (parse_any(url, &t, err) < 0) {
        redis_target_done(&t);
        return -1;
    }
    *ret_target = t;
    return 0;
}

void redis_target_done(struct redis_target *target)
{
    redis_sentinels_free(target->sentinels);
    free(target->unix_path);
    free(target->host);
    free(target->more);
    free(target->user);
    if (target->password)
        explicit_bzero(target->password, strlen(target->password));
    free(target->password);
    redis_cluster_free(target->cluster);
    *target = (struct redis_target){0};
}

void redis_target_describe(const struct redis_target *target, char *out, size_t size)
{
    const struct redis_sentinels *s = target->sentinels;
    struct redis_node node;

    if (target->cluster && redis_cluster_where(target->cluster, &node)) {
        const struct redis_target at = {.host = node.host, .port = node.port};
        redis_target_describe(&at, out, size);
        return;
    }
    if (s && s->host[0])
        snprintf(out, size,
                 strchr(s->host, ':') ? "redis://[%s]:%d (master %.100s)"
                                      : "redis://%s:%d (master %.100s)",
                 s->host, s->port, s->master);
    else if (s)
        snprintf(out, size, "sentinel master %.100s", s->master);
    else if (target->unix_path && target->db)
        snprintf(out, size, "unix://%s?db=%d", target->unix_path, target->db);
    else if (target->unix_path)
        snprintf(out, size, "unix://%s", target->unix_path);
    else if (target->host && strchr(target->host, ':'))
        snprintf(out, size, "redis://[%s]:%d/%d", target->host, target->port, target->db);
    else
        snprintf(out, size, "redis://%s:%d/%d", target->host ? target->host : "?", target->port,
                 target->db);
}
