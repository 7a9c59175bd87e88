/*
 * redis_info.c: see redis_info.h. INFO is lines of name:value, CRLF, with '#' titles between them.
 */
#include "common/compat.h"
#include "supervisor/redis_info.h"

#include "common/exitcode.h"

enum { NEEDED_MAJOR = 7, NEEDED_MINOR = 0 };

struct line {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

static bool next_line(const char **at, struct line *ret)
{
    while (**at) {
        const char *start = *at;
        size_t len = strcspn(start, "\r\n");
        const char *colon = memchr(start, ':', len);
        *at = start + len + strspn(start + len, "\r\n");
        if (!colon || *start == '#')
            continue;
        *ret = (struct line){start, (size_t)(colon - start), colon + 1,
                             len - (size_t)(colon + 1 - start)};
        return true;
    }
    return false;
}

static bool is_named(const struct line *l, const char *name)
{
    return l->name_len == strlen(name) && memcmp(l->name, name, l->name_len) == 0;
}

static void take_text(const struct line *l, char *out, size_t size)
{
    snprintf(out, size, "%.*s", (int)l->value_len, l->value);
}

static uint64_t take_number(const struct line *l)
{
    uint64_t n = 0;
    for (size_t i = 0; i < l->value_len && l->value[i] >= '0' && l->value[i] <= '9'; i++)
        n = n * 10 + (uint64_t)(l->value[i] - '0');
    return n;
}

static void take_version(const struct line *l, struct redis_info *info)
{
    char *end = NULL;

    take_text(l, info->version, sizeof info->version);
    info->major = (int)strtol(info->version, &end, 10);
    info->minor = end && *end == '.' ? (int)strtol(end + 1, NULL, 10) : 0;
}

static void take_line(const struct line *l, struct redis_info *info)
{
    if (is_named(l, "redis_version"))
        take_version(l, info);
    else if (is_named(l, "run_id"))
        take_text(l, info->run_id, sizeof info->run_id);
    else if (is_named(l, "process_id"))
        info->process_id = (int64_t)take_number(l);
    else if (is_named(l, "loading"))
        info->is_loading = take_number(l) != 0;
    else if (is_named(l, "role"))
        info->is_replica = l->value_len == 5 && memcmp(l->value, "slave", 5) == 0;
    else if (is_named(l, "redis_mode"))
        info->is_cluster = l->value_len == 7 && memcmp(l->value, "cluster", 7) == 0;
    else if (is_named(l, "aof_enabled"))
        info->has_aof = take_number(l) != 0;
    else if (is_named(l, "connected_slaves"))
        info->replicas = (int64_t)take_number(l);
    else if (is_named(l, "used_memory"))
        info->used_memory = take_number(l);
    else if (is_named(l, "maxmemory"))
        info->max_memory = take_number(l);
    else if (is_named(l, "maxmemory_policy"))
        take_text(l, info->policy, sizeof info->policy);
}

void redis_info_parse(const char *text, struct redis_info *info)
{
    struct line l;
    while (next_line(&text, &l))
        take_line(&l, info);
}

int redis_info_check(const struct redis_info *info, const char *prefix, struct cb_error *err)
{
    if (info->is_cluster && !strchr(prefix, '{'))
        return cb_error_set(
            err, EXITCODE_CONFIG,
            "this Redis is a Cluster, and redis.prefix \"%s\" has no hash tag: without one the "
            "keys are scattered over its nodes; make it \"{%s}\"",
            prefix, prefix);
    if (info->major < 1)
        return cb_error_set(err, EXITCODE_UNAVAILABLE,
                            "INFO does not tell the version: is this a Redis?");
    if (info->major > NEEDED_MAJOR || (info->major == NEEDED_MAJOR && info->minor >= NEEDED_MINOR))
        return 0;
    return cb_error_set(err, EXITCODE_CONFIG, "Redis %s is too old, %d.%d or later is needed",
                        info->version, NEEDED_MAJOR, NEEDED_MINOR);
}

int redis_info_refuse_replica(struct cb_error *err)
{
    return cb_error_set(err, EXITCODE_CONFIG, "this Redis is a replica, it takes no writes");
}

const char *redis_info_advice(const struct redis_info *info, size_t n)
{
    const char *found[2];
    size_t len = 0;

    if (info->policy[0] && strcmp(info->policy, "noeviction") != 0)
        found[len++] = "maxmemory-policy is not noeviction: Redis may throw tasks away";
    if (!info->has_aof)
        found[len++] = "appendonly is off: what Redis holds does not survive its end";
    return n < len ? found[n] : NULL;
}
