/*
 * child.c: see child.h. Carries out what the tables of child_fsm.c say.
 */
#include "common/compat.h"
#include "supervisor/child.h"

#include "common/clock.h"
#include "common/exitcode.h"
#include "common/frame.h"
#include "common/log.h"
#include "supervisor/tally.h"

#include <signal.h>
#include <sys/wait.h>

static void on_timer(evutil_socket_t fd, short what, void *arg);

void child_init(struct child *c, struct child_env *env, const char *domain, int slot)
{
    *c = (struct child){.env = env, .domain = domain, .slot = slot, .fd = -1, .end = RESTART_EXIT};
    c->timer = evtimer_new(env->base, on_timer, c);
    cb_assert(c->timer);
    backoff_init(&c->brake, env->opts->supervisor.restart_min_ms,
                 env->opts->supervisor.restart_max_ms);
}

void child_options_changed(struct child *c)
{
    backoff_init(&c->brake, c->env->opts->supervisor.restart_min_ms,
                 c->env->opts->supervisor.restart_max_ms);
    if (c->is_retiring || child_state_has_process(c->state))
        return;
    c->short_lives = 0;
    if (c->state == CHILD_WAITING)
        child_set_timer(c, 0);
    else
        child_event(c, CHILD_EV_WANT);
}

bool child_is_stale(const struct child *c)
{
    return !c->is_retiring && c->state >= CHILD_STARTING && c->state <= CHILD_UP &&
           c->options_serial != c->env->options_serial;
}

