/*
 * ack.h: how safe the effect of a request is to be before its caller counts it as done: the field `ack` of a request.
 *
 *   memory        Redis has it (the default)
 *   local-fsync   it is on Redis' disk: a worker refuses it unless Redis has appendfsync always, and then each reply waits
 *                 for the disk
 *   replica:N     N replicas have it, too: who has taken the reply asks Redis for that (requests_client_ack.c)
 */
#ifndef CB_ACK_H
#define CB_ACK_H

#include <stdbool.h>
#include <stddef.h>

enum { ACK_REPLICAS_MAX = 16 };

/* ACK_UNSAID is memory, unless whoever asks has another default (redis.wait_replicas). */
enum ack_level { ACK_UNSAID, ACK_MEMORY, ACK_FSYNC, ACK_REPLICA };

struct ack {
    enum ack_level level;
    unsigned replicas; /* 1 or more with ACK_REPLICA, else 0 */
};

#define ACK_EXPECTED "memory, local-fsync or replica:N, N from 1 to 16"

/* Returns 0, or -1 when it is none of the above. */
int ack_parse(const char *text, size_t len, struct ack *ret);

#endif
