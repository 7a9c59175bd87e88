/*
 * spawn.h: fork and exec with a plan of which descriptors the child gets.
 *
 * Everything that can fail is prepared before the fork; the child only makes async-signal-safe calls.
 * The child gets exactly the descriptors of the plan (plus 0, 1, 2), an empty signal mask and default
 * dispositions. A failed exec is reported to the parent through a close-on-exec pipe.
 */
#ifndef CB_SPAWN_H
#define CB_SPAWN_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct spawn_fd {
    int from; /* in the parent; may have any number */
    int to;   /* in the child */
};

struct spawn_plan {
    const char *path;  /* absolute */
    char *const *argv; /* argv[0] included, NULL-terminated */
    char *const *envp; /* NULL: the parent's environment */
    const struct spawn_fd *fds;
    size_t nfds;
    const char *cwd;         /* NULL: unchanged */
    int parent_death_signal; /* 0: none */
    bool new_session;        /* setsid() */
    bool new_group;          /* setpgid(0, 0) */
};

/* Returns the pid, or -1 with err->code = errno and a text that names the program. */
pid_t spawn_process(const struct spawn_plan *plan, struct cb_error *err);

/* The first program of that name in an absolute folder of PATH; NULL when there is none. The caller frees. */
char *spawn_find(const char *name);

/* The directory of the running binary (from /proc/self/exe), without a slash at the end. */
int spawn_own_dir(char *out, size_t size);

#endif
