/*
 * cmd_work.c: claudebench work -- COMMAND…: registers, claims tasks, runs COMMAND for each.
 * Options, the loop, the end.
 *
 * One process and one poll loop; its parts are named in work.h. Signals arrive through a signalfd.
 * The first TERM or INT stops claiming, lets jobs finish for --grace, then ends them and gives
 * their tasks back; the second does so at once.
 */
#include "common/compat.h"
#include "client/verbs.h"
#include "client/work.h"

#include "client/interval.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/mem.h"

#include <poll.h>
#include <sys/signalfd.h>

enum {
    GRACE_MS = 10000,
    KILL_AFTER_MS = 5000,
    CLAIM_MIN_MS = 50,
    CLAIM_MAX_MS = 1000,
    RELEASE_MIN_MS = 100,
    RELEASE_MAX_MS = 5000,
    POP_MS = 500,
    LEAVE_MS = 3000, /* for the last requests, when the jobs have ended */
    LEAVE_CHECK_MS = 50,
    OTHER_FDS = REQUESTS_POLLFDS + 1, /* those of the request client, and the signals' */
};

static const struct cli_option work_options[] = {
    {0, "id", "ID",
     "Name of this worker (default: <host>-<pid>). A new process of the same name replaces the "
     "old one, and its tasks go back."},
    {'r', "roles", "ROLE,...",
     "Roles of this worker: it also gets tasks that ask for one of them."},
    {'q', "queue", "QUEUE", "Queue to take tasks from (default: default)."},
    {'n', "jobs", "N", "Run up to so many commands at once (default 1, at most 64)."},
    {0, "once", NULL, "Run one task, then leave."},
    {0, "drain", NULL, "Leave when the queue is empty."},
    {0, "lease", "TIME", "How long this worker may be silent before its tasks go to others."},
    {0, "grace", "TIME", "After TERM, how long running commands may take to finish (default 10s)."},
    {0, "kill-after", "TIME",
     "How long a command whose task was cancelled or lost has between TERM and KILL (default 5s)."},
    {0, NULL, NULL, NULL},
};

static int run_work(const struct cli *cli);

const struct cli_verb verb_work = {
    .name = "work",
    .operands = "-- COMMAND...",
    .min_operands = 1,
    .max_operands = -1,
    .is_command = true,
    .summary = "Register as a worker, claim tasks and run COMMAND for each.",
    .notes = "COMMAND gets the task as JSON on stdin, and CLAUDEBENCH_TASK_ID, CLAUDEBENCH_ATTEMPT "
             "and CLAUDEBENCH_QUEUE in its environment. Exit 0 completes the task with its stdout "
             "as result.\n"
             "It may run `claudebench task progress 40`, and `task fail`, complete or release.\n"
             "See claudebench-work(1).\n",
    .options = work_options,
    .run = run_work,
};

/* ---- signals ---- */

static void begin_stop(struct work *w, int64_t grace_ms)
{
    int64_t now = clock_mono_ms();

    w->grace_until_ms = now + grace_ms;
    w->give_up_ms = w->grace_until_ms + WORK_STOP_KILL_MS + LEAVE_MS;
}

static void say_stopping(struct work *w)
{
    struct buf grace CB_CLEANUP(buf_done) = BUF_INIT;
    unsigned n = work_count(w, JOB_RUNNING);

    interval_put(&grace, w->grace_ms);
    work_say(
        w, "stopping: %u running job%s may finish within %s; a second TERM or INT ends %s at once",
        n, n == 1 ? "" : "s", buf_peek(&grace), n == 1 ? "it" : "them");
}

static void stop_signal(struct work *w)
{
    if (w->stop == STOP_NO) {
        w->stop = STOP_DRAIN;
        begin_stop(w, w->grace_ms);
        if (work_count(w, JOB_RUNNING) > 0)
            say_stopping(w);
        return;
    }
    w->stop = STOP_NOW;
    begin_stop(w, 0);
}

