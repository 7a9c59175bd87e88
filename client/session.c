/*
 * session.c: see session.h. Prints to stderr; owns configuration, target and connection.
 */
#include "common/compat.h"
#include "client/session.h"

#include "client/silence.h"
#include "common/exitcode.h"
#include "common/mem.h"
#include "common/methods.h"

#include <pwd.h>

/* ---- configuration and connection ---- */

int session_load(struct session *s, const struct cli *cli)
{
    struct options_source source = {0};
    struct options_errors errors = OPTIONS_ERRORS_INIT;
    struct cb_error err = {0};

    if (options_find_client_file(cli_value(cli, "config", NULL), &source, &err) != 0) {
        cli_say("%s", err.text);
        return EXITCODE_CONFIG;
    }
    int status = options_load(&source, &s->opts, &errors);
    options_source_done(&source);
    if (status != 0) {
        struct buf text = BUF_INIT;
        options_errors_put(&errors, &text);
        fwrite(buf_peek(&text), 1, text.len, stderr);
        buf_done(&text);
    }
    options_errors_done(&errors);
    return status == 0 ? -1 : EXITCODE_CONFIG;
}

/* <user>@<host>: the same for every call of a person, so that --idem means the same key again. */
static char *default_actor(void)
{
    char host[65] = "localhost";
    const struct passwd *pw = getpwuid(geteuid());

    gethostname(host, sizeof host - 1);
    if (pw && pw->pw_name && strlen(pw->pw_name) <= 60)
        return mem_printf("%s@%s", pw->pw_name, host);
    return mem_printf("uid:%u@%s", (unsigned)geteuid(), host);
}

static struct ack default_ack(const struct options *opts)
{
    if (opts->redis.wait_replicas == 0)
        return (struct ack){.level = ACK_UNSAID};
    return (struct ack){.level = ACK_REPLICA, .replicas = (unsigned)opts->redis.wait_replicas};
}

int session_connect(struct session *s, const char *actor, unsigned window, int pop_ms)
{
    struct cb_error err = {0};
    char *own_actor CB_CLEANUP(mem_free_ptr) = actor ? NULL : default_actor();

    if (connect_target(s->opts, CONNECT_CLIENT, &s->target, &err) != 0) {
        char text[sizeof err.text + 128];
        snprintf(text, sizeof text, "%s%s", err.text,
                 err.code == EXITCODE_UNAVAILABLE ? SILENCE_GUESS : "");
        silence_explain(s->opts, NULL, text, sizeof text);
        cli_say("%s", text);
        return err.code;
    }
    s->has_target = true;
    struct requests_config config = {
        .target = &s->target,
        .ack = default_ack(s->opts),
        .prefix = s->opts->redis.prefix,
        .actor = actor ? actor : own_actor,
        .session = s->session_id ? s->session_id : getenv("CLAUDEBENCH_SESSION"),
        .agent = getenv("CLAUDEBENCH_AGENT"),
        .trace = getenv("TRACEPARENT"),
        .client_name = "claudebench",
        .window = window,
        .pop_ms = pop_ms,
    };
    if (requests_client_open(&config, &s->rc, &err) != 0) {
        silence_explain(s->opts, NULL, err.text, sizeof err.text);
        cli_say("%s", err.text);
        return err.code;
    }
    return -1;
}

int session_open(struct session *s, const struct cli *cli)
{
    int status = session_load(s, cli);
    return status >= 0 ? status : session_connect(s, NULL, 0, 0);
}

void session_close(struct session *s)
{
    requests_client_free(s->rc);
    if (s->has_target)
        redis_target_done(&s->target);
    options_free(s->opts);
    *s = (struct session)SESSION_INIT;
}

/* ---- replies ---- */

int session_exit_code(int rpc_code)
{
    switch (rpc_code) {
    case -32700:
    case -32600:
    case -32602:
        return EXITCODE_DATAERR;
    case -32601:
        return EXITCODE_USAGE;
    case -32000:
    case -32001:
    case -32006:
    case -32007:
        return EXITCODE_TEMPFAIL;
    case -32002:
        return EXITCODE_NOPERM;
    case -32004:
        return EXITCODE_NOINPUT;
    case -32005:
        return EXITCODE_CONFLICT;
    default:
        return EXITCODE_SOFTWARE;
    }
}

