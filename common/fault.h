/*
 * fault.h: named fault points, in test builds only (--enable-failpoints). In other builds they are
 * nothing at all.
 *
 * CLAUDEBENCH_FAILPOINT="name:action[:option]…[,name:action…]"
 *   actions: kill (SIGKILL to itself), stop (SIGSTOP), exit=N, delay=MS, abort, segv
 *   options: once=FILE  only the process that creates FILE (O_EXCL) acts: once over all restarts
 *            nth=N      acts at the N-th hit in this process (default 1: every hit from the first on)
 *            match=TEXT only when the text given at the point contains TEXT
 */
#ifndef CB_FAULT_H
#define CB_FAULT_H

#include <stddef.h>

#ifdef CB_FAILPOINTS
enum { FAULT_POINTS = 1 };
void fault_point(const char *name);
void fault_point_text(const char *name, const char *text, size_t len);
#else
enum { FAULT_POINTS = 0 };
static inline void fault_point(const char *name)
{
    (void)name;
}
static inline void fault_point_text(const char *name, const char *text, size_t len)
{
    (void)name;
    (void)text;
    (void)len;
}
#endif

#endif
