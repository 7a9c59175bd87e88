/*
 * cmd_task_lease.c: claudebench task claim, and what the holder of a lease says: task renew, progress, complete, fail, release.
 *
 * A job of `claudebench work` says it about its own task, without id and token: it is told to that `work` (tell.h), which
 * holds the lease. Everybody else names the task, and proves with --lease-token that he holds it.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/params.h"
#include "client/session.h"
#include "client/show.h"
#include "client/tell.h"
#include "common/exitcode.h"
#include "common/json.h"

#define TOKEN_OPTION                                                                               \
    {                                                                                              \
        0, "lease-token", "TOKEN",                                                                 \
            "The token of the claim (default: CLAUDEBENCH_LEASE_TOKEN); not needed by a job of "   \
            "`claudebench work` for its own task."                                                 \
    }
#define IDEM_OPTION                                                                                \
    {                                                                                              \
        0, "idem", "KEY", "Idempotency key: repeating the command under the same key succeeds."    \
    }
#define JSON_OPTION                                                                                \
    {                                                                                              \
        'j', "json", NULL, "Print the result as JSON."                                             \
    }
#define OWN_TASK_NOTE                                                                              \
    "A job of `claudebench work` needs no ID: it speaks of its own task, and what it says counts " \
    "when its command ends, whatever the exit status is.\n"

/* ---- task claim ---- */

static const struct cli_option claim_options[] = {
    {'q', "queue", "QUEUE", "Queue to take from (default: default)."},
    {'r', "roles", "ROLE,...", "Roles of the worker: it also gets tasks that ask for one of them."},
    {0, "lease", "TIME", "How long the lease holds without a renewal (default: the task's)."},
    {0, "wait", "TIME", "How long to wait for a task when there is none, at most 30s."},
    IDEM_OPTION,
    {'j', "json", NULL, "Print the task as JSON."},
    {0, NULL, NULL, NULL},
};

static int run_task_claim(const struct cli *cli);

const struct cli_verb verb_task_claim = {
    .name = "task claim",
    .operands = "WORKER",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Lease the next task of a queue, for scripts that are no job of `work`.",
    .notes = "Prints the task with its lease_token, which ends or renews the lease.\n"
             "Exit 66 when there is none.\n",
    .options = claim_options,
    .run = run_task_claim,
};

enum { CLAIM_WAIT_MAX_MS = 30000 };

static int claim_params(const struct cli *cli, struct buf *params)
{
    int status;

    buf_puts(params, "{");
    if ((status = params_put_operand(cli, params, 0, "workerId")) >= 0 ||
        (status = params_put_text(cli, params, "queue")) >= 0 ||
        (status = params_put_time(cli, params, "lease", "lease_ms")) >= 0 ||
        (status = params_put_time(cli, params, "wait", "wait_ms")) >= 0)
        return status;
    if (cli_is_set(cli, "roles")) {
        json_put_key(params, "roles");
        cli_put_list(cli, "roles", params);
    }
    buf_puts(params, "}");
    return -1;
}

static int run_task_claim(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    struct json_item tasks, task;
    struct json_iter it;
    int64_t wait_ms;
    int status = claim_params(cli, &params);

    if (status < 0 && cli_time(cli, "wait", 0, CLAIM_WAIT_MAX_MS, 0, &wait_ms) != 0)
        status = EXITCODE_USAGE;
    if (status >= 0 || (status = session_open(&s, cli)) >= 0)
        return status;
    struct requests_call call = {
        .method = "task.claim",
        .params = params.data,
        .params_len = params.len,
        .idem = cli_value(cli, "idem", NULL),
        .timeout_ms = CALL_TIMEOUT_MS + wait_ms,
    };
    requests_client_call(s.rc, &call, &reply);
    session_explain(&s, call.method, &reply);
    if (reply.outcome != REQUESTS_RESULT)
        return session_report(call.method, &reply);
    if (json_find(reply.result, "tasks", &tasks) && tasks.type == JSON_ARRAY) {
        json_iter_init(&it, tasks.value);
        if (json_iter_next(&it, &task))
            return cli_is_set(cli, "json") ? show_json(task.value) : show_members(task.value);
    }
    cli_say("task.claim: no task there%s",
            json_find(reply.result, "paused", &task) ? ": the queue is paused" : "");
    return EXITCODE_NOINPUT;
}

/* ---- what a holder says ---- */

/* One word of a holder: `more` operands follow the id. */
struct word {
    const struct cli *cli;
    const char *method; /* "task.fail"; behind the dot, what `work` is told */
    int more;
    const char *idem; /* NULL: a random one */
    bool needs_token;
    bool is_quiet;      /* there is nothing to show but JSON */
    struct buf members; /* what it says: "\"percent\":40" */
};

