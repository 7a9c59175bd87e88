/*
 * peer.c: see peer.h. The kernel noted the peer's identity when it connected or listened.
 */
#include "common/compat.h"
#include "supervisor/peer.h"

#include <sys/socket.h>

enum { GROUPS_MAX = 256 };

static bool has_our_group(int fd)
{
    gid_t groups[GROUPS_MAX];
    socklen_t len = sizeof groups;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
        return false;
    for (size_t i = 0; i < len / sizeof groups[0]; i++)
        if (groups[i] == getegid())
            return true;
    return false;
}

bool peer_is_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    return peer.uid == 0 || peer.uid == geteuid() || peer.gid == getegid() || has_our_group(fd);
}

pid_t peer_pid(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return -1;
    return peer.pid;
}
