/*
 * options_check.c: what a row of the table cannot say: the form of single options (prefix, address,
 * log destination) and relations between options. An option whose value was refused already is left
 * out.
 */
#include "common/compat.h"
#include "common/options_private.h"

#include "common/redis_sentinel.h"
#include "common/scoreboard.h"

#include <sys/un.h>

struct check {
    const struct options *opts;
    struct options_errors *errs;
};

static bool is_usable(const struct check *c, const char *name)
{
    const struct option_row *o = options_find(name);
    return !c->opts->origins->is_bad[options_row(o)];
}

static bool is_given(const struct check *c, const char *name)
{
    return options_origin(c->opts, options_find(name)).file != NULL;
}

/* Reports at the place of `name`, or of `other` (NULL: none) when `name` has its default. */
static void fail(struct check *c, const char *name, const char *other, const char *fmt, ...)
    CB_PRINTF(4, 5);

static void fail(struct check *c, const char *name, const char *other, const char *fmt, ...)
{
    struct option_origin at = options_origin(c->opts, options_find(name));
    struct buf text = BUF_INIT;
    va_list ap;

    if (!at.file && other)
        at = options_origin(c->opts, options_find(other));
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    options_errors_add(c->errs, at.file, at.line, at.col, name, "%s", buf_peek(&text));
    buf_done(&text);
}

/* ---- relations ---- */

static const struct relation {
    const char *large;
    const char *small;
    int factor; /* large is above (or not below) factor × small */
    bool may_be_equal;
} relations[] = {
    {"supervisor.restart_max_ms", "supervisor.restart_min_ms", 1, true},
    {"cluster.suspect_ms", "cluster.tick_ms", 2, true},
    {"cluster.offline_ms", "cluster.suspect_ms", 1, false},
    {"cluster.leader_lease_ms", "cluster.tick_ms", 2, false},
    {"task.backoff_max_ms", "task.backoff_ms", 1, true},
    {"task.keep_finished_ms", "task.keep_finished_min_ms", 1, true},
    {"limits.params_bytes", "limits.text_bytes", 1, true},
    {"limits.batch_params_bytes", "limits.params_bytes", 1, true},
};

static void check_relation(struct check *c, const struct relation *rel)
{
    const struct option_row *large = options_find(rel->large);
    const struct option_row *small = options_find(rel->small);
    int64_t n = options_get_number(c->opts, large);
    int64_t bound = rel->factor * options_get_number(c->opts, small);

    if (!is_usable(c, rel->large) || !is_usable(c, rel->small) || n > bound ||
        (n == bound && rel->may_be_equal))
        return;
    struct buf text = BUF_INIT;
    options_put_number(large, n, &text);
    buf_printf(&text, " is too small (expected %s ", rel->may_be_equal ? "at least" : "more than");
    if (rel->factor != 1)
        buf_printf(&text, "%d times ", rel->factor);
    buf_printf(&text, "%s, which is ", rel->small);
    options_put_number(small, options_get_number(c->opts, small), &text);
    buf_putc(&text, ')');
    fail(c, rel->large, rel->small, "%s", buf_peek(&text));
    buf_done(&text);
}

/* ---- forms ---- */

static bool is_made_of(const char *s, const char *others)
{
    for (; *s; s++) {
        bool is_alnum = (*s >= '0' && *s <= '9') || (*s >= 'A' && *s <= 'Z') ||
                        (*s >= 'a' && *s <= 'z');
        if (!is_alnum && !strchr(others, *s))
            return false;
    }
    return true;
}

/* Braces in a prefix choose the Cluster slot: "{cb}" or "team{cb}", one pair with something in it.
 * */
static bool has_good_braces(const char *prefix)
{
    size_t open = strcspn(prefix, "{}");

    if (!prefix[open])
        return true;
    size_t close = open + 1 + strcspn(prefix + open + 1, "{}");
    return prefix[open] == '{' && prefix[close] == '}' && close > open + 1 &&
           !strpbrk(prefix + close + 1, "{}");
}

static void check_names(struct check *c)
{
    const char *id = c->opts->instance.id;
    const char *prefix = c->opts->redis.prefix;

    if (is_usable(c, "instance.id") && (strchr("_.-", id[0]) || !is_made_of(id, "_.-")))
        fail(c, "instance.id", NULL,
             "has a character that is not allowed (expected letters, digits, _ . - and a letter or "
             "digit first)");
    if (!is_usable(c, "redis.prefix"))
        return;
    if (!is_made_of(prefix, "_{}:-"))
        fail(c, "redis.prefix", NULL,
             "has a character that is not allowed (expected letters, digits, _ { } : -)");
    else if (!has_good_braces(prefix))
        fail(c, "redis.prefix", NULL,
             "has braces that do not mark a part (expected one pair with something inside, such as "
             "{cb})");
}

