/*
 * signals.c: see signals.h. Children start with an empty mask and default dispositions (spawn.c).
 */
#include "common/compat.h"
#include "supervisor/signals.h"

#include "common/mem.h"

#include <signal.h>
#include <sys/signalfd.h>

static const int handled[] = {SIGTERM, SIGINT,  SIGQUIT, SIGCHLD, SIGHUP,
                              SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGWINCH};

struct signals {
    int fd;
    struct event *event;
    signals_fn *fn;
    void *arg;
};

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct signals *s = arg;
    struct signalfd_siginfo info;
    (void)what;

    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info)
        s->fn(s->arg, (int)info.ssi_signo,
              info.ssi_code == SI_KERNEL ? SIGNALS_KERNEL : (pid_t)info.ssi_pid);
}

int signals_open(struct event_base *base, signals_fn *fn, void *arg, struct signals **ret,
                 struct cb_error *err)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < CB_ARRAY_LEN(handled); i++)
        sigaddset(&set, handled[i]);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return cb_error_set(err, errno, "sigprocmask: %s", strerror(errno));
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return cb_error_set(err, errno, "signalfd: %s", strerror(errno));
    struct signals *s = mem_alloc(sizeof *s);
    *s = (struct signals){.fd = fd, .fn = fn, .arg = arg};
    s->event = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, s);
    cb_assert(s->event);
    event_add(s->event, NULL);
    *ret = s;
    return 0;
}

void signals_free(struct signals *s)
{
    if (!s)
        return;
    event_free(s->event);
    close(s->fd);
    free(s);
}