static const char *id_of(const struct word *word)
{
    const struct cli *cli = word->cli;

    return cli->noperands > word->more ? cli->operands[0] : getenv(TELL_ENV_ID);
}

static int show_word(const struct word *word, struct json_span result)
{
    if (cli_is_set(word->cli, "json"))
        return show_json(result);
    return word->is_quiet ? EXITCODE_OK : show_members(result);
}

static void put_members(const struct word *word, struct buf *params)
{
    if (word->members.len > 0)
        buf_putc(params, ',');
    buf_append(params, word->members.data, word->members.len);
    buf_putc(params, '}');
}

static int say_to_work(const struct word *word)
{
    struct buf message CB_CLEANUP(buf_done) = BUF_INIT, reply CB_CLEANUP(buf_done) = BUF_INIT;
    struct json_span result;

    tell_put_attempt(&message);
    json_put_text(&message, "do", strchr(word->method, '.') + 1);
    put_members(word, &message);
    int status = tell_work(&message, &reply);
    if (status == EXITCODE_OK && json_check(buf_peek(&reply), reply.len, &result, NULL, NULL) == 0)
        return show_word(word, result);
    cli_say("%s: %s", word->method, buf_peek(&reply));
    return status ? status : EXITCODE_SOFTWARE;
}

static int say_to_server(const struct word *word, const char *id)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    struct requests_reply reply CB_CLEANUP(requests_reply_done) = REQUESTS_REPLY_INIT;
    const struct cli *cli = word->cli;
    int status = -1;

    buf_puts(&params, "{");
    json_put_text(&params, "id", id);
    if (!cli_is_set(cli, "lease-token") && getenv(LEASE_TOKEN_ENV)) {
        json_put_text(&params, "lease_token", getenv(LEASE_TOKEN_ENV));
    } else if ((status = params_put_text_as(cli, &params, "lease-token", "lease_token")) >= 0) {
        return status;
    }
    put_members(word, &params);
    if ((status = session_open(&s, cli)) >= 0 ||
        (status = session_call(&s, word->method, &params, word->idem, &reply)) >= 0)
        return status;
    return show_word(word, reply.result);
}

/* Takes the members; `status` is what making them gave. */
static int say(struct word *word, int status)
{
    const struct cli *cli = word->cli;
    const char *id = id_of(word);
    bool has_token = cli_is_set(cli, "lease-token");
    bool is_own = id && !has_token && tell_is_own_task(id);
    bool is_renewal = strcmp(word->method, "task.renew") == 0;

    if (status >= 0)
        buf_reset(&word->members);
    else if (!id)
        status = cli_wrong_use(cli->verb,
                               "which task? Only a job of `claudebench work` has one of its own");
    else if (!json_is_utf8(id, strlen(id)))
        status = cli_wrong_use(cli->verb, "the id is not UTF-8");
    else if (is_own && is_renewal && !getenv(LEASE_TOKEN_ENV))
        status = cli_wrong_use(cli->verb,
                               "there is no need: `claudebench work` holds the task of its job, "
                               "and renews its lease as long as it runs");
    else if (!is_own && !has_token && !getenv(LEASE_TOKEN_ENV) && word->needs_token)
        status = cli_wrong_use(cli->verb,
                               "--lease-token is missing: this is for who holds the task; "
                               "`claudebench task reassign` takes it from its holder");
    else
        status = is_own && !is_renewal ? say_to_work(word) : say_to_server(word, id);
    buf_done(&word->members);
    return status;
}

/* ---- task renew ---- */

static const struct cli_option renew_options[] = {
    {0, "for", "TIME", "From now (default: the task's lease)."},
    {0, "lease-token", "TOKEN", "The token of the claim (default: CLAUDEBENCH_LEASE_TOKEN)."},
    JSON_OPTION,
    {0, NULL, NULL, NULL},
};

static int run_task_renew(const struct cli *cli);

const struct cli_verb verb_task_renew = {
    .name = "task renew",
    .operands = "ID",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Hold a task for longer. (`claudebench work` does it for its jobs.)",
    .options = renew_options,
    .run = run_task_renew,
};

static int run_task_renew(const struct cli *cli)
{
    struct word word = {.cli = cli, .method = "task.renew", .needs_token = true};
    int64_t ms;

    if (cli_time(cli, "for", 0, INT64_MAX, 0, &ms) != 0)
        return EXITCODE_USAGE;
    if (cli_is_set(cli, "for"))
        json_put_int(&word.members, "extend_ms", ms);
    return say(&word, -1);
}

/* ---- task progress ---- */

static const struct cli_option progress_options[] = {
    {0, "note", "TEXT", "What is being done."},
    TOKEN_OPTION,
    JSON_OPTION,
    {0, NULL, NULL, NULL},
};

