/*
 * fake_link.h: stands in for redis_link.h (all of it) and rnd.h in the fuzzers of what a client reads: no socket, and nothing is
 * drawn, so that the same input makes the same run. Replies are parsed as ever; a fuzzer says what comes.
 */
#ifndef CB_FAKE_LINK_H
#define CB_FAKE_LINK_H

#include "common/redis_link.h"

#define FAKE_TOKEN 'A' /* of which all tokens and ids are made */
enum { FAKE_GIVEN_MAX = 4 };

struct fake_server {
    /* One command was queued. */
    void (*command)(void *arg, struct redis_link *link, int argc, const char *const *argv,
                    const size_t *lens);
    /* The client wants to read: fake_link_feed(), or false for a lost connection. */
    bool (*more)(void *arg, struct redis_link *link);
    void *arg;
    enum redis_fault closed; /* no connection is to be had, for this reason; REDIS_OK: it is */
    unsigned opened;         /* connections so far */
};
extern struct fake_server fake_server;

/* Bytes from the server. */
void fake_link_feed(struct redis_link *link, const char *data, size_t len);
/* A whole reply, before what was fed; the link's from now on. False, and not taken, when it has too many that nobody has read. */
bool fake_link_give(struct redis_link *link, reply_t *reply);
bool fake_link_is_listening(const struct redis_link *link);

#endif
