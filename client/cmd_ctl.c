/*
 * cmd_ctl.c: claudebench ctl reload, scale, drain, stop, log-level, leader: what an administrator tells a running daemon, over its control
 * socket. The answer comes when it is done, and with --wait when the workers are as wanted.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/ask.h"
#include "client/session.h"
#include "client/show.h"
#include "common/exitcode.h"
#include "common/log.h"

#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>

enum { ANSWER_MS = 10000, WAIT_MS = 60000, WAIT_MAX_MS = 3600000 };

static const struct cli_option wait_options[] = {
    {0, "wait", NULL, "Return when the workers are as wanted."},
    {'t', "timeout", "TIME", "With --wait: for so long at most, 1s to 1h (default 60s)."},
    {'j', "json", NULL, "Print the daemon's answer as JSON."},
    {0, NULL, NULL, NULL},
};
static const struct cli_option stop_options[] = {
    {0, "wait", NULL, "Return when the daemon has ended."},
    {'t', "timeout", "TIME", "With --wait: for so long at most, 1s to 1h (default 60s)."},
    {'j', "json", NULL, "Print the daemon's answer as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_reload(const struct cli *cli);
static int run_scale(const struct cli *cli);
static int run_drain(const struct cli *cli);
static int run_stop(const struct cli *cli);
static int run_log_level(const struct cli *cli);
static int run_leader(const struct cli *cli);

const struct cli_verb verb_ctl_reload = {
    .name = "ctl reload",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Put a changed configuration in force.",
    .notes = "Exit 0: done; 78: the configuration is wrong, the one in force stays; 75: the "
             "workers were not replaced in time.\n",
    .options = wait_options,
    .run = run_reload,
};

const struct cli_verb verb_ctl_scale = {
    .name = "ctl scale",
    .operands = "DOMAIN WORKERS",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "Change a domain's number of workers, until a reload.",
    .notes = "Exit 0: done; 64: there is no such domain, or that is too many; 75: the workers were "
             "drained, and a reload has to bring them back; or --wait was too short.\n",
    .options = wait_options,
    .run = run_scale,
};

const struct cli_verb verb_ctl_drain = {
    .name = "ctl drain",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Let the workers finish and leave; a reload starts new ones.",
    .notes = NULL,
    .options = wait_options,
    .run = run_drain,
};

const struct cli_verb verb_ctl_stop = {
    .name = "ctl stop",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Stop the daemon: workers finish what they have begun.",
    .notes = NULL,
    .options = stop_options,
    .run = run_stop,
};

static const struct cli_option json_only[] = {
    {'j', "json", NULL, "Print JSON."},
    {0, NULL, NULL, NULL},
};

const struct cli_verb verb_ctl_log_level = {
    .name = "ctl log-level",
    .operands = "[SUBSYSTEM LEVEL]",
    .min_operands = 0,
    .max_operands = 2,
    .summary = "Show or change what is logged, until a reload.",
    .notes = "SUBSYSTEM is one of those shown, or `all`; LEVEL is error, warn, info, debug, or "
             "`default` for log.level.\n",
    .options = json_only,
    .run = run_log_level,
};

const struct cli_verb verb_ctl_leader = {
    .name = "ctl leader",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .summary = "Show which instance leads, as this daemon sees it.",
    .notes = "Exit 0: there is a leader; 1: none is known.\n",
    .options = json_only,
    .run = run_leader,
};

/* ---- what they share ---- */

static void put_command(struct buf *line, const char *cmd)
{
    buf_puts(line, "{");
    json_put_text(line, "cmd", cmd);
}

static void put_number(struct buf *line, const char *key, int64_t n)
{
    json_put_key(line, key);
    buf_printf(line, "%" PRId64, n);
}

