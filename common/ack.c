/*
 * ack.c: see ack.h.
 */
#include "common/compat.h"
#include "common/ack.h"

static bool is_word(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

int ack_parse(const char *text, size_t len, struct ack *ret)
{
    static const char replica[] = "replica:";
    size_t at = sizeof replica - 1;
    unsigned n = 0;

    if (is_word(text, len, "memory") || is_word(text, len, "local-fsync")) {
        *ret = (struct ack){.level = text[0] == 'm' ? ACK_MEMORY : ACK_FSYNC};
        return 0;
    }
    if (len <= at || len > at + 2 || memcmp(text, replica, at) != 0 || text[at] == '0')
        return -1;
    for (; at < len; at++) {
        if (text[at] < '0' || text[at] > '9')
            return -1;
        n = n * 10 + (unsigned)(text[at] - '0');
    }
    if (n > ACK_REPLICAS_MAX)
        return -1;
    *ret = (struct ack){.level = ACK_REPLICA, .replicas = n};
    return 0;
}
