/*
 * request.c: see request.h. Nothing is copied: the fields point into the reply.
 */
#include "common/compat.h"
#include "worker/request.h"

#define ARRIVAL_MAX_MS (INT64_C(1) << 52) /* what Lua still counts in ones, with room for a ttl */

static const struct {
    const char *name;
    size_t offset;
} known[] = {
    {"id", offsetof(struct request, id)},         {"method", offsetof(struct request, method)},
    {"params", offsetof(struct request, params)}, {"reply", offsetof(struct request, reply)},
    {"actor", offsetof(struct request, actor)},   {"idem", offsetof(struct request, idem)},
    {"ttl_ms", offsetof(struct request, ttl_ms)}, {"session", offsetof(struct request, session)},
    {"agent", offsetof(struct request, agent)},   {"trace", offsetof(struct request, trace)},
    {"origin", offsetof(struct request, origin)}, {"ack", offsetof(struct request, ack)},
};

/* Index into known[], or -1. */
static int find_known(const reply_t *name)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(known); i++)
        if (reply_bytes(name) == strlen(known[i].name) &&
            strcmp(known[i].name, reply_str(name)) == 0)
            return (int)i;
    return -1;
}

/* An empty value counts as absent, but not as silent: the field has come once. */
static void take_known(struct request *r, int i, const reply_t *value, unsigned *seen)
{
    struct request_field *slot = (struct request_field *)(void *)((char *)r + known[i].offset);

    if (*seen & 1u << i)
        r->repeated = known[i].name;
    *seen |= 1u << i;
    if (reply_bytes(value) > 0)
        *slot = (struct request_field){reply_str(value), reply_bytes(value)};
}

bool request_parse(const reply_t *entry, struct request *ret)
{
    const reply_t *fields = reply_at(entry, 1);
    unsigned seen = 0;

    *ret = (struct request){.entry_id = reply_str(reply_at(entry, 0)), .raw = fields};
    if (!fields || reply_type(fields) != REPLY_ARRAY)
        return false;
    for (size_t i = 0; i + 1 < reply_count(fields); i += 2) {
        const reply_t *name = reply_at(fields, i), *value = reply_at(fields, i + 1);
        int known_as = find_known(name);
        if (known_as >= 0)
            take_known(ret, known_as, value, &seen);
        else if (strcmp(reply_str(name), "redelivered") == 0)
            ret->redelivered = reply_int(value);
    }
    return true;
}

/* Milliseconds of a stream id, or -1: whoever added the entry may have chosen its id or its origin. */
static int64_t id_ms(const char *id)
{
    char *end;

    errno = 0;
    long long ms = strtoll(id, &end, 10);
    return errno == 0 && id[0] >= '0' && id[0] <= '9' && *end == '-' && ms <= ARRIVAL_MAX_MS ? ms
                                                                                             : -1;
}

int64_t request_arrival_ms(const struct request *r)
{
    int64_t own = id_ms(r->entry_id);
    int64_t first = r->origin.at ? id_ms(r->origin.at) : -1;

    if (own < 0)
        own = ARRIVAL_MAX_MS;
    return first >= 0 && first < own ? first : own;
}