/* Each of the mistakes that the daemon has found, when it lists any. */
static void say_errors(const struct ask *a)
{
    struct json_item errors, item;
    struct json_iter it;

    if (!json_find(a->json, "errors", &errors) || errors.type != JSON_ARRAY)
        return;
    json_iter_init(&it, errors.value);
    while (json_iter_next(&it, &item)) {
        struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
        json_decode_string(item.value, &text);
        cli_say("%s", buf_peek(&text));
    }
}

/* The daemon says no, and with which exit code. */
static int refused(const struct ask *a, const struct cli *cli, const struct buf *why)
{
    struct json_item item;
    int64_t code = 0;

    if (json_find(a->json, "code", &item))
        json_decode_int(item.value, &code);
    if (code == EXITCODE_USAGE)
        return cli_wrong_use(cli->verb, "%s", buf_peek(why));
    say_errors(a);
    cli_say("%s", buf_peek(why));
    return code > 0 && code <= UINT8_MAX ? (int)code : EXITCODE_TEMPFAIL;
}

/* Sends the command, which `line` has but for its end, and shows a refusal. -1 to go on, or the exit code. */
static int send_command(struct ask *a, const struct cli *cli, struct buf *line, int64_t wait_ms)
{
    struct buf why CB_CLEANUP(buf_done) = BUF_INIT;
    int code = ask_load(a, cli);

    if (code >= 0)
        return code;
    if (wait_ms > 0)
        put_number(line, "wait_ms", wait_ms);
    buf_puts(line, "}\n");
    code = ask_daemon(a, buf_peek(line), wait_ms + ANSWER_MS);
    if (code >= 0)
        return code;
    if (cli_is_set(cli, "json") && (code = show_json(a->json)) != EXITCODE_OK)
        return code;
    return ask_error(a, &why) ? refused(a, cli, &why) : -1;
}

/* Whether the workers are as wanted, when that was asked for. */
static int settled(const struct ask *a)
{
    struct json_item item;

    if (!json_find(a->json, "settled", &item) || item.value.at[0] == 't')
        return EXITCODE_OK;
    cli_say("the workers are not as wanted yet: see claudebench status");
    return EXITCODE_TEMPFAIL;
}

/* 0 without --wait; -1 after a message. */
static int get_wait(const struct cli *cli, int64_t *ret)
{
    int64_t ms = 0;

    if (cli_time(cli, "timeout", 1000, WAIT_MAX_MS, WAIT_MS, &ms) != 0)
        return -1;
    *ret = cli_is_set(cli, "wait") ? ms : 0;
    return 0;
}

/* ---- ctl reload ---- */

/* The text as a line of the output, escaped, and room for the next one. */
static void end_line(struct buf *text, struct buf *out)
{
    term_put(out, buf_peek(text), text->len);
    buf_putc(out, '\n');
    buf_reset(text);
}

/* It has undone what ctl scale or drain did. */
static bool ends_scale(const struct ask *a)
{
    struct json_item item;

    return json_find(a->json, "ends_scale", &item) && item.value.at[0] == 't';
}

static void put_changed(struct buf *out, const struct ask *a)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item list, item;
    struct json_iter it;
    size_t n = 0;

    buf_puts(&text, "reloaded ");
    show_put_member(&text, a->json, "file");
    if (json_find(a->json, "changed", &list) && list.type == JSON_ARRAY) {
        json_iter_init(&it, list.value);
        for (; json_iter_next(&it, &item); n++) {
            buf_puts(&text, n ? ", " : ": ");
            json_decode_string(item.value, &text);
        }
    }
    bool is_waiting = json_find(a->json, "restart", &list) && list.type == JSON_ARRAY;
    if (is_waiting) {
        json_iter_init(&it, list.value);
        is_waiting = json_iter_next(&it, &item);
    }
    if (n == 0 && (is_waiting || !ends_scale(a)))
        buf_puts(&text,
                 is_waiting ? ": what has changed needs a restart" : ": nothing has changed");
    end_line(&text, out);
    if (ends_scale(a))
        buf_puts(out, "workers are as configured again: scale or drain is over\n");
}

