/*
 * cmd_status.c: claudebench status: asks the supervisor over its control socket. Redis is not
 * needed: what only it knows is the daemon's to ask, which waits 0.1 s at most, so the answer comes at once also when Redis is stopped.
 *
 * Exit 0 healthy, 1 degraded or unhealthy, 69 when no daemon answers, 77 when it may not be asked.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/ask.h"
#include "client/peek.h"
#include "client/session.h"
#include "client/status_screen.h"
#include "client/watch.h"
#include "common/exitcode.h"

enum { STATUS_TIMEOUT_MS = 2000, PROMPT_ROWS = 1, WATCH_SPARE_ROWS = 2 };

static const struct cli_option status_options[] = {
    WATCH_OPTION,
    {'j', "json", NULL, "Print the daemon's answer as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_status(const struct cli *cli);

const struct cli_verb verb_status = {
    .name = "status",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Show on one screen how the daemon, workers, queues and Redis are.",
    .notes =
        "Exit 0: healthy; 1: degraded or unhealthy; 69: no daemon; 77: no permission to ask it.\n",
    .options = status_options,
    .run = run_status,
};

static int show(const struct cli *cli, struct json_span status)
{
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;
    struct term term = term_detect(STDOUT_FILENO);
    bool is_watched = cli_is_set(cli, "watch");

    if (cli_is_set(cli, "json"))
        session_put_json(&out, status, term);
    else
        status_screen_put(status, term, is_watched ? WATCH_SPARE_ROWS : PROMPT_ROWS, &out);
    int written = cli_write(&out);
    /* To watch it is to see it become healthy again. */
    if (written != EXITCODE_OK || is_watched)
        return written;
    return peek_is(status, "status", "healthy") ? EXITCODE_OK : EXITCODE_FAILURE;
}

/* The configuration is read each time: it says where the socket is, and may have changed. */
static int ask_and_show(const struct cli *cli, struct session *unused)
{
    struct ask a CB_CLEANUP(ask_done) = ASK_INIT;
    int code = ask_load(&a, cli);
    (void)unused;

    if (code < 0)
        code = ask_daemon(&a, "{\"cmd\":\"status\"}\n", STATUS_TIMEOUT_MS);
    return code < 0 ? show(cli, a.json) : code;
}

static int run_status(const struct cli *cli)
{
    return watch(cli, NULL, ask_and_show);
}
