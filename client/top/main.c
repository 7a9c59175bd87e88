/*
 * main.c: claudebench-top: asks the daemon for its status again and again, and shows it. Executed by `claudebench top`.
 *
 * It needs neither Redis nor its configuration but the path of the control socket. Exit 0: the user has ended it; 64: no terminal;
 * 78: no configuration; by the signal that ended it.
 */
#include "common/compat.h"
#include "client/top/top.h"

#include "client/verbs.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/standard_fds.h"

#include <ncurses.h>
#include <signal.h>

enum { ANSWER_MS = 2000, RATE_MS = 1000, WAIT_MAX_MS = 1000 };

const struct cli_verb *const cli_verbs[] = {&verb_top, NULL};

/* ---- the daemon ---- */

static void sample_done(struct sample *s)
{
    buf_done(&s->text);
    s->status = (struct json_span){NULL, 0};
}

/* The old one becomes what rates are reckoned from, unless the one before it is too young to be forgotten. */
static void take_answer(struct top *t)
{
    int64_t now = clock_mono_ms();

    if (t->before.status.len == 0 || now - t->before.at_ms >= 2 * RATE_MS ||
        t->now.at_ms - t->before.at_ms >= RATE_MS) {
        sample_done(&t->before);
        t->before = t->now;
    } else {
        sample_done(&t->now);
    }
    t->now = (struct sample){.text = t->ask.answer, .status = t->ask.json, .at_ms = now};
    t->ask.answer = (struct buf)BUF_INIT;
}

/* Asks when it is time to, and takes what has come. A daemon that hangs is not waited for: keys are. */
static void look(struct top *t)
{
    bool is_due = clock_mono_ms() >= t->next_ms && (!t->is_paused || t->next_ms == 0);
    struct cb_error err = {0};
    int code = -1;

    if (!t->ask.is_asked && !is_due)
        return;
    if (!t->ask.is_asked)
        code = ask_begin(&t->ask, "{\"cmd\":\"status\"}\n", ANSWER_MS, &err);
    if (code < 0 && (code = ask_look(&t->ask, &err)) == ASK_PENDING)
        return;
    t->trouble = err;
    if (code < 0)
        take_answer(t);
    t->next_ms = clock_mono_ms() + t->delay_ms;
}

/* ---- the loop ---- */

static int pause_ms(const struct top *t)
{
    int64_t until = t->ask.is_asked ? t->ask.until_ms : t->next_ms;
    int64_t left = t->is_paused && !t->ask.is_asked ? WAIT_MAX_MS : until - clock_mono_ms();

    return left < 0 ? 0 : left > WAIT_MAX_MS ? WAIT_MAX_MS : (int)left;
}

static void loop(struct top *t)
{
    bool is_gone = false;

    while (!t->is_done && !is_gone && !terminal_signal()) {
        look(t);
        if (t->now.status.len > 0 || t->trouble.code) /* or the first answer is still to come */
            draw(t);
        if (!terminal_wait(pause_ms(t), t->ask.is_asked ? t->ask.fd : -1, &is_gone))
            continue;
        for (int key; !is_gone && (key = getch()) != ERR;)
            keys_press(t, key);
    }
}

/* ---- the beginning ---- */

static const char *column_title_at(const struct view *v, size_t i)
{
    return i < v->ncolumns ? v->columns[i].column.title : NULL;
}

static int read_sort(struct top *t, const struct cli *cli)
{
    const struct view *v = &views[t->view];
    const char *title = cli_value(cli, "sort", NULL);
    struct buf titles CB_CLEANUP(buf_done) = BUF_INIT;

    t->sort[t->view].is_reverse = cli_is_set(cli, "reverse");
    if (!title || rows_find_column(v, title, &t->sort[t->view].column))
        return -1;
    for (size_t i = 0; column_title_at(v, i); i++)
        buf_printf(&titles, "%s%s", i ? ", " : "", column_title_at(v, i));
    return cli_wrong_use(cli->verb, "--sort: %s has no column \"%s\": it has %s", v->name, title,
                         buf_peek(&titles));
}

static int read_options(struct top *t, const struct cli *cli)
{
    const char *view = cli_value(cli, "view", views[VIEW_WORKERS].name);
    bool is_known = false;

    rows_find_column(&views[VIEW_QUEUES], "PENDING", &t->sort[VIEW_QUEUES].column);
    rows_find_column(&views[VIEW_INSTANCES], "STATUS", &t->sort[VIEW_INSTANCES].column);
    rows_find_column(&views[VIEW_METHODS], "REQUESTS", &t->sort[VIEW_METHODS].column);
    for (int i = 0; i < VIEWS; i++) {
        if (strcmp(views[i].name, view) == 0) {
            t->view = (enum view_id)i;
            is_known = true;
        }
    }
    if (!is_known)
        return cli_wrong_use(cli->verb,
                             "--view: \"%s\" is not workers, queues, instances or methods", view);
    if (cli_time(cli, "delay", DELAY_MIN_MS, DELAY_MAX_MS, DELAY_DEFAULT_MS, &t->delay_ms) != 0)
        return EXITCODE_USAGE;
    return read_sort(t, cli);
}

int top_run(const struct cli *cli)
{
    struct top t = {.ask = ASK_INIT, .now.text = BUF_INIT, .before.text = BUF_INIT};
    int status = read_options(&t, cli);

    if (status < 0)
        status = ask_load(&t.ask, cli);
    if (status < 0)
        status = terminal_open();
    if (status < 0) {
        loop(&t);
        status = EXITCODE_OK;
    }
    terminal_close();
    sample_done(&t.now);
    sample_done(&t.before);
    ask_done(&t.ask);
    return status;
}

int main(int argc, char **argv)
{
    struct cli cli;

    standard_fds_open_failing();
    int status = cli_parse(&cli, &verb_top, argc - 1, argv + 1);

    if (status < 0)
        status = verb_top.run(&cli);
    cli_done(&cli);
    if (terminal_signal()) {
        signal(terminal_signal(), SIG_DFL);
        raise(terminal_signal());
    }
    return status;
}