/* Each worker may be replaced by another one while it still finishes, and has a slot of its own. */
static void check_workers(struct check *c)
{
    const char *const *names = options_domain_names();
    int64_t total = 0;

    for (size_t i = 0; names[i]; i++)
        total += options_domain(c->opts, names[i])->workers;
    if (total > SCOREBOARD_SLOTS / 2)
        fail(c, "domains.task.workers", "domains.system.workers",
             "is too large: all domains together have %" PRId64 " workers (expected at most %d)",
             total, SCOREBOARD_SLOTS / 2);
}

static void check_destination(struct check *c)
{
    const char *to = c->opts->log.destination;

    if (is_usable(c, "log.destination") && strcmp(to, "stderr") != 0 && strcmp(to, "syslog") != 0 &&
        to[0] != '/')
        fail(c, "log.destination", NULL,
             "is not known (expected stderr, syslog or an absolute path)");
}

/* It is put behind folders of others: it must not lead out of them. */
static void check_project_file(struct check *c)
{
    const char *name = c->opts->hooks.project_file;
    size_t len = strlen(name);
    bool is_bad = name[0] == '/' || (len > 0 && name[len - 1] == '/');

    for (const char *part = name; part && !is_bad; part = strchr(part, '/')) {
        part += *part == '/';
        size_t n = strcspn(part, "/");
        is_bad = (n == 2 && memcmp(part, "..", 2) == 0) || (n == 1 && *part == '.');
    }
    if (is_usable(c, "hooks.project_file") && is_bad)
        fail(c, "hooks.project_file", NULL,
             "is not the name of a file in a project (expected a relative path without . and ..)");
}

/* A unix socket's address has room for few bytes. */
static void check_control_socket(struct check *c)
{
    const size_t max = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    size_t len = strlen(c->opts->supervisor.control_socket);

    if (is_usable(c, "supervisor.control_socket") && len > max)
        fail(c, "supervisor.control_socket", NULL,
             "is too long for a socket with %zu bytes (expected at most %zu)", len, max);
}

/* ---- redis.url ---- */

/* What the address says that other options should say. The texts never repeat it: it may hold a
 * password. */
static void check_target(struct check *c, const struct redis_target *target)
{
    if (target->user[0] || target->password[0])
        fail(c, "redis.url", NULL,
             "names a user or a password (expected redis.user and redis.password_file for these)");
    else if (c->opts->redis.embedded && !target->unix_path)
        fail(c, "redis.url", "redis.embedded",
             "is not a unix socket, but redis.embedded is true (expected unix:///path, or "
             "redis.embedded: false)");
    else if (target->more && !strchr(c->opts->redis.prefix, '{'))
        fail(c, "redis.url", "redis.prefix",
             "names several nodes of a Cluster, but redis.prefix has no hash tag (expected one "
             "address, or a prefix such as \"{cb}\")");
    else if (c->opts->redis.embedded && target->db != 0)
        fail(c, "redis.url", NULL, "names a database, but the embedded redis-server has only one");
}

static void check_url(struct check *c)
{
    struct redis_target target;
    struct cb_error err = {0};

    if (!is_usable(c, "redis.url") || !is_usable(c, "redis.embedded"))
        return;
    if (c->opts->redis.sentinel.master[0] && !is_given(c, "redis.url"))
        return;
    if (!c->opts->redis.embedded && !is_given(c, "redis.url")) {
        fail(c, "redis.url", "redis.embedded",
             "is not given, but redis.embedded is false (expected unix:///path, "
             "redis://host:port/db, or redis.sentinel.master)");
    } else if (redis_target_parse(c->opts->redis.url, &target, &err)) {
        fail(c, "redis.url", NULL, "is not an address that can be used: %s", err.text);
    } else {
        check_target(c, &target);
        redis_target_done(&target);
    }
}

/* A name without a password, or the other way round, would log in as half of somebody else. */
static void check_client_user(struct check *c)
{
    static const char *const pair[] = {"redis.client_user", "redis.client_password_file"};
    const char *const values[] = {c->opts->redis.client_user, c->opts->redis.client_password_file};

    if (!is_usable(c, pair[0]) || !is_usable(c, pair[1]) || !values[0][0] == !values[1][0])
        return;
    size_t given = values[0][0] ? 0 : 1;
    fail(c, pair[given], NULL, "is given without %s (expected both or none)", pair[1 - given]);
}