static void put_restart(struct buf *out, const struct ask *a)
{
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item list, item;
    struct json_iter it;

    if (!json_find(a->json, "restart", &list) || list.type != JSON_ARRAY)
        return;
    json_iter_init(&it, list.value);
    while (json_iter_next(&it, &item)) {
        show_put_member(&text, item.value, "option");
        buf_puts(&text, " needs a restart: \"");
        show_put_member(&text, item.value, "in_force");
        buf_puts(&text, "\" is in force, \"");
        show_put_member(&text, item.value, "loaded");
        buf_puts(&text, "\" was loaded");
        end_line(&text, out);
    }
}

static int run_reload(const struct cli *cli)
{
    struct ask a CB_CLEANUP(ask_done) = ASK_INIT;
    struct buf line CB_CLEANUP(buf_done) = BUF_INIT;
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;
    int64_t wait_ms;

    if (get_wait(cli, &wait_ms) != 0)
        return EXITCODE_USAGE;
    put_command(&line, "reload");
    int code = send_command(&a, cli, &line, wait_ms);
    if (code >= 0)
        return code;
    if (!cli_is_set(cli, "json")) {
        put_changed(&out, &a);
        put_restart(&out, &a);
    }
    code = cli_write(&out);
    return code == EXITCODE_OK ? settled(&a) : code;
}

/* ---- ctl scale, drain, stop ---- */

static int run_plain(const struct cli *cli, struct buf *line, int64_t wait_ms)
{
    struct ask a CB_CLEANUP(ask_done) = ASK_INIT;
    int code = send_command(&a, cli, line, wait_ms);

    return code < 0 ? settled(&a) : code;
}

static int run_scale(const struct cli *cli)
{
    struct buf line CB_CLEANUP(buf_done) = BUF_INIT;
    char *end = NULL;
    int64_t wait_ms;
    long long workers = strtoll(cli->operands[1], &end, 10);

    if (end == cli->operands[1] || *end || workers < 0 || workers > INT32_MAX)
        return cli_wrong_use(cli->verb, "\"%s\" is no number of workers", cli->operands[1]);
    if (get_wait(cli, &wait_ms) != 0)
        return EXITCODE_USAGE;
    put_command(&line, "scale");
    json_put_text(&line, "domain", cli->operands[0]);
    put_number(&line, "workers", workers);
    return run_plain(cli, &line, wait_ms);
}

static int run_drain(const struct cli *cli)
{
    struct buf line CB_CLEANUP(buf_done) = BUF_INIT;
    int64_t wait_ms;

    if (get_wait(cli, &wait_ms) != 0)
        return EXITCODE_USAGE;
    put_command(&line, "drain");
    return run_plain(cli, &line, wait_ms);
}

/* A descriptor of the daemon's process, that is readable when it has ended; -1 when it has already. */
static int open_process(const struct ask *a)
{
    struct json_item pid;
    int64_t n = 0;

    if (json_find(a->json, "pid", &pid))
        json_decode_int(pid.value, &n);
    return n > 0 ? pidfd_open((pid_t)n, 0) : -1;
}

static int await_end(const struct ask *a, int64_t wait_ms)
{
    struct pollfd process = {.fd = open_process(a), .events = POLLIN};
    int n;

    if (process.fd < 0)
        return EXITCODE_OK;
    do
        n = poll(&process, 1, (int)wait_ms);
    while (n < 0 && errno == EINTR);
    close(process.fd);
    if (n > 0)
        return EXITCODE_OK;
    cli_say("the daemon has not stopped yet");
    return EXITCODE_TEMPFAIL;
}