static void read_signals(struct work *w)
{
    struct signalfd_siginfo info;

    while (read(w->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo == SIGHUP ? w->stop == STOP_NO : info.ssi_signo != SIGCHLD)
            stop_signal(w); /* the shell and the kernel may both tell that the terminal is gone */
}

static int open_signals(void)
{
    struct sigaction old;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    /* The terminal is gone. Under nohup that is to be ignored: a blocked signal would come all the same. */
    if (sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- the loop ---- */

static int64_t sooner(int64_t a, int64_t b)
{
    if (a == 0)
        return b;
    return b == 0 || a < b ? a : b;
}

/* Ends what the end of the grace period finds running. */
static void check_stop(struct work *w, int64_t now_ms)
{
    if (w->stop == STOP_NO || w->grace_until_ms == 0 || now_ms < w->grace_until_ms)
        return;
    for (unsigned i = 0; i < w->njobs; i++)
        if (w->jobs[i].state == JOB_RUNNING)
            job_end(&w->jobs[i], FATE_RELEASED, w->stop == STOP_NOW ? 0 : WORK_STOP_KILL_MS);
}

/* Everything that time brings; returns when the next thing is due (0 = nothing is). */
static int64_t check_time(struct work *w)
{
    int64_t now = clock_mono_ms();
    int64_t due = tell_check(w, now);

    check_stop(w, now);
    lease_check(w, now);
    report_claim(w, now);
    for (unsigned i = 0; i < w->njobs; i++) {
        struct job *job = &w->jobs[i];
        due = sooner(due, job_check_kill(job, now));
        due = sooner(due, report_again(w, job, now));
        if (job->state == JOB_RUNNING && job->fate == FATE_NONE)
            due = sooner(due, job->renewed_ms + job->lease_ms + 1);
    }
    if (w->is_registered && !w->is_beating && !w->is_unregistering)
        due = sooner(due, w->next_beat_ms);
    if (w->stop == STOP_NO && w->is_registered && !w->is_claiming && work_count(w, JOB_FREE) > 0)
        due = sooner(due, w->next_claim_ms);
    if (w->stop != STOP_NO && work_count(w, JOB_RUNNING) > 0 && now < w->grace_until_ms)
        due = sooner(due, w->grace_until_ms);
    if (w->stop != STOP_NO && w->is_claiming)
        due = sooner(due, now + LEAVE_CHECK_MS);
    due = sooner(due, progress_due_ms(&w->progress));
    return sooner(due, w->give_up_ms);
}

static void reap_jobs(struct work *w)
{
    for (unsigned i = 0; i < w->njobs; i++)
        if (job_reap(w, &w->jobs[i]))
            report_job(w, &w->jobs[i]);
}

static void take_replies(struct work *w)
{
    struct requests_reply reply;

    while (requests_client_take(w->s.rc, &reply)) {
        report_take(w, &reply);
        requests_reply_done(&reply);
    }
}

static size_t poll_jobs(const struct work *w, struct pollfd *fds)
{
    size_t n = 0;

    for (unsigned i = 0; i < w->njobs; i++) {
        const struct job *job = &w->jobs[i];
        if (job->out_fd >= 0)
            fds[n++] = (struct pollfd){.fd = job->out_fd, .events = POLLIN};
        if (job->err_fd >= 0)
            fds[n++] = (struct pollfd){.fd = job->err_fd, .events = POLLIN};
    }
    return n;
}

static void read_jobs(struct work *w, const struct pollfd *fds, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        if (!fds[k].revents)
            continue;
        for (unsigned i = 0; i < w->njobs; i++)
            if (w->jobs[i].out_fd == fds[k].fd || w->jobs[i].err_fd == fds[k].fd)
                job_read(&w->jobs[i], fds[k].fd);
    }
}

/* Says once that Redis is away, and once that it is back. */
static void tell_connection(struct work *w)
{
    const char *why;
    bool is_up = requests_client_is_up(w->s.rc, &why);
    unsigned losses = requests_client_losses(w->s.rc);

    if (losses != w->told_losses && !is_up && !w->is_told_down) {
        work_say(w, "lost Redis (%s): jobs go on, trying again", why);
        w->is_told_down = true;
    } else if (is_up && w->is_told_down) {
        work_say(w, "Redis is back");
        w->is_told_down = false;
    }
    w->told_losses = losses;
}

static void show_progress(struct work *w)
{
    char note[160];

    snprintf(note, sizeof note, "%u running, %" PRIu64 " completed, %" PRIu64 " failed",
             work_count(w, JOB_RUNNING), w->completed, w->failed);
    progress_update(&w->progress, 0, 0, note);
}

static void turn(struct work *w)
{
    struct pollfd fds[OTHER_FDS + 2 * WORK_JOBS_MAX + WORK_TELLS_MAX + 1];
    struct pollfd *signals = &fds[REQUESTS_POLLFDS];
    int client_wait;
    int64_t due = check_time(w);

    requests_client_prepare(w->s.rc, fds, &client_wait);
    *signals = (struct pollfd){.fd = w->signal_fd, .events = POLLIN};
    size_t n = poll_jobs(w, fds + OTHER_FDS);
    size_t ntells = tell_poll(w, fds + OTHER_FDS + n);
    int64_t left = due - clock_mono_ms();
    int wait = due == 0 ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
    if (client_wait >= 0 && (wait < 0 || client_wait < wait))
        wait = client_wait;
    if (poll(fds, OTHER_FDS + n + ntells, wait) < 0)
        return;
    if (signals->revents)
        read_signals(w);
    tell_read(w, fds + OTHER_FDS + n, ntells);
    read_jobs(w, fds + OTHER_FDS, n);
    reap_jobs(w);
    requests_client_pump(w->s.rc, fds);
    tell_connection(w);
    take_replies(w);
    show_progress(w);
}

/* Nothing more to do or to tell. */
static bool is_over(struct work *w)
{
    unsigned busy = w->njobs - work_count(w, JOB_FREE);

    if (w->is_once && w->started > 0 && busy == 0 && w->stop == STOP_NO)
        w->stop = STOP_DRAIN;
    if (w->stop == STOP_NO)
        return false;
    if (w->give_up_ms == 0 && busy == 0)
        w->give_up_ms = clock_mono_ms() + LEAVE_MS;
    if (w->give_up_ms && clock_mono_ms() >= w->give_up_ms && work_count(w, JOB_RUNNING) == 0) {
        if (!w->exit_code && (busy > 0 || w->is_registered)) {
            work_say(w, "leaving without an answer from Redis: what is held comes back when its "
                        "lease ends");
            w->exit_code = EXITCODE_UNAVAILABLE;
        }
        return true;
    }
    requests_client_stop_waiting(w->s.rc);
    if (busy > 0 || w->is_registering)
        return false;
    /* A claim that waits is ended by our unregistration; one under way may bring tasks to give back. */
    if (w->is_claiming && !w->is_unregistering && !requests_client_is_parked(w->s.rc))
        return false;
    if (w->is_registered && !w->is_unregistering)
        lease_unregister(w);
    return w->is_unregistered || !w->is_registered;
}

/* ---- start and end ---- */

static int read_options(struct work *w, const struct cli *cli)
{
    int64_t jobs;

    if (cli_int(cli, "jobs", 1, WORK_JOBS_MAX, 1, &jobs) != 0 ||
        cli_time(cli, "lease", 500, 86400000, 0, &w->lease_ms) != 0 ||
        cli_time(cli, "grace", 0, 86400000, GRACE_MS, &w->grace_ms) != 0 ||
        cli_time(cli, "kill-after", 0, 86400000, KILL_AFTER_MS, &w->kill_after_ms) != 0)
        return EXITCODE_USAGE;
    w->njobs = cli_is_set(cli, "once") ? 1 : (unsigned)jobs;
    w->is_once = cli_is_set(cli, "once");
    w->is_drain = cli_is_set(cli, "drain");
    w->queue = cli_value(cli, "queue", "default");
    const char *config = cli_value(cli, "config", NULL);
    w->config = config ? realpath(config, NULL)
                       : NULL; /* one that is not there is session_load()'s to tell */
    cli_put_list(cli, "roles", &w->roles);
    w->command = cli->operands;
    w->path = job_find_command(w->command[0]);
    if (!w->path)
        return cli_wrong_use(cli->verb, "cannot run %s: %s", w->command[0], strerror(errno));
    return -1;
}

static void choose_id(struct work *w, const struct cli *cli)
{
    char host[65] = "localhost";
    const char *given = cli_value(cli, "id", NULL);

    gethostname(host, sizeof host - 1);
    w->id = given ? mem_strdup(given) : mem_printf("%s-%d", host, (int)getpid());
}

static void open_jobs(struct work *w)
{
    w->jobs = mem_calloc(w->njobs, sizeof *w->jobs);
    for (unsigned i = 0; i < w->njobs; i++)
        w->jobs[i] = (struct job){.index = i, .out_fd = -1, .err_fd = -1};
    w->keeper_fd = keeper_start();
    tell_open(w);
    w->signal_fd = open_signals();
    backoff_init(&w->claim_backoff, CLAIM_MIN_MS, CLAIM_MAX_MS);
    backoff_init(&w->release_backoff, RELEASE_MIN_MS, RELEASE_MAX_MS);
    progress_init(&w->progress, "work");
}

static void work_done(struct work *w)
{
    for (unsigned i = 0; i < w->njobs && w->jobs; i++) {
        w->jobs[i].pid = 0;
        job_clear(&w->jobs[i]);
    }
    tell_close(w);
    if (w->keeper_fd >= 0)
        close(w->keeper_fd);
    if (w->signal_fd >= 0)
        close(w->signal_fd);
    free(w->jobs);
    free(w->path);
    free(w->config);
    free(w->id);
    buf_done(&w->roles);
    session_close(&w->s);
}

static int work_loop(struct work *w)
{
    lease_register(w);
    while (!is_over(w))
        turn(w);
    progress_clear(&w->progress);
    if (w->registration > 0)
        work_say(w,
                 "%s: %" PRIu64 " completed, %" PRIu64 " failed, %" PRIu64 " released, %" PRIu64
                 " dropped",
                 w->id, w->completed, w->failed, w->released, w->dropped);
    return w->exit_code;
}

/* A blocking pop must end in time for the next beat. */
static int pop_ms(const struct work *w)
{
    int64_t lease = w->lease_ms ? w->lease_ms : w->s.opts->cluster.agent_lease_ms;

    return lease / 6 < POP_MS ? (int)(lease / 6) : POP_MS;
}

static int run_work(const struct cli *cli)
{
    struct work w = {.cli = cli, .keeper_fd = -1, .signal_fd = -1, .tell_fd = -1};

    int status = read_options(&w, cli);
    if (status < 0)
        status = session_load(&w.s, cli);
    if (status < 0) {
        choose_id(&w, cli);
        status = session_connect(&w.s, w.id, 4 * WORK_JOBS_MAX, pop_ms(&w));
    }
    if (status < 0) {
        open_jobs(&w);
        status = work_loop(&w);
    }
    work_done(&w);
    return status;
}
