/*
 * redis_connect.h: sockets towards Redis, for redis_link only: resolve, create, connect, set options.
 */
#ifndef CB_REDIS_CONNECT_H
#define CB_REDIS_CONNECT_H

#include "common/err.h"

#include <netdb.h>

enum redis_connect {
    REDIS_CONNECT_FAILED = -1, /* err says why */
    REDIS_CONNECT_DONE = 0,
    REDIS_CONNECT_PENDING, /* writable when decided: then redis_connect_result() */
    REDIS_CONNECT_RETRY,   /* unix: the server's queue is full; no event will tell, ask again */
};

/*
 * The addresses of a host, looked up anew each time. A literal address is answered at once; a name
 * after at most `patience_ms`, else the look-up goes on in the background and a later call gets its
 * result. Returns 0 with *ret_list (freeaddrinfo), or -1 (REDIS_LOST).
 */
int redis_connect_resolve(const char *host, int port, int patience_ms, struct addrinfo **ret_list,
                          struct cb_error *err);

/* Begins a connection on a new non-blocking, close-on-exec socket, *ret_fd (-1 when it failed). */
enum redis_connect redis_connect_tcp(const struct addrinfo *address, int *ret_fd,
                                     struct cb_error *err);
enum redis_connect redis_connect_unix(const char *path, int *ret_fd, struct cb_error *err);
/* After REDIS_CONNECT_RETRY: tries again on the same socket. */
enum redis_connect redis_connect_unix_again(int fd, const char *path, struct cb_error *err);
/* How a pending connection has come out. */
enum redis_connect redis_connect_result(int fd, struct cb_error *err);

#endif