static int run_stop(const struct cli *cli)
{
    struct ask a CB_CLEANUP(ask_done) = ASK_INIT;
    struct buf line CB_CLEANUP(buf_done) = BUF_INIT;
    int64_t wait_ms;

    if (get_wait(cli, &wait_ms) != 0)
        return EXITCODE_USAGE;
    put_command(&line, "stop");
    int code = send_command(&a, cli, &line, 0);
    if (code >= 0)
        return code;
    return wait_ms > 0 ? await_end(&a, wait_ms) : EXITCODE_OK;
}

/* ---- ctl log-level, leader ---- */

static void put_members(struct buf *out, struct json_span object)
{
    struct json_item item;
    struct json_iter it;

    json_iter_init(&it, object);
    while (json_iter_next(&it, &item)) {
        struct buf name CB_CLEANUP(buf_done) = BUF_INIT;
        struct buf value CB_CLEANUP(buf_done) = BUF_INIT;
        json_decode_string(item.key, &name);
        json_decode_string(item.value, &value);
        buf_printf(&name, "%*s", (int)(name.len < 10 ? 10 - name.len : 1), "");
        buf_append(&name, buf_peek(&value), value.len);
        end_line(&name, out);
    }
}

/* The daemon checks this too, but knows nothing of operands. */
static int check_log_level(const struct cli *cli)
{
    const char *subsystem = cli->operands[0];
    const char *level = cli->operands[1];

    if (strcmp(subsystem, "all") != 0 && log_subsystem_find(subsystem) < 0) {
        struct buf names CB_CLEANUP(buf_done) = BUF_INIT;
        for (int i = 0; i < LOG_SUBSYSTEMS; i++)
            buf_printf(&names, "%s, ", log_subsystem_name((enum log_subsystem)i));
        return cli_wrong_use(cli->verb, "\"%s\" is no subsystem of the log (expected %sor all)",
                             subsystem, buf_peek(&names));
    }
    if (strcmp(level, "default") != 0 && log_level_find(level) < 0)
        return cli_wrong_use(
            cli->verb, "\"%s\" is no level (expected error, warn, info, debug or default)", level);
    return EXITCODE_OK;
}

static int run_log_level(const struct cli *cli)
{
    struct ask a CB_CLEANUP(ask_done) = ASK_INIT;
    struct buf line CB_CLEANUP(buf_done) = BUF_INIT;
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item levels;

    if (cli->noperands == 1)
        return cli_wrong_use(cli->verb, "which level? error, warn, info, debug or default");
    if (cli->noperands == 2 && check_log_level(cli) != EXITCODE_OK)
        return EXITCODE_USAGE;
    put_command(&line, "log_level");
    if (cli->noperands == 2) {
        json_put_text(&line, "subsystem", cli->operands[0]);
        json_put_text(&line, "level", cli->operands[1]);
    }
    int code = send_command(&a, cli, &line, 0);
    if (code >= 0)
        return code;
    if (!cli_is_set(cli, "json") && json_find(a.json, "levels", &levels) &&
        levels.type == JSON_OBJECT)
        put_members(&out, levels.value);
    return cli_write(&out);
}

static int run_leader(const struct cli *cli)
{
    struct ask a CB_CLEANUP(ask_done) = ASK_INIT;
    struct buf text CB_CLEANUP(buf_done) = BUF_INIT;
    struct buf out CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_item leader;
    int code = ask_load(&a, cli);

    if (code >= 0 || (code = ask_daemon(&a, "{\"cmd\":\"status\"}\n", ANSWER_MS)) >= 0)
        return code;
    if (!json_find(a.json, "leader", &leader) || leader.type != JSON_OBJECT)
        return EXITCODE_SOFTWARE;
    show_put_member(&text, leader.value, "id");
    bool is_known = text.len > 0;
    if (cli_is_set(cli, "json"))
        code = show_json(leader.value);
    else {
        if (is_known)
            end_line(&text, &out);
        code = cli_write(&out);
    }
    if (!is_known)
        cli_say("no leader is known to this daemon");
    return code == EXITCODE_OK && !is_known ? EXITCODE_FAILURE : code;
}
