/*
 * cmd_call.c: claudebench call METHOD [JSON|-]: one request, its result on stdout byte by byte.
 *
 * An error goes to stderr: a line for people, then the error object as one line of JSON. The params
 * are sent as they are; the worker judges them.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/session.h"
#include "common/exitcode.h"
#include "common/mem.h"
#include "common/methods.h"

enum { READ_CHUNK = 65536, WAIT_MAX_MS = 30000 };

static const struct cli_option call_options[] = {
    {0, "ttl", "TIME", "The request is not carried out when it has waited longer than this."},
    {0, "idem", "KEY",
     "Idempotency key: a repeat under the same key gets the first outcome. Default: a "
     "random one for methods that write."},
    {0, "ack", "LEVEL",
     "When a write counts as done: memory (default), local-fsync (Redis has it on disk; refused "
     "unless its appendfsync is always) or replica:N (N replicas have it, too; exit 69 when they "
     "do not confirm in time)."},
    {0, "timeout", "TIME",
     "Give up after so long (default 10s, and what a wait_ms of the parameters adds); the "
     "outcome is then unknown, exit 69."},
    {0, "session", "ID", "Session to record with the request (default: CLAUDEBENCH_SESSION)."},
    {0, "raw", NULL, "Print the whole reply, result or error, on stdout."},
    {0, NULL, NULL, NULL},
};

static int run_call(const struct cli *cli);

const struct cli_verb verb_call = {
    .name = "call",
    .operands = "METHOD [JSON|-]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Send one request and print its result.",
    .notes = "With - the parameters are read from stdin; without any they are {}.\n"
             "Example: claudebench call task.create '{\"text\":\"hello\"}'\n",
    .options = call_options,
    .run = run_call,
};

/* Everything on stdin, at most `limit` bytes. Returns -1 to go on, or an exit code after a message.
 * */
static int read_stdin(struct buf *out, size_t limit)
{
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buf_reserve(out, READ_CHUNK), READ_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            cli_say("cannot read stdin: %s", strerror(errno));
            return EXITCODE_NOINPUT;
        }
        if (n == 0)
            return -1;
        out->len += (size_t)n;
        if (out->len > limit) {
            cli_say("the parameters are larger than %zu bytes", limit);
            return EXITCODE_DATAERR;
        }
    }
}

static int read_params(const struct cli *cli, const struct session *s, struct buf *params)
{
    const char *given = cli->noperands > 1 ? cli->operands[1] : "{}";

    if (strcmp(given, "-") == 0)
        return read_stdin(params, (size_t)s->opts->limits.batch_params_bytes);
    buf_puts(params, given);
    return -1;
}

/* A method needs a domain that exists, or nobody would ever answer. */
static int check_method(const struct cli *cli)
{
    const char *method = cli->operands[0];
    size_t len = strcspn(method, ".");

    for (int i = 0; i < METHOD_COUNT; i++)
        if (method[len] && strncmp(methods[i].name, method, len + 1) == 0)
            return -1;
    const char *near = methods_nearest(method);
    return cli_wrong_use(cli->verb, "no method \"%s\"%s%s%s", method, near ? "; did you mean " : "",
                         near ? near : "", near ? "?" : "");
}

/* The error object on stderr, for programs. */
static void put_error_line(const struct requests_reply *reply)
{
    struct json_span document = {reply->text.data, reply->text.len};
    struct json_item item;
    struct buf line = BUF_INIT;

    if (!json_find(document, "error", &item))
        return;
    session_put_json(&line, item.value, term_detect(STDERR_FILENO));
    fwrite(line.data, 1, line.len, stderr);
    buf_done(&line);
}

static int show_reply(const struct cli *cli, const struct requests_reply *reply)
{
    struct buf out = BUF_INIT;
    struct json_span whole = {reply->text.data, reply->text.len};
    struct term term = term_detect(STDOUT_FILENO);
    int status = session_reply_exit(reply);

    if (cli_is_set(cli, "raw") && whole.len)
        session_put_json(&out, whole, term);
    else if (reply->outcome == REQUESTS_RESULT)
        session_put_json(&out, reply->result, term);
    int written = cli_write(&out);
    buf_done(&out);
    if (reply->outcome != REQUESTS_RESULT) {
        session_report(cli->operands[0], reply);
        if (reply->outcome == REQUESTS_ERROR)
            put_error_line(reply);
    }
    return status ? status : written;
}

/* How long a request may take that waits for a task. */
static int64_t default_timeout_ms(const struct requests_call *call)
{
    struct json_span params;
    struct json_item item;
    enum json_type type;
    int64_t wait_ms;

    if (json_check(call->params, call->params_len, &params, &type, NULL) == 0 &&
        type == JSON_OBJECT && json_find(params, "wait_ms", &item) &&
        json_decode_int(item.value, &wait_ms) == 0 && wait_ms > 0 && wait_ms <= WAIT_MAX_MS)
        return CALL_TIMEOUT_MS + wait_ms;
    return CALL_TIMEOUT_MS;
}

/* Nobody has answered: because nobody here is to? */
static void say_no_workers(const struct options *opts, const char *method)
{
    char *domain CB_CLEANUP(mem_free_ptr) = mem_strndup(method, strcspn(method, "."));
    const struct domain_options *found = options_domain(opts, domain);

    if (found && found->workers == 0)
        cli_say("no worker of this host serves %s: domains.%s.workers is 0", method, domain);
}

static int send_call(const struct cli *cli, struct session *s, const struct buf *params)
{
    struct requests_reply reply = REQUESTS_REPLY_INIT;
    struct requests_call call = {
        .method = cli->operands[0],
        .params = buf_peek(params),
        .params_len = params->len,
        .idem = cli_value(cli, "idem", NULL),
    };
    const char *ack = cli_value(cli, "ack", NULL);

    if (cli_time(cli, "ttl", 1, INT64_C(86400000), 0, &call.ttl_ms) != 0 ||
        cli_time(cli, "timeout", 1, INT64_C(86400000), default_timeout_ms(&call),
                 &call.timeout_ms) != 0)
        return EXITCODE_USAGE;
    if (call.idem && strlen(call.idem) >= REQUESTS_IDEM_SIZE)
        return cli_wrong_use(cli->verb, "--idem is longer than %d bytes", REQUESTS_IDEM_SIZE - 1);
    if (ack && ack_parse(ack, strlen(ack), &call.ack) != 0)
        return cli_wrong_use(cli->verb, "--ack: \"%s\" is not " ACK_EXPECTED, ack);
    s->session_id = cli_value(cli, "session", NULL);
    int status = session_connect(s, NULL, 1, 0);
    if (status >= 0)
        return status;
    requests_client_call(s->rc, &call, &reply);
    session_explain(s, call.method, &reply);
    status = show_reply(cli, &reply);
    if (reply.outcome == REQUESTS_UNKNOWN)
        say_no_workers(s->opts, call.method);
    requests_reply_done(&reply);
    return status;
}

static int run_call(const struct cli *cli)
{
    struct session s CB_CLEANUP(session_close) = SESSION_INIT;
    struct buf params CB_CLEANUP(buf_done) = BUF_INIT;
    int status = check_method(cli);

    if (status < 0)
        status = session_load(&s, cli);
    if (status < 0)
        status = read_params(cli, &s, &params);
    return status < 0 ? send_call(cli, &s, &params) : status;
}
