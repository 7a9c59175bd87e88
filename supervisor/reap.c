/*
 * reap.c: see reap.h. SIGCHLD is one event for any number of deaths, so everything is collected.
 */
#include "common/compat.h"
#include "supervisor/reap.h"

#include "common/log.h"

#include <sys/wait.h>

void reap_children(struct services *services, reap_other_fn *other, void *arg)
{
    for (;;) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid <= 0)
            return;
        struct child *c = services_find_pid(services, pid);
        if (c)
            child_reaped(c, status);
        else if (!other(arg, pid, status))
            log_event(EV_child_unknown, LOG_I("pid", pid), LOG_I("status", status));
    }
}