static void close_control(struct child *c)
{
    if (c->control)
        event_free(c->control);
    c->control = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

void child_done(struct child *c)
{
    close_control(c);
    if (c->timer)
        event_free(c->timer);
    c->timer = NULL;
}

struct scoreboard_slot *child_slot(const struct child *c)
{
    return &c->env->scoreboard->slots[c->slot];
}

static bool has_lived_well(const struct child *c)
{
    return c->ready_ms && clock_mono_ms() - c->ready_ms >= CHILD_HEALTHY_MS;
}

bool child_is_crash_looping(const struct child *c)
{
    return c->short_lives >= CHILD_LOOP_DEATHS && !has_lived_well(c);
}

void child_consumer(const struct child *c, char out[CHILD_NAME_SIZE])
{
    out[0] = '\0';
    if (c->generation)
        snprintf(out, CHILD_NAME_SIZE, "%s/%s/%d.%" PRIu64, c->env->opts->instance.id, c->domain,
                 c->slot, c->generation);
}

void child_set_timer(struct child *c, int64_t ms)
{
    if (ms < 0) {
        evtimer_del(c->timer);
        return;
    }
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(c->timer, &tv);
}

/* ---- what comes in ---- */

bool child_is_refused(const struct child *c)
{
    return (c->state == CHILD_GREETED || c->state == CHILD_UP) &&
           atomic_load(&child_slot(c)->state) == WORKER_REFUSED;
}

/* READY needs Redis, so its deadline stands still while Redis is away, or lets us in and not the worker. */
static bool is_deadline_moot(const struct child *c)
{
    return c->state == CHILD_GREETED && (!c->env->redis_is_up(c->env->arg) || child_is_refused(c));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct child *c = arg;
    (void)fd, (void)what;

    if (c->state == CHILD_WAITING) {
        c->next_start_ms = 0;
        child_event(c, CHILD_EV_TIMER);
    } else if (is_deadline_moot(c)) {
        child_set_timer(c, c->env->opts->supervisor.ready_timeout_ms);
    } else {
        if (c->state != CHILD_DRAINING)
            log_event(EV_child_not_ready, LOG_S("service", c->domain), LOG_I("slot", c->slot),
                      LOG_I("pid", c->pid), LOG_S("state", child_state_name(c->state)));
        child_event(c,
                    c->is_retiring && c->state == CHILD_DRAINING ? CHILD_EV_KILL : CHILD_EV_LATE);
    }
}

static void log_protocol(const struct child *c, const char *what)
{
    log_event(EV_child_protocol, LOG_S("service", c->domain), LOG_I("slot", c->slot),
              LOG_I("pid", c->pid), LOG_S("state", child_state_name(c->state)),
              LOG_S("problem", what));
}

static void handle_hello(struct child *c, const struct frame *f)
{
    if (f->protocol != FRAME_PROTOCOL || f->generation != c->generation) {
        log_protocol(c, "hello of another protocol or generation");
        child_event(c, CHILD_EV_BROKEN);
        return;
    }
    child_event(c, CHILD_EV_HELLO);
}

static void handle_ready(struct child *c, const struct frame *f)
{
    atomic_store(&child_slot(c)->redis_id, f->redis_id);
    child_event(c, CHILD_EV_READY);
    if (c->state == CHILD_READY && c->env->is_open)
        child_event(c, CHILD_EV_OPEN);
}

static void handle_frame(struct child *c, const struct frame *f)
{
    switch (f->type) {
    case FRAME_HELLO:
        handle_hello(c, f);
        break;
    case FRAME_READY:
        handle_ready(c, f);
        break;
    case FRAME_BYE:
        child_event(c, CHILD_EV_BYE);
        break;
    case FRAME_GO:
    case FRAME_DRAIN:
        log_protocol(c, frame_name(f->type));
        child_event(c, CHILD_EV_BROKEN);
        break;
    }
}

/* Its end of the socket is closed: it is dying, or will soon be late. */
static void handle_eof(struct child *c)
{
    close_control(c);
    child_set_timer(c, CHILD_EXIT_TIMEOUT_MS);
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
    struct child *c = arg;
    struct cb_error err = {0};
    (void)what;

    for (int i = 0; i < 16 && c->fd == fd; i++) {
        struct frame f;
        int got = frame_recv(fd, &f, &err);
        if (got == 0)
            return;
        if (got > 0) {
            handle_frame(c, &f);
        } else if (err.code == EBADMSG) {
            log_protocol(c, err.text);
            child_event(c, CHILD_EV_BROKEN);
            return;
        } else {
            handle_eof(c);
            return;
        }
    }
}

/* ---- what is done ---- */

static void send_frame(struct child *c, enum frame_type type)
{
    struct frame f = {.type = type};

    if (c->fd < 0 || frame_send(c->fd, &f) == 0)
        return;
    if (errno == EPIPE || errno == ECONNRESET || errno == ECONNREFUSED)
        return; /* it dies; the reaper will tell */
    log_protocol(c, strerror(errno));
    kill(c->pid, SIGKILL);
}

static void kill_process(struct child *c)
{
    if (c->pid > 0)
        kill(c->pid, SIGKILL);
    child_set_timer(c, -1);
}

static void brake(struct child *c, int64_t wait_ms)
{
    c->next_start_ms = clock_mono_ms() + wait_ms;
    child_set_timer(c, wait_ms);
}

static void listen_to(struct child *c)
{
    c->control = event_new(c->env->base, c->fd, EV_READ | EV_PERSIST, on_control, c);
    cb_assert(c->control);
    event_add(c->control, NULL);
}

static void do_start(struct child *c)
{
    struct cb_error err = {0};

    c->is_hung = false;
    c->end = RESTART_EXIT;
    c->is_blameless = false;
    c->ready_ms = 0;
    c->started_ms = clock_mono_ms();
    c->generation = c->env->next_generation++;
    c->options_serial = c->env->options_serial;
    if (child_spawn(c, &err) < 0) {
        log_event(EV_child_start_failed, LOG_S("service", c->domain), LOG_I("slot", c->slot),
                  LOG_S("error", err.text));
        child_event(c, CHILD_EV_START_FAILED);
        return;
    }
    listen_to(c);
    child_set_timer(c, CHILD_HELLO_TIMEOUT_MS);
    log_event(EV_child_started, LOG_S("service", c->domain), LOG_I("slot", c->slot),
              LOG_I("pid", c->pid), LOG_I("generation", c->generation));
}

void child_adopt(struct child *c, const struct child_life *life)
{
    const struct options *opts = c->env->opts;
    const int64_t bounds[CHILD_STATES] = {[CHILD_STARTING] = CHILD_HELLO_TIMEOUT_MS,
                                          [CHILD_GREETED] = opts->supervisor.ready_timeout_ms,
                                          [CHILD_DRAINING] = opts->supervisor.stop_timeout_ms};

    c->state = life->state;
    c->pid = life->pid;
    c->fd = life->fd;
    c->generation = life->generation;
    c->started_ms = life->started_ms;
    c->ready_ms = life->ready_ms;
    c->restarts = life->restarts;
    c->is_retiring = life->is_retiring;
    if (c->fd >= 0)
        listen_to(c);
    child_set_timer(c, bounds[c->state] > 0 ? bounds[c->state] : -1);
}

static void do_welcome(struct child *c)
{
    child_set_timer(c, -1);
    c->ready_ms = clock_mono_ms();
    log_event(EV_child_ready, LOG_S("service", c->domain), LOG_I("slot", c->slot),
              LOG_I("pid", c->pid), LOG_I("took_ms", c->ready_ms - c->started_ms));
}

static void count_restart(const struct child *c)
{
    struct scoreboard_global *g = &c->env->scoreboard->global;
    unsigned domain = options_domain_number(c->domain);

    atomic_fetch_add(&g->restarts, 1);
    if (domain < SCOREBOARD_DOMAINS)
        atomic_fetch_add(&g->restarts_by[domain][c->end], 1);
}

static void do_replace(struct child *c)
{
    int64_t wait_ms = 0;

    c->restarts++;
    count_restart(c);
    if (has_lived_well(c)) {
        backoff_reset(&c->brake);
        c->short_lives = 0;
    } else {
        c->short_lives++;
        wait_ms = backoff_next_brake(&c->brake);
    }
    if (child_is_crash_looping(c))
        log_event(EV_child_throttled, LOG_S("service", c->domain), LOG_I("slot", c->slot),
                  LOG_I("deaths", c->short_lives), LOG_I("wait_ms", wait_ms));
    brake(c, wait_ms);
}

static void do_action(struct child *c, enum child_action action)
{
    switch (action) {
    case CHILD_DO_START:
        do_start(c);
        break;
    case CHILD_DO_GREET:
        child_set_timer(c, c->env->opts->supervisor.ready_timeout_ms);
        break;
    case CHILD_DO_WELCOME:
        do_welcome(c);
        break;
    case CHILD_DO_GO:
        send_frame(c, FRAME_GO);
        break;
    case CHILD_DO_EXPECT_EXIT:
        child_set_timer(c, CHILD_EXIT_TIMEOUT_MS);
        break;
    case CHILD_DO_TELL_DRAIN:
        child_set_timer(c, -1);
        send_frame(c, FRAME_DRAIN);
        break;
    case CHILD_DO_REFUSE:
    case CHILD_DO_KILL:
        kill_process(c);
        break;
    case CHILD_DO_BRAKE:
        brake(c, backoff_next_short_brake(&c->brake));
        break;
    case CHILD_DO_REPLACE:
        do_replace(c);
        break;
    case CHILD_DO_GIVE_UP:
        log_event(EV_child_gave_up, LOG_S("service", c->domain), LOG_I("slot", c->slot),
                  LOG_I("code", EXITCODE_CONFIG));
        break;
    case CHILD_DO_CANCEL:
        c->next_start_ms = 0;
        child_set_timer(c, -1);
        break;
    case CHILD_DO_BURY:
    case CHILD_DO_NOTHING:
        break;
    case CHILD_NEVER:
        cb_assert(!"child event that cannot happen");
    }
}

void child_event(struct child *c, enum child_event event)
{
    enum child_state old = c->state;
    enum child_action action = child_fsm_action(old, event);

    if (event == CHILD_EV_HUNG)
        c->is_hung = true;
    if (action == CHILD_DO_KILL || action == CHILD_DO_REFUSE)
        c->end = event == CHILD_EV_HUNG ? RESTART_HUNG : RESTART_NOT_READY;
    if (event == CHILD_EV_KILL)
        c->is_blameless = true;
    if ((event == CHILD_EV_HELLO || event == CHILD_EV_READY) && action == CHILD_DO_REFUSE)
        log_protocol(c, child_event_name(event));
    c->state = child_fsm_next(old, event);
    do_action(c, action);
    if (c->state != old)
        c->env->on_change(c->env->arg);
}

/* ---- the end of a life ---- */

static void describe_death(const struct child *c, int status, char *out, size_t size)
{
    if (c->is_hung)
        snprintf(out, size, "hung");
    else if (WIFSIGNALED(status))
        snprintf(out, size, "signal %d", WTERMSIG(status));
    else
        snprintf(out, size, "exit %d", WEXITSTATUS(status));
}

static void log_death(const struct child *c, int status, const char *how, const char *entry)
{
    bool is_wanted_end = c->state == CHILD_DRAINING && WIFEXITED(status) &&
                         WEXITSTATUS(status) == 0;

    if (is_wanted_end)
        log_event(EV_child_stopped, LOG_S("service", c->domain), LOG_I("slot", c->slot),
                  LOG_I("pid", c->pid));
    else if (c->is_blameless)
        log_event(EV_child_killed, LOG_S("service", c->domain), LOG_I("slot", c->slot),
                  LOG_I("pid", c->pid));
    else
        log_event(EV_child_died, LOG_S("service", c->domain), LOG_I("slot", c->slot),
                  LOG_I("pid", c->pid), LOG_S("how", how),
                  LOG_I("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
                  LOG_I("code", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
                  LOG_I("lived_ms", clock_mono_ms() - c->started_ms), LOG_S("entry", entry));
}

static void hand_on(const struct child *c, const char *how, const char *entry)
{
    char consumer[CHILD_NAME_SIZE];
    struct child_death death = {
        .domain = c->domain,
        .consumer = consumer,
        .redis_id = atomic_load(&child_slot(c)->redis_id),
        .entry = entry,
        .how = how,
    };
    child_consumer(c, consumer);
    c->env->on_dead(c->env->arg, &death);
}

void child_reaped(struct child *c, int status)
{
    struct scoreboard_slot *slot = child_slot(c);
    bool is_config = WIFEXITED(status) && WEXITSTATUS(status) == EXITCODE_CONFIG;
    bool is_clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    char how[32];
    char entry[STREAM_ID_SIZE];

    describe_death(c, status, how, sizeof how);
    scoreboard_get_entry(slot, entry);
    if (is_clean || c->is_blameless)
        entry[0] = '\0';
    c->is_careful = !is_clean && !c->is_blameless && !entry[0];
    log_death(c, status, how, entry);
    close_control(c);
    child_set_timer(c, -1);
    hand_on(c, how, entry);
    tally_add_slot(c->env->tally, slot);
    scoreboard_retire(c->env->scoreboard, slot);
    scoreboard_slot_reset(slot, c->domain, 0);
    c->pid = 0;
    if (c->end == RESTART_EXIT && WIFSIGNALED(status))
        c->end = RESTART_SIGNAL;
    child_event(c, is_config ? CHILD_EV_DIED_CONFIG : CHILD_EV_DIED);
}
