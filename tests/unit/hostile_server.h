/*
 * hostile_server.h: a server for unit tests that is not Redis and means no good (row F17 of tests/results/faults.md).
 *
 * Each connection gets `handshake` at once; when the client has sent the letters GO it gets `payload`,
 * once or for ever, and then is closed or left hanging. Runs in a child that dies with the test.
 */
#ifndef CB_HOSTILE_SERVER_H
#define CB_HOSTILE_SERVER_H

#include "redis_fixture.h"

/* What redis_link asks for without password, db and name: CLIENT ID and PING. */
#define HOSTILE_HANDSHAKE ":7\r\n+PONG\r\n"

struct hostile_plan {
    const char *handshake; /* "" sends nothing; then `payload` needs no GO */
    const char *payload;
    size_t payload_len; /* 0: strlen(payload) */
    size_t chunk;       /* bytes per send, 0 = all at once */
    int pause_ms;       /* between two sends */
    bool is_endless;    /* the payload again and again, until the client hangs up */
    bool is_echo;    /* instead of a payload: all that comes after GO goes back, in small bites */
    bool is_closing; /* hang up afterwards */
    bool is_deaf;    /* never accepts, and has a queue of one */
};

struct hostile_server {
    struct fixture_folder folder;
    struct redis_target target; /* timeout_ms 2000 */
    int listen_fd;
    pid_t pid;
};

void hostile_server_start(struct hostile_server *server, const struct hostile_plan *plan);
void hostile_server_done(struct hostile_server *server);

#endif
