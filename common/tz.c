/*
 * tz.c: see tz.h. Called by cron.c's users (workers check a zone's name, the leader computes in it, the client shows
 * it). Every count in a file is checked against its length before it is believed.
 */
#include "common/compat.h"
#include "common/tz.h"

#include "common/mem.h"

#include <fcntl.h>
#include <sys/stat.h>

enum {
    HEADER_BYTES = 44,
    FILE_MAX = 64 * 1024, /* the largest is under 4 KiB */
    OFFSET_MIN = -89999,  /* RFC 8536, 3.2 */
    OFFSET_MAX = 93599
};
#define TIME_MAX (INT64_C(1) << 59) /* the big bang; beyond it sums could overflow */

static const char SYSTEM_DIR[] = "/usr/share/zoneinfo";

struct tz {
    int32_t first; /* the offset before the first transition */
    size_t len;
    int64_t *at;      /* ascending */
    int32_t *offsets; /* from then on */
    bool has_rule;
    struct tz_rule rule; /* behind the last transition */
};

/* ---- the bytes ---- */

struct block {
    uint64_t isut, isstd, leap, time, type, chars; /* counts */
    const unsigned char *data;
};

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be64(const unsigned char *p)
{
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

static uint64_t block_bytes(const struct block *b, unsigned time_bytes)
{
    return b->time * time_bytes + b->time + b->type * 6 + b->chars + b->leap * (time_bytes + 4) +
           b->isstd + b->isut;
}

/* A header and the room behind it; moves *at behind the block. */
static bool take_block(const unsigned char **at, const unsigned char *end, unsigned time_bytes,
                       struct block *ret)
{
    const unsigned char *p = *at;

    if (end - p < HEADER_BYTES || memcmp(p, "TZif", 4) != 0 || p[4] < '2' || p[4] > '9')
        return false;
    *ret = (struct block){.isut = be32(p + 20),
                          .isstd = be32(p + 24),
                          .leap = be32(p + 28),
                          .time = be32(p + 32),
                          .type = be32(p + 36),
                          .chars = be32(p + 40),
                          .data = p + HEADER_BYTES};
    if (block_bytes(ret, time_bytes) > (uint64_t)(end - ret->data))
        return false;
    *at = ret->data + block_bytes(ret, time_bytes);
    return true;
}

static bool take_types(const struct block *b, struct tz *tz)
{
    const unsigned char *indexes = b->data + b->time * 8, *types = indexes + b->time;

    for (uint64_t i = 0; i < b->type; i++) {
        int32_t offset = (int32_t)be32(types + i * 6);
        if (offset < OFFSET_MIN || offset > OFFSET_MAX)
            return false;
    }
    tz->first = (int32_t)be32(types);
    for (uint64_t i = 0; i < b->time; i++) {
        if (indexes[i] >= b->type)
            return false;
        tz->offsets[i] = (int32_t)be32(types + indexes[i] * 6);
    }
    return true;
}

static bool take_times(const struct block *b, struct tz *tz)
{
    for (uint64_t i = 0; i < b->time; i++) {
        tz->at[i] = be64(b->data + i * 8);
        if (tz->at[i] < -TIME_MAX || tz->at[i] > TIME_MAX || (i > 0 && tz->at[i] <= tz->at[i - 1]))
            return false;
    }
    return true;
}

/* A newline, the rule (which may be empty), a newline. */
static bool take_footer(const unsigned char *at, const unsigned char *end, struct tz *tz)
{
    if (at == end || *at != '\n')
        return false;
    at++;
    const unsigned char *newline = memchr(at, '\n', (size_t)(end - at));
    if (!newline)
        return false;
    tz->has_rule = newline > at;
    return !tz->has_rule || tz_rule_parse((const char *)at, (size_t)(newline - at), &tz->rule) == 0;
}

int tz_parse(const void *bytes, size_t len, struct tz **ret_tz, struct cb_error *err)
{
    const unsigned char *at = bytes, *end = at + len;
    struct block old, b;

    if (!take_block(&at, end, 4, &old) || !take_block(&at, end, 8, &b) || b.type == 0)
        return cb_error_set(err, EINVAL, "no TZif file of version 2 or later");
    if (b.leap > 0)
        return cb_error_set(err, EINVAL, "a zone that counts leap seconds is of no use here");
    struct tz *tz = mem_alloc(sizeof *tz);
    tz->len = b.time;
    tz->at = mem_calloc(tz->len + 1, sizeof *tz->at);
    tz->offsets = mem_calloc(tz->len + 1, sizeof *tz->offsets);
    if (!take_types(&b, tz) || !take_times(&b, tz) || !take_footer(at, end, tz)) {
        tz_free(tz);
        return cb_error_set(err, EINVAL, "a damaged TZif file");
    }
    *ret_tz = tz;
    return 0;
}

void tz_free(struct tz *tz)
{
    if (!tz)
        return;
    free(tz->at);
    free(tz->offsets);
    free(tz);
}

void tz_free_ptr(struct tz **tz)
{
    tz_free(*tz);
}

/* ---- by name ---- */

/* Names of zones begin with a capital; `localtime`, which is another zone on each host, does not. */
static bool is_name(const char *name)
{
    static const char chars[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_/";
    size_t len = strlen(name);

    return len >= 1 && len <= TZ_NAME_MAX && strspn(name, chars) == len && name[0] >= 'A' &&
           name[0] <= 'Z' && name[len - 1] != '/' && !strstr(name, "//");
}

/* The whole of a regular file of at most FILE_MAX bytes; -1 with errno. */
static ssize_t read_file(const char *path, unsigned char *bytes)
{
    struct stat st;
    size_t len = 0;
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    while (len < FILE_MAX && ((n = read(fd, bytes + len, FILE_MAX - len)) > 0 || errno == EINTR))
        len += n > 0 ? (size_t)n : 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return n < 0 ? -1 : (ssize_t)len;
}

int tz_load(const char *dir, const char *name, struct tz **ret_tz, struct cb_error *err)
{
    static const struct tz_rule utc = {.standard = 0};

    if (!is_name(name))
        return cb_error_set(err, EINVAL, "not the name of a time zone");
    if (strcmp(name, "UTC") == 0) {
        struct tz *tz = mem_alloc(sizeof *tz);
        tz->has_rule = true;
        tz->rule = utc;
        *ret_tz = tz;
        return 0;
    }
    char *path = mem_printf("%s/%s", dir ? dir : SYSTEM_DIR, name);
    unsigned char *bytes = mem_alloc(FILE_MAX);
    ssize_t len = read_file(path, bytes);
    int status = len < 0 ? cb_error_set(err, errno, "a time zone that this host does not have")
                         : tz_parse(bytes, (size_t)len, ret_tz, err);
    free(bytes);
    free(path);
    return status;
}

/* ---- what it says about a time ---- */

/* Index behind the last transition that is not later than t. */
static size_t count_until(const struct tz *tz, int64_t t)
{
    size_t low = 0, high = tz->len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tz->at[middle] <= t)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct tz_span tz_span_at(const struct tz *tz, int64_t t)
{
    size_t n = count_until(tz, t);
    struct tz_span span = {n > 0 ? tz->at[n - 1] : INT64_MIN, n < tz->len ? tz->at[n] : INT64_MAX,
                           n > 0 ? tz->offsets[n - 1] : tz->first};

    if (n < tz->len || !tz->has_rule)
        return span;
    struct tz_span by_rule = tz_rule_span_at(&tz->rule, t);
    if (by_rule.from < span.from)
        by_rule.from = span.from;
    return by_rule;
}