static int run_task_progress(const struct cli *cli);

const struct cli_verb verb_task_progress = {
    .name = "task progress",
    .operands = "[ID] PERCENT",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Say how far the work on a task is.",
    .notes = "A job of `claudebench work` needs no ID: it speaks of its own task.\n",
    .options = progress_options,
    .run = run_task_progress,
};

/* "40", "12.5" or "40%". */
static int put_percent(struct word *word)
{
    const char *text = word->cli->operands[word->cli->noperands - 1];
    size_t len = strlen(text);
    struct json_span value;
    enum json_type type;
    double number;

    len -= len > 0 && text[len - 1] == '%';
    if (json_check(text, len, &value, &type, NULL) != 0 || type != JSON_NUMBER ||
        json_decode_double(value, &number) != 0 || number < 0 || number > 100)
        return cli_wrong_use(word->cli->verb, "\"%s\" is not a percentage (0 to 100)", text);
    json_put_key(&word->members, "percent");
    buf_append(&word->members, value.at, value.len);
    return -1;
}

static int run_task_progress(const struct cli *cli)
{
    struct word word = {
        .cli = cli, .method = "task.progress", .more = 1, .needs_token = true, .is_quiet = true};
    int status = put_percent(&word);

    if (status < 0)
        status = params_put_text(cli, &word.members, "note");
    return say(&word, status);
}

/* ---- task complete ---- */

static const struct cli_option complete_options[] = {
    {0, "result", "JSON", "The result, any JSON. Without it, a job's is its stdout."},
    TOKEN_OPTION,
    IDEM_OPTION,
    JSON_OPTION,
    {0, NULL, NULL, NULL},
};

static int run_task_complete(const struct cli *cli);

const struct cli_verb verb_task_complete = {
    .name = "task complete",
    .operands = "[ID]",
    .min_operands = 0,
    .max_operands = 1,
    .summary = "End an attempt with success.",
    .notes = OWN_TASK_NOTE "Without a token it is accepted as long as the task is in progress.\n",
    .options = complete_options,
    .run = run_task_complete,
};

static int run_task_complete(const struct cli *cli)
{
    struct word word = {
        .cli = cli, .method = "task.complete", .idem = cli_value(cli, "idem", NULL)};

    return say(&word, params_put_literal(cli, &word.members, "result", "result"));
}

/* ---- task fail ---- */

static const struct cli_option fail_options[] = {
    {0, "no-retry", NULL, "It has failed for good, whatever attempts are left."},
    TOKEN_OPTION,
    IDEM_OPTION,
    JSON_OPTION,
    {0, NULL, NULL, NULL},
};

static int run_task_fail(const struct cli *cli);

const struct cli_verb verb_task_fail = {
    .name = "task fail",
    .operands = "[ID] WHY",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "End an attempt without success.",
    .notes = OWN_TASK_NOTE,
    .options = fail_options,
    .run = run_task_fail,
};

/* "t-1795288121075967": nobody gives such a reason. */
static bool is_task_id(const char *text)
{
    return strncmp(text, "t-", 2) == 0 && text[2] && !text[2 + strspn(text + 2, "0123456789")];
}

static int run_task_fail(const struct cli *cli)
{
    struct word word = {.cli = cli,
                        .method = "task.fail",
                        .more = 1,
                        .idem = cli_value(cli, "idem", NULL),
                        .needs_token = true};

    if (cli->noperands == 1 && is_task_id(cli->operands[0]))
        return cli_wrong_use(cli->verb, "WHY is missing behind %s", cli->operands[0]);
    int status = params_put_operand(cli, &word.members, cli->noperands - 1, "error");

    if (cli_is_set(cli, "no-retry")) {
        json_put_key(&word.members, "retry");
        buf_puts(&word.members, "false");
    }
    return say(&word, status);
}

/* ---- task release ---- */

static const struct cli_option release_options[] = {
    TOKEN_OPTION,
    IDEM_OPTION,
    JSON_OPTION,
    {0, NULL, NULL, NULL},
};

static int run_task_release(const struct cli *cli);

const struct cli_verb verb_task_release = {
    .name = "task release",
    .operands = "[ID]",
    .min_operands = 0,
    .max_operands = 1,
    .summary = "Give a task back to its queue; the attempt is not charged.",
    .notes = OWN_TASK_NOTE,
    .options = release_options,
    .run = run_task_release,
};

static int run_task_release(const struct cli *cli)
{
    struct word word = {.cli = cli,
                        .method = "task.release",
                        .idem = cli_value(cli, "idem", NULL),
                        .needs_token = true};

    return say(&word, -1);
}
