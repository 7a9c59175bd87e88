/*
 * supervised.c: see supervised.h. The control socket is read in between requests and while waiting
 * for Redis; end of file means that the supervisor is gone and the worker leaves after what it has.
 */
#include "common/compat.h"
#include "worker/supervised.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/redis_link.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>

static volatile sig_atomic_t term_came;
static volatile sig_atomic_t usr1_came;

static void on_signal(int signo)
{
    if (signo == SIGUSR1)
        usr1_came = 1;
    else
        term_came = 1;
}

/* TERM and USR1 end a wait (no SA_RESTART) and are looked at by the next turn. A terminal's INT and HUP reach the
 * whole foreground group: they are the supervisor's to act on. */
static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGUSR1, &sa, NULL);
    sa.sa_handler = SIG_IGN;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    sigaction(SIGPIPE, &sa, NULL);
}

int supervised_init(struct supervised *s, unsigned slot, uint64_t generation, struct cb_error *err)
{
    *s = (struct supervised){.generation = generation};
    if (slot >= SCOREBOARD_SLOTS)
        return cb_error_set(err, EINVAL, "slot %u is out of range", slot);
    if (scoreboard_attach(SCOREBOARD_FD, &s->board, err) != 0)
        return -1;
    s->slot = &s->board->slots[slot];
    log_set_ring(&s->board->log);
    fcntl(FRAME_FD, F_SETFD, FD_CLOEXEC);
    catch_signals();
    atomic_store(&s->slot->pid, (int)getpid());
    scoreboard_beat(s->slot);
    struct frame hello = {
        .type = FRAME_HELLO, .protocol = FRAME_PROTOCOL, .generation = generation};
    if (frame_send(FRAME_FD, &hello) != 0)
        return cb_error_set(err, errno, "cannot greet the supervisor: %s", strerror(errno));
    return 0;
}

static void begin_drain(struct supervised *s)
{
    if (s->is_draining)
        return;
    s->is_draining = true;
    if (s->on_drain)
        s->on_drain(s->on_drain_arg);
}

static void read_control(struct supervised *s)
{
    struct frame f;
    struct cb_error err = {0};
    int got;

    while (!s->is_orphan && (got = frame_recv(FRAME_FD, &f, &err)) != 0) {
        if (got < 0) {
            s->is_orphan = true;
            log_event(EV_supervisor_lost, LOG_S("reason", err.text));
            begin_drain(s);
        } else if (f.type == FRAME_GO) {
            s->may_go = true;
        } else if (f.type == FRAME_DRAIN) {
            begin_drain(s);
        }
    }
}

/* What `claudebench ctl log-level` has set. */
static void take_log_levels(struct supervised *s)
{
    const struct scoreboard_global *g = &s->board->global;
    uint32_t serial = atomic_load_explicit(&g->log_levels_serial, memory_order_acquire);

    _Static_assert((int)LOG_SUBSYSTEMS <= (int)SCOREBOARD_LOG_LEVELS,
                   "the scoreboard holds all subsystems");
    if (serial == s->log_levels_serial)
        return;
    s->log_levels_serial = serial;
    for (int i = 0; i < LOG_SUBSYSTEMS; i++)
        log_set_subsystem_level((enum log_subsystem)i, atomic_load(&g->log_levels[i]) - 1);
}

void supervised_turn(struct supervised *s)
{
    scoreboard_beat(s->slot);
    read_control(s);
    take_log_levels(s);
    if (term_came)
        begin_drain(s);
    if (usr1_came) {
        struct cb_error err = {0};
        usr1_came = 0;
        if (log_reopen(&err) != 0)
            log_event(EV_log_reopen_failed, LOG_S("reason", err.text));
    }
}

bool supervised_idle(void *arg)
{
    supervised_turn(arg);
    return true;
}

void supervised_state(struct supervised *s, enum worker_state state)
{
    atomic_store_explicit(&s->slot->state, (int)state, memory_order_relaxed);
}

int supervised_ready(struct supervised *s, int64_t redis_id, struct cb_error *err)
{
    struct frame ready = {.type = FRAME_READY, .redis_id = redis_id};

    supervised_state(s, WORKER_READY);
    if (frame_send(FRAME_FD, &ready) != 0)
        return cb_error_set(err, errno, "cannot tell the supervisor: %s", strerror(errno));
    return 0;
}

void supervised_wait(struct supervised *s, int64_t ms)
{
    int64_t until = clock_mono_ms() + ms;
    bool was_draining = s->is_draining;
    for (;;) {
        supervised_turn(s);
        int64_t left = until - clock_mono_ms();
        if (left <= 0 || (s->is_draining && !was_draining))
            return;
        struct pollfd fd = {.fd = s->is_orphan ? -1 : FRAME_FD, .events = POLLIN};
        if (poll(&fd, 1, (int)(left < REDIS_LINK_IDLE_MS ? left : REDIS_LINK_IDLE_MS)) > 0) {
            supervised_turn(s);
            return;
        }
    }
}

void supervised_bye(struct supervised *s, enum frame_bye reason)
{
    struct frame bye = {.type = FRAME_BYE, .reason = (uint32_t)reason};
    if (!s->is_orphan)
        frame_send(FRAME_FD, &bye);
}
