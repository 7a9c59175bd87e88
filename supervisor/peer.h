/*
 * peer.h: who is at the other end of a unix socket.
 */
#ifndef CB_PEER_H
#define CB_PEER_H

#include <stdbool.h>
#include <sys/types.h>

/* Root, our user, or a process that has our group (as its own or a supplementary one). */
bool peer_is_allowed(int fd);
/* The pid that has listened, or connected; -1 when it cannot be known. */
pid_t peer_pid(int fd);

#endif
