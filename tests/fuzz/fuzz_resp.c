/*
 * fuzz_resp.c: bytes from a server through redis_link's reader: bounds checker and hiredis. The first byte
 * of the input says in how small pieces the rest arrives; in one piece it must come to the same replies.
 */
#include "common/compat.h"

#include "common/redis_link_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What became of a stream. */
struct outcome {
    size_t replies;
    size_t weight; /* of all that the accessors gave */
    bool is_refused;
};

static size_t weigh(const reply_t *r, unsigned depth)
{
    cb_assert(depth <= RESP_MAX_DEPTH);
    size_t sum = (size_t)reply_type(r) + (size_t)reply_fault(r) + (size_t)reply_int(r) % 997;
    if (reply_type(r) != REPLY_ARRAY) {
        const char *text = reply_str(r);
        cb_assert(text[reply_bytes(r)] == '\0' || reply_type(r) == REPLY_INT);
        return sum + reply_bytes(r) + strlen(text);
    }
    for (size_t i = 0; i < reply_count(r); i++) {
        cb_assert(reply_at(r, i));
        sum += 1 + weigh(reply_at(r, i), depth + 1);
    }
    return sum;
}

static void take_all(struct redis_link_reader *reader, struct outcome *outcome)
{
    reply_t *r = NULL;
    while (!outcome->is_refused) {
        outcome->is_refused = redis_link_reader_next(reader, &r, NULL) < 0;
        if (outcome->is_refused || !r)
            break;
        outcome->replies++;
        outcome->weight += weigh(r, 0);
        reply_free(r);
    }
}

static struct outcome run(const char *data, size_t len, size_t piece)
{
    struct redis_link_reader reader;
    struct outcome outcome = {0};
    redis_link_reader_init(&reader);
    while (len > 0 && !outcome.is_refused) {
        size_t room;
        char *to = redis_link_reader_room(&reader, &room);
        size_t n = len < piece ? len : piece;
        if (n > room)
            n = room;
        memcpy(to, data, n);
        redis_link_reader_added(&reader, n);
        data += n;
        len -= n;
        take_all(&reader, &outcome);
    }
    redis_link_reader_done(&reader);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct outcome pieces = run((const char *)data + 1, len - 1, 1 + data[0] % 64);
    struct outcome whole = run((const char *)data + 1, len - 1, SIZE_MAX);
    cb_assert(pieces.replies == whole.replies);
    cb_assert(pieces.weight == whole.weight);
    cb_assert(pieces.is_refused == whole.is_refused);
    return 0;
}
