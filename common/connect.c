/*
 * connect.c: see connect.h. Owns nothing.
 */
#include "common/compat.h"
#include "common/connect.h"

#include "common/exitcode.h"
#include "common/mem.h"
#include "common/redis_cluster.h"
#include "common/redis_sentinel.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { PASSWORD_MAX = 512 };
enum {
    RETRY_MIN_MS = 50,
    RETRY_SPREAD_MS = 2000,
    RETRY_MAX_MS = 5000,
    RETRY_SENTINEL_MAX_MS = 2500
};

/* The first line of `text` into `out`; -1 when it is empty, too long or holds a NUL. */
static int password_from(const char *path, const char *text, size_t len, char **ret,
                         struct cb_error *err)
{
    const char *eol = memchr(text, '\n', len);
    size_t n = eol ? (size_t)(eol - text) : len;
    if (n > 0 && text[n - 1] == '\r')
        n--;
    if (n == 0)
        return cb_error_set(err, EXITCODE_CONFIG, "%s: the first line holds no password", path);
    if (n > PASSWORD_MAX)
        return cb_error_set(err, EXITCODE_CONFIG, "%s: the password is longer than %d bytes", path,
                            PASSWORD_MAX);
    if (memchr(text, '\0', n))
        return cb_error_set(err, EXITCODE_CONFIG, "%s: NUL in the password", path);
    *ret = mem_strndup(text, n);
    return 0;
}

int connect_read_password(const char *path, char **ret_password, struct cb_error *err)
{
    char text[PASSWORD_MAX + 2];
    struct stat st;

    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return cb_error_set(err, errno == EACCES ? EXITCODE_NOPERM : EXITCODE_UNAVAILABLE,
                            "cannot read the password file %s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return cb_error_set(err, EXITCODE_CONFIG, "%s: not a regular file", path);
    }
    size_t len = 0;
    ssize_t n;
    while (len < sizeof text && (n = read(fd, text + len, sizeof text - len)) != 0) {
        if (n < 0 && errno != EINTR) {
            int saved = errno;
            close(fd);
            return cb_error_set(err, EXITCODE_CONFIG, "%s: %s", path, strerror(saved));
        }
        len += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    int status = password_from(path, text, len, ret_password, err);
    explicit_bzero(text, sizeof text);
    return status;
}

/* Replaces a string of the target. */
static void take_string(char **slot, char *value)
{
    free(*slot);
    *slot = value;
}

static int embedded_login(const struct options *opts, enum connect_role role,
                          struct redis_target *target, struct cb_error *err)
{
    const char *user = role == CONNECT_DAEMON ? "daemon" : "client";
    char *path CB_CLEANUP(mem_free_ptr) = mem_printf("%s/%s.password", opts->redis.dir, user);
    char *password = NULL;

    if (!target->unix_path)
        return cb_error_set(err, EXITCODE_CONFIG,
                            "redis.url: the embedded redis-server listens on a unix socket only");
    if (connect_read_password(path, &password, err) != 0)
        return -1;
    take_string(&target->user, mem_strdup(user));
    take_string(&target->password, password);
    return 0;
}

static int external_login(const struct options *opts, enum connect_role role,
                          struct redis_target *target, struct cb_error *err)
{
    bool is_client = role == CONNECT_CLIENT && opts->redis.client_user[0];
    const char *user = is_client ? opts->redis.client_user : opts->redis.user;
    const char *file = is_client ? opts->redis.client_password_file : opts->redis.password_file;
    char *password = NULL;

    if (user[0])
        take_string(&target->user, mem_strdup(user));
    if (!file[0])
        return 0;
    if (connect_read_password(file, &password, err) != 0)
        return -1;
    take_string(&target->password, password);
    return 0;
}

static int sentinel_target(const struct options *opts, struct redis_target *target,
                           struct cb_error *err)
{
    char *password CB_CLEANUP(mem_free_ptr) = NULL;
    const char *file = opts->redis.sentinel.password_file;

    if (file[0] && connect_read_password(file, &password, err) != 0)
        return -1;
    target->user = mem_strdup("");
    target->password = mem_strdup("");
    if (redis_sentinels_new(opts->redis.sentinel.master, opts->redis.sentinel.nodes,
                            opts->redis.sentinel.user, password ? password : "", &target->sentinels,
                            err) == 0)
        return 0;
    redis_target_done(target);
    return cb_error_prefix(err, "redis.sentinel.nodes");
}

static int url_target(const struct options *opts, struct redis_target *target, struct cb_error *err)
{
    if (redis_target_parse(opts->redis.url, target, err) == 0)
        return 0;
    if (err)
        err->code = EXITCODE_CONFIG;
    return cb_error_prefix(err, "redis.url");
}

int connect_target(const struct options *opts, enum connect_role role, struct redis_target *ret,
                   struct cb_error *err)
{
    struct redis_target target = {0};

    if ((opts->redis.sentinel.master[0] ? sentinel_target(opts, &target, err)
                                        : url_target(opts, &target, err)) != 0)
        return -1;
    target.timeout_ms = (int)opts->redis.timeout_ms;
    int status = opts->redis.embedded ? embedded_login(opts, role, &target, err)
                                      : external_login(opts, role, &target, err);
    if (status != 0) {
        redis_target_done(&target);
        return -1;
    }
    if (!opts->redis.embedded && !target.sentinels)
        redis_target_use_cluster(&target, opts->redis.prefix);
    *ret = target;
    return 0;
}

void connect_backoff(const struct redis_target *target, enum connect_role role, struct backoff *ret)
{
    int64_t max_ms = target->sentinels ? RETRY_SENTINEL_MAX_MS
                     : target->cluster ? REDIS_CLUSTER_PAUSE_MS
                                       : RETRY_MAX_MS;

    if (role == CONNECT_CLIENT && !target->unix_path)
        backoff_init_spread(ret, RETRY_MIN_MS, RETRY_SPREAD_MS, max_ms);
    else
        backoff_init(ret, RETRY_MIN_MS, max_ms);
}

void connect_backoff_idle(const struct redis_target *target, bool is_idle, struct backoff *b)
{
    if (!target->unix_path)
        backoff_set_spread(b, is_idle ? RETRY_MAX_MS : RETRY_SPREAD_MS);
}

bool connect_renew_password(const struct options *opts, enum connect_role role,
                            struct redis_target *target)
{
    struct redis_target fresh = {0};
    struct cb_error err = {0};

    if (connect_target(opts, role, &fresh, &err) != 0)
        return false;
    bool is_other = strcmp(fresh.password, target->password) != 0;
    if (is_other) {
        char *old = target->password;
        target->password = fresh.password;
        fresh.password = old;
    }
    if (target->sentinels && fresh.sentinels)
        is_other |= redis_sentinels_set_password(target->sentinels,
                                                 fresh.sentinels->nodes[0].password);
    redis_target_done(&fresh);
    return is_other;
}
