/*
 * start.c: makes a worker process: control socket, a clean slot, fork and exec. Called by child.c.
 *
 * The worker finds its control socket on fd 3, the options on fd 4 and the scoreboard on fd 5 (frame.h),
 * /dev/null as stdin, and our stdout and stderr unless we are in the background. It has a process group
 * of its own, so that Ctrl-C reaches the supervisor only.
 */
#include "common/compat.h"
#include "supervisor/child.h"

#include "common/clock.h"
#include "common/frame.h"
#include "common/spawn.h"

#include <sys/socket.h>

static int exec_worker(struct child *c, int worker_fd, struct cb_error *err)
{
    char slot[16];
    char generation[24];
    char *const argv[] = {(char *)"claudebench-worker",
                          (char *)"-d",
                          (char *)c->domain,
                          (char *)"-s",
                          slot,
                          (char *)"-g",
                          generation,
                          (char *)"-i",
                          (char *)c->env->opts->instance.id,
                          c->is_careful ? (char *)"-c" : NULL,
                          NULL};
    const struct spawn_fd fds[] = {
        {worker_fd, FRAME_FD},
        {c->env->options_fd, OPTIONS_FD},
        {c->env->scoreboard_fd, SCOREBOARD_FD},
        {c->env->null_fd, STDIN_FILENO},
        {c->env->null_fd, STDOUT_FILENO},
        {c->env->null_fd, STDERR_FILENO},
    };
    struct spawn_plan plan = {.path = c->env->worker_path,
                              .argv = argv,
                              .fds = fds,
                              .nfds = CB_ARRAY_LEN(fds) - (c->env->is_background ? 0 : 2),
                              .new_group = true};

    snprintf(slot, sizeof slot, "%d", c->slot);
    snprintf(generation, sizeof generation, "%" PRIu64, c->generation);
    c->pid = spawn_process(&plan, err);
    if (c->pid > 0)
        return 0;
    c->pid = 0;
    return -1;
}

/* The worker writes into its slot as soon as it runs, so the slot is made ready before. */
static void prepare_slot(struct child *c)
{
    struct scoreboard_slot *slot = child_slot(c);

    scoreboard_slot_reset(slot, c->domain, c->generation);
    atomic_store(&slot->state, WORKER_STARTING);
    atomic_store(&slot->beat_us, clock_mono_us());
}

int child_spawn(struct child *c, struct cb_error *err)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return cb_error_set(err, errno, "socketpair: %s", strerror(errno));
    prepare_slot(c);
    int result = exec_worker(c, pair[1], err);
    close(pair[1]);
    if (result < 0) {
        close(pair[0]);
        scoreboard_slot_reset(child_slot(c), c->domain, 0);
        return -1;
    }
    c->fd = pair[0];
    atomic_store(&child_slot(c)->pid, c->pid);
    return 0;
}