/* Which of the two addresses would count, nobody could tell later. */
static void check_sentinel(struct check *c)
{
    static const char *const others[] = {"redis.sentinel.nodes", "redis.sentinel.user",
                                         "redis.sentinel.password_file"};
    const char *master = c->opts->redis.sentinel.master;
    struct redis_sentinels *s = NULL;
    struct cb_error err = {0};

    if (!is_usable(c, "redis.sentinel.master"))
        return;
    for (size_t i = 0; i < CB_ARRAY_LEN(others) && !master[0]; i++)
        if (is_usable(c, others[i]) && options_get_string(c->opts, options_find(others[i]))[0])
            fail(c, others[i], NULL, "is given, but redis.sentinel.master is not (expected both)");
    if (!master[0])
        return;
    if (!is_made_of(master, "_.-"))
        fail(c, "redis.sentinel.master", NULL,
             "has a character that is not allowed (expected letters, digits, _ . -)");
    if (is_usable(c, "redis.embedded") && c->opts->redis.embedded)
        fail(c, "redis.sentinel.master", NULL,
             "is for an external Redis, but redis.embedded is true (expected redis.embedded: "
             "false)");
    else if (is_given(c, "redis.url"))
        fail(c, "redis.url", NULL,
             "is given, and redis.sentinel.master, too (expected one of them: the sentinels tell "
             "where the master is)");
    if (!is_usable(c, "redis.sentinel.nodes"))
        return;
    if (redis_sentinels_new(master, c->opts->redis.sentinel.nodes, "", "", &s, &err) != 0)
        fail(c, "redis.sentinel.nodes", "redis.sentinel.master", "%s", err.text);
    redis_sentinels_free(s);
}

static void check_embedded(struct check *c)
{
    static const char *const external[] = {"redis.user", "redis.password_file", "redis.client_user",
                                           "redis.client_password_file"};
    enum { MAXMEMORY_LEAST = 4 << 20 };
    int64_t maxmemory = c->opts->redis.maxmemory;

    if (!is_usable(c, "redis.embedded"))
        return;
    for (size_t i = 0; i < CB_ARRAY_LEN(external) && c->opts->redis.embedded; i++) {
        const char *value = options_get_string(c->opts, options_find(external[i]));
        if (is_usable(c, external[i]) && value[0])
            fail(
                c, external[i], NULL,
                "is for an external Redis, but redis.embedded is true (expected \"\": the embedded "
                "one has its own users)");
    }
    if (!is_usable(c, "redis.maxmemory") || maxmemory == 0)
        return;
    if (!c->opts->redis.embedded)
        fail(c, "redis.maxmemory", NULL,
             "is for the embedded Redis, but redis.embedded is false (expected 0; an external one "
             "has "
             "its own setting)");
    else if (maxmemory < MAXMEMORY_LEAST)
        fail(c, "redis.maxmemory", NULL, "is too small to run (expected 0 or at least 4MiB)");
}

/* ---- postgres.conninfo ---- */

/* %XX decoded, as an address may spell any letter. */
static void put_decoded(const char *text, struct buf *out)
{
    for (; *text; text++) {
        char hex[3] = {text[0] == '%' ? text[1] : '\0', '\0', '\0'}, *end = hex;
        if (hex[0])
            hex[1] = text[2];
        long c = hex[0] && hex[1] ? strtol(hex, &end, 16) : 0;
        if (end == hex + 2 && c > 0) {
            buf_putc(out, (char)c);
            text += 2;
        } else {
            buf_putc(out, *text);
        }
    }
}

/* password=…, sslpassword=…, or the one in postgresql://user:…@host. */
static bool has_password(const char *conninfo)
{
    CB_CLEANUP(buf_done) struct buf text = BUF_INIT;
    const char *address = strstr(conninfo, "://");

    if (address) {
        size_t authority = strcspn(address + 3, "/?");
        const char *at = memchr(address + 3, '@', authority);
        if (at && memchr(address + 3, ':', (size_t)(at - address - 3)))
            return true;
    }
    put_decoded(conninfo, &text);
    for (const char *p = buf_peek(&text); (p = strstr(p, "password")) != NULL;) {
        p += strlen("password");
        if (p[strspn(p, " ")] == '=')
            return true;
    }
    return false;
}

/* The texts never repeat it. */
static void check_archive(struct check *c)
{
    const char *conninfo = c->opts->postgres.conninfo;

    if (!is_usable(c, "postgres.conninfo") || !is_usable(c, "domains.archive.workers"))
        return;
    if (has_password(conninfo))
        fail(c, "postgres.conninfo", NULL,
             "has a password (expected one in a file: passfile=…, ~/.pgpass or a service file)");
    if (!conninfo[0] && c->opts->domains.archive.workers > 0)
        fail(c, "postgres.conninfo", "domains.archive.workers",
             "is not given, but there are to be archive workers (expected the address of a "
             "database, or domains.archive.workers: 0)");
}

void options_check(const struct options *opts, struct options_errors *errs)
{
    struct check c = {opts, errs};

    check_names(&c);
    check_url(&c);
    check_sentinel(&c);
    check_embedded(&c);
    check_client_user(&c);
    check_control_socket(&c);
    for (size_t i = 0; i < CB_ARRAY_LEN(relations); i++)
        check_relation(&c, &relations[i]);
    check_workers(&c);
    check_destination(&c);
    check_archive(&c);
    check_project_file(&c);
    options_methods_check(opts, errs);
}