int session_reply_exit(const struct requests_reply *reply)
{
    switch (reply->outcome) {
    case REQUESTS_RESULT:
        return EXITCODE_OK;
    case REQUESTS_ERROR:
        return session_exit_code(reply->code);
    default:
        return EXITCODE_UNAVAILABLE;
    }
}

/* Appends "label value" when data has such a member and the message has not said it already. */
static void put_detail(struct buf *out, const struct requests_reply *reply, const char *name,
                       const char *label)
{
    struct json_span data = reply->data;
    struct json_item item;
    struct buf value CB_CLEANUP(buf_done) = BUF_INIT;

    if (data.len == 0 || json_type_of(data) != JSON_OBJECT || !json_find(data, name, &item))
        return;
    if (item.type == JSON_STRING)
        json_decode_string(item.value, &value);
    else
        buf_append(&value, item.value.at, item.value.len);
    if (value.len > 0 && !strstr(reply->message, value.data))
        buf_printf(out, "; %s %s", label, value.data);
}

static void report_error(const char *what, const struct requests_reply *reply)
{
    struct buf text = BUF_INIT;

    buf_printf(&text, "%s: %s (%d", what, reply->message, reply->code);
    put_detail(&text, reply, "path", "at");
    put_detail(&text, reply, "expected", "expected");
    put_detail(&text, reply, "got", "got");
    put_detail(&text, reply, "offset", "at byte");
    put_detail(&text, reply, "reason", "reason");
    put_detail(&text, reply, "state", "state");
    size_t before = text.len;
    put_detail(&text, reply, "retry_after_ms", "try again in");
    if (text.len > before)
        buf_puts(&text, " ms");
    buf_putc(&text, ')');
    if (reply->code == -32601) {
        const char *near = methods_nearest(what);
        if (near)
            buf_printf(&text, "; did you mean %s?", near);
    }
    cli_say("%s", buf_peek(&text));
    buf_done(&text);
}

static bool is_sentence(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && strchr(".?!", text[len - 1]);
}

int session_report(const char *what, const struct requests_reply *reply)
{
    switch (reply->outcome) {
    case REQUESTS_RESULT:
        break;
    case REQUESTS_ERROR:
        report_error(what, reply);
        break;
    case REQUESTS_UNSENT:
        cli_say("%s: not done: %s", what, reply->message);
        break;
    case REQUESTS_UNKNOWN:
        if (reply->idem[0])
            cli_say("%s: the outcome is unknown: %s%s Repeat it with --idem %s: that has an effect "
                    "only if the first did not.",
                    what, reply->message, is_sentence(reply->message) ? "" : ".", reply->idem);
        else
            cli_say("%s: %s", what, reply->message);
        break;
    }
    return session_reply_exit(reply);
}

void session_explain(const struct session *s, const char *method, struct requests_reply *reply)
{
    bool is_lost = strncmp(reply->message, "no reply", strlen("no reply")) != 0; /* Redis is */

    if (reply->outcome == REQUESTS_UNSENT || reply->outcome == REQUESTS_UNKNOWN)
        silence_explain(s->opts, is_lost ? NULL : method, reply->message, sizeof reply->message);
}

void session_put_json(struct buf *out, struct json_span value, struct term term)
{
    if (term.is_tty)
        term_put_json(out, value.at, value.len);
    else
        buf_append(out, value.at, value.len);
    buf_putc(out, '\n');
}

int session_call(struct session *s, const char *method, const struct buf *params, const char *idem,
                 struct requests_reply *reply)
{
    struct requests_call call = {
        .method = method,
        .params = buf_peek(params),
        .params_len = params->len,
        .idem = idem,
        .timeout_ms = CALL_TIMEOUT_MS,
    };

    requests_client_call(s->rc, &call, reply);
    session_explain(s, method, reply);
    return reply->outcome == REQUESTS_RESULT ? -1 : session_report(method, reply);
}

bool session_next_page(struct json_span result, struct buf *cursor)
{
    struct buf next = BUF_INIT;
    struct json_item item;

    if (json_find(result, "next", &item))
        json_decode_string(item.value, &next);
    if (next.len > 0 && next.len == cursor->len && memcmp(next.data, cursor->data, next.len) == 0) {
        cli_say("the same page comes again and again: there may be more than this");
        buf_reset(&next);
    }
    buf_done(cursor);
    *cursor = next;
    return cursor->len > 0;
}

void session_put_cursor(struct buf *params, const struct buf *cursor)
{
    if (cursor->len) {
        json_put_key(params, "cursor");
        json_put_string(params, cursor->data, cursor->len);
    }
}
