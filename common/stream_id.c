/*
 * stream_id.c: see stream_id.h.
 */
#include "common/compat.h"
#include "common/stream_id.h"

/* Digits of an unsigned 64-bit number; *end is behind them. */
static bool parse_part(const char *text, const char **end, uint64_t *ret)
{
    char *stop;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long n = strtoull(text, &stop, 10);
    if (errno != 0)
        return false;
    *end = stop;
    *ret = n;
    return true;
}

bool stream_id_parse(const char *text, struct stream_id *ret)
{
    struct stream_id id = {0, 0};
    const char *at;

    if (!parse_part(text, &at, &id.ms))
        return false;
    if (*at == '-' && !parse_part(at + 1, &at, &id.seq))
        return false;
    if (*at)
        return false;
    *ret = id;
    return true;
}

void stream_id_put(struct stream_id id, char out[STREAM_ID_SIZE])
{
    snprintf(out, STREAM_ID_SIZE, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
}

int stream_id_compare(struct stream_id a, struct stream_id b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    return (a.seq > b.seq) - (a.seq < b.seq);
}

int stream_id_compare_texts(const char *a, const char *b)
{
    struct stream_id id_a = {0, 0}, id_b = {0, 0};

    stream_id_parse(a, &id_a);
    stream_id_parse(b, &id_b);
    return stream_id_compare(id_a, id_b);
}
